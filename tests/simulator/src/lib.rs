//! A simulated iCloud for tests and demos: sign-in, Drive and Photos behind an HTTPS CONNECT proxy
//! with its own certificate authority. A client that supports a proxy and a CA file can use it
//! instead of Apple's service.
//!
//! ```no_run
//! use icloud_simulator::{Config, Content, RequestKind, Simulator};
//!
//! let simulator = Simulator::start(Config::default())?;
//! simulator.put_file("Documents/a.txt", Content::from(&b"hello"[..]), 1_700_000_000_000);
//! let session = simulator.mint_session();
//! // Run the client with HTTPS_PROXY = simulator.proxy_url(), the CA simulator.ca_pem() and the session's values.
//! assert_eq!(simulator.counts().of(RequestKind::List), 0);
//! # drop(session);
//! # Ok::<(), icloud_simulator::StartError>(())
//! ```
//!
//! `RULES.md` lists every rule of the service with its source, or marks it as a guess.

mod account;
mod clock;
mod control;
mod drive;
mod faults;
mod journal;
mod json;
mod kinds;
mod latency;
mod photos;
mod rules;
mod seed;
mod simulator;
mod state;
mod throttle;
mod transport;

pub use account::session::MintedSession;
pub use drive::content::Content;
pub use drive::names::NameRule;
pub use drive::odd::{Counters, OddListing};
pub use faults::{FaultAction, FaultRule, HoldAt};
pub use journal::{Count, Counts, Entry};
pub use kinds::RequestKind;
pub use photos::{NewAsset, PRIMARY_ZONE, Photos};
pub use rules::{
    AccountRules, BatchGap, CodeAnswer, DetailsForm, DriveRules, ExistingFolder, LatencyProfile, MissingFolder,
    NameMatching, OverBatch, PhotosRules, Rules, SessionRules, SrpProtocol, TakenName, ThrottleRules, TransportRules,
    TrustedPhone,
};
pub use seed::{ItemInfo, Mutation, NoSuchItem, SeedTree};
pub use simulator::{Config, Simulator, StartError, WaitTimeout};
