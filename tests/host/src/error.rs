//! Errors between the host and a connector.

use std::time::Duration;

use tonic::{Code, Status};

/// The result of an operation on a connector.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, from the host's point of view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The executable could not be started.
    #[error("cannot start {executable}: {source}")]
    Start {
        /// The path of the executable.
        executable: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The connector responded to a call with an error, or has exited.
    #[error("{operation}: {message} ({code:?})")]
    Refused {
        /// The call.
        operation: &'static str,
        /// The gRPC code. plakar distinguishes only `Canceled` and `Unavailable`.
        code: Code,
        /// The text that plakar would show.
        message: String,
    },
    /// The connector did something that plakar cannot handle.
    #[error("{operation}: the connector violated the protocol: {violation}")]
    Protocol {
        /// The call.
        operation: &'static str,
        /// What the connector did.
        violation: String,
    },
    /// The connector did not respond in time.
    #[error("{operation}: no response within {limit:?}")]
    Deadline {
        /// The call.
        operation: &'static str,
        /// How long the host waited.
        limit: Duration,
    },
    /// The kloset differs from what the host wrote.
    #[error("kloset: {0}")]
    Kloset(String),
    /// An operation of the host's system failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    pub(crate) fn refused(operation: &'static str) -> impl Fn(Status) -> Self {
        move |status| Self::Refused { operation, code: status.code(), message: status.message().to_owned() }
    }

    pub(crate) fn protocol(operation: &'static str, violation: impl Into<String>) -> Self {
        Self::Protocol { operation, violation: violation.into() }
    }

    /// Returns the text that plakar would show: the connector's own text if there is one.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            _ => self.to_string(),
        }
    }
}
