//! Selects the process that reports the result of a plakar command.

#[cfg(target_os = "linux")]
use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixListener},
};
use std::{env, sync::OnceLock};

use xxhash_rust::xxh3::xxh3_64;

/// Reports whether this process is the first to call this function, of all running processes that
/// the same plakar has started with the same configuration.
///
/// The first process holds an abstract socket name until it ends. Unlike a file, the name leaves
/// nothing behind. Where abstract names do not exist, every process is the first.
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
            // A duplicate report is better than none.
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
