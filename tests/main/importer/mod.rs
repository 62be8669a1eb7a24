//! The source of a backup.

mod calls;
mod failures;
mod names;
mod packages;
mod tree;
mod unchanged;
