//! A kloset in the drive as a user of plakar meets it: how much is fetched, what
//! memory it takes, and what becomes of it when requests fail.
//!
//! - [`start`]: what a process asks for before its first byte
//! - [`reads`]: requests and bytes of reads, and answers that are not what they should be
//! - [`memory`]: bounds under many Gets and Puts at once
//! - [`model`]: random operations and faults, beside a store in memory
//! - [`plakar`]: faults and kills under the real plakar, where it is on PATH

mod drive;
mod memory;
mod model;
mod plakar;
mod reads;
mod start;
