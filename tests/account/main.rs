//! Accounts from the point of view of users and scripts: each test runs the program itself, with a
//! separate home and a separate simulated iCloud.
//!
//! - [`sign_in`]: the ways to a session
//! - [`refusals`]: Apple's refusals, and the single cause that is named
//! - [`variants`]: equivalent responses in other words
//! - [`terminal`]: a sign-in at a real terminal
//! - [`password`]: stored, printed by a command, or missing
//! - [`session`]: renewing, sharing, ending
//! - [`runs`]: the last runs of an account
//! - [`scan`]: what a drive holds
//! - [`forecast`]: early warnings
//! - [`doctor`]: the diagnosis of a single cause, and the round trip
//! - [`state_folder`]: unusual files, owners and permissions
//! - [`output`]: exit codes, JSON, and characters that a terminal must not get
//! - [`configuration`]: configurations for plakar and from rclone
//! - [`secrets`]: the absence of secrets where they do not belong

mod configuration;
mod doctor;
mod forecast;
mod output;
mod password;
mod person;
mod refusals;
mod runs;
mod scan;
mod secrets;
mod session;
mod sign_in;
mod state_folder;
mod terminal;
mod variants;
