//! Calls of methods: requests and results as JSON, on threads that may block.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, error, ffi, methods::Method};

/// Calls a method on a blocking thread. If the future is dropped, the call is cancelled and its
/// result is released.
pub(super) async fn call<M: Method>(request: M) -> Result<M::Output, Error> {
    let scope = ffi::Scope::new();
    let id = scope.id();
    blocking(scope, move || call_blocking(id, &request)).await
}

/// The number of the scope that never ends.
pub(super) const ENDLESS: u64 = 0;

/// Calls a method on this thread, under the scope with this number.
pub(super) fn call_blocking<M: Method>(scope: u64, request: &M) -> Result<M::Output, Error> {
    let result = ffi::call(M::PATH, &encode(scope, request)?).map_err(|_| nul_in_input(M::PATH))?;
    decode(result.as_ref().map_or(&[], ffi::GoString::bytes))
}

/// Checks that a method has returned a result for each item of its request.
pub(super) fn check_count(items: &str, requested: usize, received: usize) -> Result<(), Error> {
    if requested == received {
        return Ok(());
    }
    Err(Error::unexpected(format!("rclone returned {received} results for {requested} {items}")))
}

/// Calls a method of rclone's own, whose result has no `answer` or `failure` member.
pub(super) async fn call_plain<R: Serialize, T: DeserializeOwned + Send + 'static>(
    path: &'static str,
    request: &R,
) -> Result<T, Error> {
    let scope = ffi::Scope::new();
    let input = serde_json::to_string(request).map_err(|error| unwritable(&error))?;
    blocking(scope, move || {
        let output = rpc(&input, path)?;
        serde_json::from_str(&output)
            .map_err(|error| Error::unexpected(format!("{path}: the result cannot be parsed: {error}")))
    })
    .await
}

fn rpc(input: &str, path: &str) -> Result<String, Error> {
    let (status, output) = ffi::rpc(path, input).map_err(|_| nul_in_input(path))?;
    if status == 200 {
        return Ok(output);
    }
    match serde_json::from_str::<error::RefusedCall>(&output) {
        Ok(refused) => Err(refused.into()),
        Err(error) => {
            Err(Error::unexpected(format!("{path}: status {status}, and the reason cannot be parsed: {error}")))
        }
    }
}

/// Runs `work` on a blocking thread, under a scope that ends with this future.
pub(super) async fn blocking<A: Send + 'static>(
    scope: ffi::Scope,
    work: impl FnOnce() -> Result<A, Error> + Send + 'static,
) -> Result<A, Error> {
    let result = tokio::task::spawn_blocking(work).await;
    drop(scope);
    result.unwrap_or_else(|error| Err(Error::unexpected(format!("a call of rclone did not end: {error}"))))
}

pub(super) fn nul_in_input(path: &str) -> Error {
    Error::unexpected(format!("{path}: the input contains a NUL"))
}

#[derive(Serialize)]
struct Scoped<'a, R> {
    scope: u64,
    #[serde(flatten)]
    request: &'a R,
}

pub(super) fn encode<R: Serialize>(scope: u64, request: &R) -> Result<String, Error> {
    serde_json::to_string(&Scoped { scope, request }).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::unexpected(format!("a request cannot be written as JSON: {error}"))
}

/// The JSON that a method returns. It has exactly one of the members.
#[derive(Deserialize)]
struct Outcome<A> {
    answer: Option<A>,
    failure: Option<error::Failure>,
}

pub(super) fn decode<A: DeserializeOwned>(output: &[u8]) -> Result<A, Error> {
    match serde_json::from_slice::<Outcome<A>>(output) {
        Ok(Outcome { failure: Some(failure), .. }) => Err(failure.into()),
        Ok(Outcome { answer: Some(answer), .. }) => Ok(answer),
        Ok(Outcome { answer: None, failure: None }) => Err(Error::unexpected("a method returned an empty result")),
        Err(error) => Err(Error::unexpected(format!("the result of a method cannot be parsed: {error}"))),
    }
}
