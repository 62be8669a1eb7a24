//! The items of a snapshot.

use crate::rclone::Time;

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What the record creates.
    pub wanted: Wanted,
    /// The modification time.
    pub modified: Time,
    /// Whether the permissions differ from those that a new file or folder gets.
    pub has_permissions: bool,
    /// Whether it is a file that may be executed.
    pub is_program: bool,
    /// Whether it has extended attributes.
    pub has_attributes: bool,
    /// Whether content follows.
    pub has_content: bool,
}

/// What a record creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A folder.
    Folder,
    /// A file whose content follows.
    File,
    /// A symbolic link to this path.
    Symlink(String),
    /// A device, a pipe, a socket.
    Special,
    /// An extended attribute of a file.
    Attribute,
    /// Nothing.
    Nothing,
}
