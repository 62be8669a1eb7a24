//! Accounts as a person meets them, and scripts: each test runs the program
//! itself, in a home of its own, against a simulated iCloud of its own.
//!
//! - [`sign_in`]: the ways to a session
//! - [`refusals`]: what Apple turns down, and the one cause that is named
//! - [`variants`]: answers that are as good in other words
//! - [`terminal`]: a sign-in at a real terminal
//! - [`password`]: kept, fetched by a command, or not to be had
//! - [`session`]: renewing, sharing, ending
//! - [`forecast`]: telling in time
//! - [`doctor`]: one cause, and the round trip
//! - [`state_folder`]: strange files, owners and permissions
//! - [`output`]: exit codes, JSON, and what a terminal must not get
//! - [`configuration`]: what goes into plakar and what comes from rclone
//! - [`secrets`]: that there are none where they do not belong

mod configuration;
mod doctor;
mod forecast;
mod output;
mod password;
mod person;
mod refusals;
mod secrets;
mod session;
mod sign_in;
mod state_folder;
mod terminal;
mod variants;
