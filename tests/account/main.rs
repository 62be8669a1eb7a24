//! Accounts from the point of view of users and scripts: each test runs the program itself, with a
//! separate home and a separate simulated iCloud.
//!
//! - [`sign_in`]: signing in
//! - [`refusals`]: Apple's refusals, and the cause that is reported for each
//! - [`variants`]: responses that differ from those of the simulator
//! - [`terminal`]: a sign-in at a real terminal
//! - [`password`]: stored, printed by a command, or missing
//! - [`session`]: renewing, sharing, ending
//! - [`runs`]: the last runs of an account
//! - [`scan`]: the contents of a drive, and what a backup would read
//! - [`plan`]: what a restore would do
//! - [`forecast`]: early warnings
//! - [`domain`]: accounts of mainland China, which have hosts of their own
//! - [`doctor`]: the diagnosis of a single cause, and the round trip
//! - [`state_folder`]: unusual files, owners and permissions
//! - [`output`]: exit codes, JSON, and characters that a terminal must not get
//! - [`configuration`]: configurations for plakar and from rclone
//! - [`secrets`]: the absence of secrets where they do not belong

mod configuration;
mod doctor;
mod domain;
mod forecast;
mod output;
mod password;
mod person;
mod plan;
mod refusals;
mod runs;
mod scan;
mod secrets;
mod session;
mod sign_in;
mod state_folder;
mod terminal;
mod variants;
