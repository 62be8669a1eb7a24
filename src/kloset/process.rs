//! The identity of a process, written into the files that other processes read.

use std::{fmt, fs};

use rustix::{io::Errno, process::Pid};
use xxhash_rust::xxh3::xxh3_64;

/// A process number and the place where it is valid. Two machines or containers may have the same
/// host name, so on Linux the place includes the boot and the namespace of process numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessId {
    place: u32,
    number: u32,
}

impl ProcessId {
    /// Returns the identity of this process.
    pub fn own() -> Self {
        let mut place = rustix::system::uname().nodename().to_bytes().to_vec();
        place.extend(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
        place.extend(fs::read_link("/proc/self/ns/pid").unwrap_or_default().into_os_string().into_encoded_bytes());
        let place = u32::try_from(xxh3_64(&place) >> 32).unwrap_or_default();
        Self { place, number: std::process::id() }
    }

    /// Parses the text that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, number) = text.split_once('-')?;
        Some(Self { place: u32::from_str_radix(place, 16).ok()?, number: number.parse().ok()? })
    }

    /// Reports whether the process is known to have ended. This is never known of a process of
    /// another place, nor if another process now has the number.
    pub fn has_ended(&self) -> bool {
        let number = i32::try_from(self.number).ok().and_then(Pid::from_raw);
        self.place == Self::own().place
            && number.is_some_and(|number| rustix::process::test_kill_process(number) == Err(Errno::SRCH))
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.place, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_parsed_and_shows_whether_the_process_has_ended() {
        let own = ProcessId::own();
        assert_eq!(ProcessId::parse(&own.to_string()), Some(own.clone()));
        assert!(!own.has_ended());
        // Linux assigns no number above 2^22.
        assert!(ProcessId { number: i32::MAX as u32, ..own.clone() }.has_ended());
        assert!(!ProcessId { number: i32::MAX as u32, place: own.place ^ 1 }.has_ended(), "of another machine");
    }

    #[test]
    fn malformed_text_is_not_a_process() {
        for text in ["", "-", "1-", "-1", "x-1", "1-x", "1-1-1"] {
            assert_eq!(ProcessId::parse(text), None, "{text}");
        }
    }
}
