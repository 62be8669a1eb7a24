//! The source of a backup.

mod addresses;
mod calls;
mod checksums;
mod completeness;
pub mod everything;
mod excludes;
mod failures;
mod invalid;
mod klosets;
mod names;
mod outage;
mod packages;
mod scale;
mod summary;
mod tree;
mod trees;
mod unchanged;
