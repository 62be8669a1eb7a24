//! The destination of a restore.

mod conflicts;
mod failures;
pub mod killed;
mod leftovers;
mod names;
mod outage;
mod packages;
pub mod scale;
mod tree;
