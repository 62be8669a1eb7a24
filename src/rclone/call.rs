//! Calls of methods: requests and answers as JSON, on threads that may block.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, error, ffi, methods::Method};

/// Calls a method on a blocking thread. If the future is dropped, the call is cancelled and its
/// result is released.
pub(super) async fn call<M: Method>(request: M) -> Result<M::Answer, Error> {
    let scope = ffi::Scope::new();
    let input = encode(scope.id(), &request)?;
    blocking(scope, move || call_blocking(&input, M::PATH)).await
}

pub(super) fn call_blocking<A: DeserializeOwned>(input: &str, path: &str) -> Result<A, Error> {
    let answer = ffi::call(path, input).map_err(|_| nul_in_input(path))?;
    decode(answer.as_ref().map_or(&[], ffi::GoString::bytes))
}

/// Calls a method of rclone's own, whose result has no `answer` or `failure` member.
pub(super) async fn call_plain<R: Serialize, A: DeserializeOwned + Send + 'static>(
    path: &'static str,
    request: &R,
) -> Result<A, Error> {
    let scope = ffi::Scope::new();
    let input = serde_json::to_string(request)
        .map_err(|error| Error::unexpected(format!("a request cannot be written: {error}")))?;
    blocking(scope, move || {
        let output = rpc(&input, path)?;
        serde_json::from_str(&output)
            .map_err(|error| Error::unexpected(format!("{path}: the answer cannot be read: {error}")))
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
        Err(error) => Err(Error::unexpected(format!("{path}: status {status}, and no reason can be read: {error}"))),
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
    Error::unexpected(format!("{path}: the input holds a NUL"))
}

#[derive(Serialize)]
struct Scoped<'a, R> {
    scope: u64,
    #[serde(flatten)]
    request: &'a R,
}

pub(super) fn encode<R: Serialize>(scope: u64, request: &R) -> Result<String, Error> {
    serde_json::to_string(&Scoped { scope, request })
        .map_err(|error| Error::unexpected(format!("a request cannot be written: {error}")))
}

/// The outcome of a method: exactly one of the members.
#[derive(Deserialize)]
struct Outcome<A> {
    answer: Option<A>,
    failure: Option<error::Failure>,
}

pub(super) fn decode<A: DeserializeOwned>(output: &[u8]) -> Result<A, Error> {
    match serde_json::from_slice::<Outcome<A>>(output) {
        Ok(Outcome { failure: Some(failure), .. }) => Err(failure.into()),
        Ok(Outcome { answer: Some(answer), .. }) => Ok(answer),
        Ok(Outcome { answer: None, failure: None }) => Err(Error::unexpected("an answer is empty")),
        Err(error) => Err(Error::unexpected(format!("an answer cannot be read: {error}"))),
    }
}
