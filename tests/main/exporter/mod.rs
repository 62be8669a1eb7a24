//! The destination of a restore.

mod conflicts;
mod failures;
mod names;
mod outage;
mod packages;
mod tree;
