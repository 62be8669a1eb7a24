//! Which process of one plakar command tells the user what happened.

#[cfg(target_os = "linux")]
use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixListener},
};
use std::{env, sync::OnceLock};

use xxhash_rust::xxh3::xxh3_64;

/// Reports whether this process is the first to speak of those that the same
/// plakar has started with the same configuration and that still run. A backup has
/// two importers, which see the same failures.
///
/// The first one holds an abstract socket name until it ends: unlike a file it
/// leaves nothing behind. Where there are no such names, every process is the first.
pub fn is_first(configuration: &str) -> bool {
    static FIRST: OnceLock<Option<Claim>> = OnceLock::new();
    FIRST.get_or_init(|| Claim::new(configuration)).is_some()
}

#[cfg(target_os = "linux")]
struct Claim(#[expect(dead_code, reason = "held until the process ends")] Option<UnixListener>);

#[cfg(target_os = "linux")]
impl Claim {
    fn new(configuration: &str) -> Option<Self> {
        let plakar = std::os::unix::process::parent_id();
        let key =
            xxh3_64(format!("{:?}\0{:?}\0{configuration}", env::current_dir().ok(), env::var_os("HOME")).as_bytes());
        let name = format!("plakar-icloud-{plakar}-{key:016x}");
        match SocketAddr::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name)) {
            Ok(listener) => Some(Self(Some(listener))),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => None,
            // Rather told twice than never.
            Err(_) => Some(Self(None)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Claim;

#[cfg(not(target_os = "linux"))]
impl Claim {
    fn new(_: &str) -> Option<Self> {
        Some(Self)
    }
}
