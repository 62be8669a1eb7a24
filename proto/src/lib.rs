//! The gRPC services that plakar calls on a connector, over the connector's stdin and stdout.
//!
//! The definitions are in `proto/*.proto`. `tests/generated.rs` generates the code in
//! `src/generated` from them, and fails if the two differ.

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
#[path = "generated"]
mod generated {
    pub mod plakar {
        #[path = "plakar.connectors.rs"]
        pub mod connectors;
        #[path = "plakar.exporter.rs"]
        pub mod exporter;
    }
    pub mod importer;
    pub mod store;
}

pub use generated::importer;
pub use generated::plakar::{connectors, exporter};
pub use generated::store;
