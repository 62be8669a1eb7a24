//! Connections: a CONNECT proxy with its own certificate authority.

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod proxy;
