//! Accounts as a person meets them, and scripts: each test runs the program
//! itself, in a home of its own, against a simulated iCloud of its own.
//!
//! - [`sign_in`]: the ways to a session
//! - [`refusals`]: what Apple turns down, and the one cause that is named
//! - [`session`]: renewing, sharing, ending
//! - [`forecast`]: telling in time
//! - [`doctor`]: one cause, and the round trip
//! - [`configuration`]: what goes into plakar and what comes from rclone
//! - [`secrets`]: that there are none where they do not belong

mod configuration;
mod doctor;
mod forecast;
mod person;
mod refusals;
mod secrets;
mod session;
mod sign_in;
