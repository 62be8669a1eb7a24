//! The user's choices for a restore.

/// What happens if the destination has a file of the same name with other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The file of the snapshot replaces it.
    #[default]
    Replace,
    /// It stays, and the file of the snapshot is not restored.
    Skip,
    /// It stays, and the file of the snapshot is restored beside it.
    KeepBoth,
    /// It is replaced if the file of the snapshot has a later modification time; otherwise it stays.
    Newer,
    /// It stays, and the file of the snapshot fails.
    Fail,
}

/// What happens to a name that the destination refuses or treats as equal to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadName {
    /// The item is restored under a derived name.
    #[default]
    Rename,
    /// The item fails.
    Fail,
}

/// What happens to symbolic links, devices, pipes and sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// They are left out and counted.
    #[default]
    Skip,
    /// Each of them fails.
    Error,
    /// The target of a link is restored as a text file. The others are left out and counted.
    Text,
}

/// How a restored file is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// The service confirms the size.
    #[default]
    Size,
    /// The content is read back and compared with what was sent.
    Content,
}

/// What happens to packages, such as Pages documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packages {
    /// Archives of packages, and folders with the name of a package, are restored as packages where
    /// the service has them.
    #[default]
    Auto,
    /// Archives are restored as files, and folders as folders.
    Archive,
    /// Archives are restored as packages, and folders as folders.
    Tree,
}

/// The user's choices for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What happens to files whose name is taken in the destination.
    pub on_conflict: OnConflict,
    /// Whether a file of the same size and modification time counts as restored.
    pub skip_identical: bool,
    /// What happens to names that the destination refuses or treats as equal.
    pub names: OnBadName,
    /// What happens to links and special files.
    pub links: Links,
    /// What happens to packages.
    pub packages: Packages,
    /// How restored files are verified.
    pub verify: Verify,
}
