//! The destination of a restore.

mod failures;
mod outage;
mod tree;
