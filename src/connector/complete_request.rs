//! Detects requests that were cut off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::status;

/// A service wrapper: its request streams end with an error if the stream was reset or the
/// connection broke. tonic's decoder treats a reset as a clean end, so half a packfile would be
/// stored as a whole one.
#[derive(Debug, Clone)]
pub struct CompleteRequest<S>(pub S);

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for CompleteRequest<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Request(body))))
    }
}

impl<S: NamedService> NamedService for CompleteRequest<S> {
    const NAME: &'static str = S::NAME;
}

struct Request(Body);

impl http_body::Body for Request {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let cut_off = || Some(Err(status::of("plakar cancelled the call")));
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(context)) {
            Some(Err(error)) if error.code() == Code::Cancelled => cut_off(),
            None if !self.0.is_end_stream() => cut_off(),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
