//! A backup: the walk of the drive's folders, the files that are left out, and the content, which
//! is prefetched while plakar opens files in order.

mod excludes;
mod forms;
mod names;
mod packages;
mod read_ahead;
mod root;
mod run;
mod scan;
mod versions;
mod walk;

pub use excludes::{ExcludeOptions, Excludes};
pub use forms::{Form, Forms, FormsFile};
pub use packages::{Package, Packages, Unpacked};
pub use read_ahead::ReadAhead;
pub use root::Root;
pub use run::{Backup, Error, Listed, Reading};
pub use scan::{Changes, Scan};
pub use versions::{Versions, VersionsFile};
pub use walk::{Failed, Found, walk};
