//! Converts errors to gRPC statuses.
//!
//! plakar shows the message and drops the code, except for Canceled and Unavailable, which it
//! treats as problems of its own (G/importer/importer.go `unwrap`). So every error is Unknown,
//! which is also the most readable code where plakar shows the raw status.

use std::fmt;

use tonic::{Code, Status};

use crate::message;

/// Returns the status that shows an error to the user.
pub fn of(error: impl fmt::Display) -> Status {
    Status::new(Code::Unknown, text(error))
}

/// Returns the text of an error on one line, without secrets and control characters.
pub fn text(error: impl fmt::Display) -> String {
    message::printable(&error.to_string()).into_owned()
}
