//! The one way an error becomes a gRPC status.
//!
//! plakar shows the message and drops the code, but for Canceled and
//! Unavailable, which it takes for its own troubles (G/importer/importer.go
//! `unwrap`). So every error is Unknown, which also reads best where plakar
//! shows the raw status.

use std::fmt;

use tonic::{Code, Status};

use crate::message;

/// The status that tells an error to the user.
pub fn of(error: impl fmt::Display) -> Status {
    Status::new(Code::Unknown, text(error))
}

/// Returns the text of an error on one line, without secrets and control characters.
pub fn text(error: impl fmt::Display) -> String {
    message::printable(&error.to_string()).into_owned()
}
