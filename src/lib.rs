//! Backs up, restores and stores plakar snapshots in iCloud, with rclone inside.
//!
//! The modules, from plakar and the users down to C; each uses only those below it:
//!
//! - [`program`] is the entry point of the executable;
//! - [`cli`] has the commands for users: signing in, showing the state, diagnosis;
//! - [`doctor`] finds the cause of a problem, for some of these commands;
//! - [`connector`] has the gRPC services for plakar: importer, exporter, storage;
//! - [`config`] reads the configuration that plakar passes to a connector;
//! - [`account`] converts the name of an account into the sign-in that rclone needs;
//! - [`backup`], [`restore`] and [`kloset`] are the three uses of a drive;
//! - [`drive`] is shared by these: paths, content, spools, retries;
//! - [`rclone`] calls rclone in this process, with JSON for control and memory for content; only
//!   its child `ffi` handles pointers.
//!
//! [`report`], [`secret`], [`message`] and [`log`] are used by all of them.

#![warn(clippy::print_stderr)]

pub mod account;
pub mod backup;
pub mod cli;
pub mod config;
pub mod connector;
pub mod doctor;
pub mod drive;
pub mod kloset;
pub mod log;
pub mod message;
pub mod program;
pub mod rclone;
pub mod report;
pub mod restore;
pub mod secret;
