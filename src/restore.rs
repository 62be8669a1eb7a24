//! What a restore writes to a drive: which names are free, and which are not.

mod names;

pub use names::{Names, Twin, are_alike, are_one};
