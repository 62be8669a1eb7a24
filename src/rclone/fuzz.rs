//! Feeds the readers of Go's answers with answers that Go never writes.

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
    fn an_answer_is_read_or_refused(answer in corpora::changed("answers")) {
        ffi::start(ffi::environment()); // an answer may name an object, which is released
        for folder in check(decode::<methods::Listed>(&answer)).into_iter().flat_map(|listed| listed.folders) {
            drop(Listing::from(folder));
        }
        if let Some(entry) = check(decode::<methods::Entry>(&answer)) {
            let _ = Entry::try_from(entry);
        }
        check(decode::<methods::Opened>(&answer));
        check(decode::<methods::OpenedObject>(&answer));
        check(decode::<methods::Deletions>(&answer));
        check(decode::<methods::Finished>(&answer));
        check(decode::<methods::SavedObjects>(&answer));
        check(decode::<methods::Traffic>(&answer));
        check(decode::<Available>(&answer));
        check(decode::<Exported>(&answer));
        check(decode::<Reached>(&answer));
        if let Some(description) = check(decode::<Description>(&answer)) {
            let _ = (description.cause(), description.days_left(), description.ends_within(u64::MAX));
        }
        if let Ok(out) = serde_json::from_slice::<ConfigOut>(&answer) {
            let _ = Step::from(out);
        }
        if let Ok(refused) = serde_json::from_slice::<error::RefusedCall>(&answer) {
            check::<()>(Err(refused.into()));
        }
    }
}
