//! The layout of a kloset. It is the layout of plakar's Go plugin for rclone, so that each can open
//! the stores of the other.

use std::fmt;

use crate::rclone::{Entry, Item};

/// The file name of the configuration of a kloset.
pub const CONFIG: &str = "CONFIG";

/// A kind of object of a kloset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The content of snapshots.
    Packfile,
    /// The index of packfiles, one object for each change.
    State,
    /// The lock of a running command, which plakar stores again every 5 minutes.
    Lock,
}

impl Resource {
    /// All kinds of objects.
    pub const ALL: [Self; 3] = [Self::Packfile, Self::State, Self::Lock];

    /// Returns the name of the folder of the objects.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Packfile => "packfiles",
            Self::State => "states",
            Self::Lock => "locks",
        }
    }

    /// Reports whether an object is never stored again with other content.
    pub const fn is_immutable(self) -> bool {
        matches!(self, Self::Packfile | Self::State)
    }
}

/// Reports whether the entries of a folder are those of a kloset. The folder of the locks may be
/// missing, because object stores lose empty folders.
pub fn is_kloset(entries: &[Entry]) -> bool {
    let is_folder = |entry: &Entry| matches!(entry.item, Item::Folder);
    let find = |name: &str| entries.iter().find(|entry| entry.name() == name);
    let folder = |resource: Resource| find(resource.folder()).map(is_folder);
    find(CONFIG).is_some_and(|entry| !is_folder(entry))
        && folder(Resource::Packfile) == Some(true)
        && folder(Resource::State) == Some(true)
        && folder(Resource::Lock) != Some(false)
}

/// The size of a MAC in bytes.
const SIZE: usize = 32;

/// The identity of an object, which gives it its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac([u8; SIZE]);

impl Mac {
    /// Reads the bytes that plakar sends. Returns none if there are not exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads a file name. Returns none if it is not the name of an object of a kloset.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; SIZE];
        hex::decode_to_slice(name, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns a MAC of equal bytes.
    #[cfg(test)]
    pub const fn of(byte: u8) -> Self {
        Self([byte; SIZE])
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Mac {
    /// Writes the file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_parsed_from_its_name() {
        let bytes: Vec<u8> = (0..32).map(|i| i * 7).collect();
        let mac = Mac::from_bytes(&bytes).unwrap();
        assert_eq!(Mac::from_name(&mac.to_string()), Some(mac));
        assert_eq!(Mac::from_bytes(&[0; 31]), None);
    }

    #[test]
    fn foreign_names_have_no_mac() {
        for foreign in ["CONFIG", &"0".repeat(63), &"0".repeat(66), &"G".repeat(64), &"é".repeat(32), &"A".repeat(64)]
        {
            assert_eq!(Mac::from_name(foreign), None, "{foreign}");
        }
    }
}
