//! The destination of a restore.

mod conflicts;
mod failures;
mod names;
mod outage;
mod tree;
