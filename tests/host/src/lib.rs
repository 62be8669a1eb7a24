//! Does with a connector what plakar v1.1.4 does, without plakar: starts it,
//! speaks HTTP/2 over its stdin and stdout, and sends the calls of a backup, a
//! restore and a kloset in plakar's order, with plakar's limits. It can also do
//! what plakar does when it fails: stop in the middle, kill, hang up.
//!
//! - [`Host`] knows the executable and starts it in one of its roles
//! - [`Importer`], [`Exporter`] and [`Store`] are the three roles
//! - [`Snapshot`] is what an import leaves, [`Tree`] what an export is made of
//! - [`Kloset`] keeps snapshots in a store
//! - [`Plakar`] runs the real program where it is installed

mod error;
mod exporter;
mod handshake;
mod host;
mod importer;
mod kloset;
mod plakar;
mod process;
mod snapshot;
mod store;
mod tree;

pub use error::{Error, Result};
pub use exporter::{Ack, Acks, Exported, Exporter, Outgoing};
pub use handshake::{Identity, Options, Settings};
pub use host::Host;
pub use importer::{Backup, Counts, Importer, Keep};
pub use kloset::{Checked, Kloset, SnapshotId};
pub use plakar::{Outcome, Plakar, skipped};
pub use process::{Connector, Executable, PATIENCE, Resident, Role, Running, Surroundings};
pub use rustix::process::Signal;
pub use snapshot::{Content, Entry, Snapshot};
pub use store::{Mac, Put, Range, Resource, Store, digest};
pub use tree::{Item, Payload, Tree};
