//! What a backup reads from a drive: the walk of its folders, the files that are
//! left out, and the content, prefetched while plakar opens files in order.

mod excludes;
mod read_ahead;
mod walk;

pub use excludes::Excludes;
pub use read_ahead::ReadAhead;
pub use walk::{Found, walk};
