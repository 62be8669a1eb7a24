//! Plakar backs up, restores and stores in iCloud, with rclone inside.
//!
//! What calls what, from plakar and people down to C:
//!
//! - [`cli`] holds the commands for people: sign in, look, find out what is wrong;
//! - [`doctor`] finds the one thing that is wrong, for some of these commands;
//! - [`connector`] speaks gRPC with plakar: importer, exporter, storage;
//! - [`config`] reads what plakar hands to a connector;
//! - [`account`] turns the name of an account into what rclone signs in with;
//! - [`backup`], [`restore`] and [`kloset`] are the three uses of a drive;
//! - [`drive`] is what they share: paths, content, spools, retries;
//! - [`rclone`] calls rclone in this process, with JSON for control and memory for
//!   content; its child `ffi` is the only one that knows pointers.
//!
//! [`report`], [`secret`], [`message`] and [`log`] serve all of them.

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
pub mod rclone;
pub mod report;
pub mod restore;
pub mod secret;
