//! Tests of the program as plakar starts it. No test shares a process, a remote or a home with
//! another.
//!
//! - [`importer`]: unchanged files, names, roots, failures, the order of calls
//! - [`exporter`]: trees, names, failures
//! - [`photos`]: the photo library as a source
//! - [`storage`]: klosets, ranges, transactions, leaving
//! - [`process`]: start, end, environment, silence
//! - [`monitor`]: pings and metrics
//! - [`fuzz`]: configurations and messages that plakar never sends
//! - [`provider`]: all three on a WebDAV server
//! - [`servers`]: restores to OpenSSH, Apache and an S3 server, if they are installed
//! - [`plakar`]: the same through the real plakar, if it is on PATH
//!
//! They run against a simulated iCloud ([`icloud`]) or folders of this machine ([`disk`]).

mod disk;
mod exporter;
mod fuzz;
mod icloud;
mod importer;
mod monitor;
mod photos;
mod plakar;
mod process;
mod provider;
mod servers;
mod storage;
