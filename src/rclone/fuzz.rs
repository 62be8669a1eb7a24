//! Decodes responses that the Go side never writes.

use proptest::prelude::*;

use super::{
    Entry, Error, Listing,
    account::{Available, ConfigOut, Description, Exported, Reached, Step},
    call::decode,
    error, ffi, methods,
};

#[path = "../../tests/corpora/mod.rs"]
mod corpora;

/// Fails if an error has several lines.
fn check<A>(result: Result<A, Error>) -> Option<A> {
    result.inspect_err(|error| assert!(!error.text.contains('\n'), "{error:?}")).ok()
}

proptest! {
    #[test]
    fn a_response_is_decoded_or_refused(response in corpora::changed("answers")) {
        ffi::start(ffi::environment()); // a response may name an object, which is released
        for folder in check(decode::<methods::Listed>(&response)).into_iter().flat_map(|listed| listed.folders) {
            drop(Listing::from(folder));
        }
        if let Some(entry) = check(decode::<methods::Entry>(&response)) {
            let _ = Entry::try_from(entry);
        }
        check(decode::<methods::Opened>(&response));
        check(decode::<methods::OpenedObject>(&response));
        check(decode::<methods::Deletions>(&response));
        check(decode::<methods::Finished>(&response));
        check(decode::<methods::SavedObjects>(&response));
        check(decode::<methods::Traffic>(&response));
        check(decode::<Available>(&response));
        check(decode::<Exported>(&response));
        check(decode::<Reached>(&response));
        if let Some(description) = check(decode::<Description>(&response)) {
            let _ = (description.cause(), description.days_left(), description.ends_within(u64::MAX));
        }
        if let Ok(out) = serde_json::from_slice::<ConfigOut>(&response) {
            let _ = Step::from(out);
        }
        if let Ok(refused) = serde_json::from_slice::<error::RefusedCall>(&response) {
            check::<()>(Err(refused.into()));
        }
    }
}
