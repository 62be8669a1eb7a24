//! The wire: a CONNECT proxy with a certificate authority of its own.

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod proxy;
