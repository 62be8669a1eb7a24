//! A stand-in for plakar v1.1.4: starts a connector, connects to it with HTTP/2 over its stdin and
//! stdout, and makes the calls of a backup, a restore and a kloset in plakar's order and with
//! plakar's limits. It can also behave like a failing plakar: stop in the middle, kill the
//! connector, or close the connection.
//!
//! - [`Host`] starts the executable in one of its roles
//! - [`Importer`], [`Exporter`] and [`Store`] are the three roles
//! - [`Snapshot`] is the result of an import, [`Tree`] the input of an export
//! - [`Kloset`] stores snapshots in a store
//! - [`Plakar`] runs the real program if it is installed

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
pub use process::{Connector, Executable, PATIENCE, Resident, Role, Running, Surroundings, until};
pub use rustix::process::Signal;
pub use snapshot::{Content, Entry, Snapshot};
pub use store::{Mac, Put, Range, Resource, Store, digest};
pub use tree::{Item, Payload, Tree};
