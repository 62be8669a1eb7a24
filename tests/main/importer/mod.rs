//! The source of a backup.

mod addresses;
mod calls;
mod failures;
mod invalid;
mod klosets;
mod names;
mod outage;
mod packages;
mod tree;
mod unchanged;
