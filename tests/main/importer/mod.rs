//! The source of a backup.

mod calls;
mod failures;
mod names;
mod tree;
mod unchanged;
