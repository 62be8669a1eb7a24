//! The kloset's layout, which is that of plakar's Go plugin for rclone: each
//! opens the stores of the other.

use plakar_protocol::store::StorageResource;

/// The name of the configuration of a kloset.
pub const CONFIG: &str = "CONFIG";

/// The folder of a resource; none for what this plakar does not store.
pub fn folder(resource: StorageResource) -> Option<&'static str> {
    match resource {
        StorageResource::Packfile => Some("packfiles"),
        StorageResource::State => Some("states"),
        StorageResource::Lock => Some("locks"),
        StorageResource::Undefined | StorageResource::EccPackfile | StorageResource::EccState => None,
    }
}

/// The resources that have a folder.
pub const RESOURCES: [StorageResource; 3] = [StorageResource::Packfile, StorageResource::State, StorageResource::Lock];

/// Whether an object is never stored again with other content: all but locks,
/// which plakar refreshes.
pub fn is_unchanging(resource: StorageResource) -> bool {
    matches!(resource, StorageResource::Packfile | StorageResource::State)
}

/// Bytes of a MAC.
const MAC: usize = 32;

/// The file name of a MAC; none if it is not 32 bytes long.
pub fn name(mac: &[u8]) -> Option<String> {
    (mac.len() == MAC).then(|| mac.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The MAC of a file name; none if the file is not the kloset's.
pub fn mac(name: &str) -> Option<Vec<u8>> {
    if name.len() != 2 * MAC || !name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..MAC).map(|i| u8::from_str_radix(&name[2 * i..2 * i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_and_its_name() {
        let bytes: Vec<u8> = (0..32).map(|i| i * 7).collect();
        assert_eq!(mac(&name(&bytes).unwrap()), Some(bytes));
        assert_eq!(name(&[0; 31]), None);
    }

    #[test]
    fn foreign_names_have_no_mac() {
        for foreign in ["CONFIG", &"0".repeat(63), &"0".repeat(66), &"G".repeat(64), &"é".repeat(32), &"A".repeat(64)]
        {
            assert_eq!(mac(foreign), None, "{foreign}");
        }
    }
}
