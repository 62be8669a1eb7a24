//! The destination of a restore.

mod failures;
mod tree;
