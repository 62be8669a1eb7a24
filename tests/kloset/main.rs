//! A kloset in the drive: how much is fetched, how much memory is used, and what happens if requests
//! fail.
//!
//! - [`start`]: the requests of a process before its first byte
//! - [`reads`]: requests and bytes of reads, and wrong responses
//! - [`memory`]: limits under many concurrent Gets and Puts
//! - [`model`]: random operations and faults, compared with a store in memory
//! - [`plakar`]: faults and kills under the real plakar, if it is on PATH

mod drive;
mod memory;
mod model;
mod plakar;
mod reads;
mod saved_listing;
mod start;
