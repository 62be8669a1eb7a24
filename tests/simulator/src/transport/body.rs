//! The body of a response: read lazily, counted, and changed by faults.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper::body::{Body, Frame, SizeHint};

use crate::faults::{FaultAction, HoldAt, Plan};
use crate::kinds::RequestKind;
use crate::state::Shared;
use crate::transport::message::Payload;
use crate::transport::proxy::Connection;

/// The connection was cut by a fault, or the client disconnected.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut")]
pub(crate) struct Cut;

/// A request between its arrival and the end of its response.
pub(crate) struct InFlight {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) number: u64,
    pub(crate) kind: RequestKind,
    pub(crate) bytes_out: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.lock().finish(self.number, self.kind, self.bytes_out);
        self.shared.notify();
    }
}

pub(crate) struct ResponseBody {
    frames: Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Cut>> + Send>>,
    left: u64,
}

struct Sender {
    payload: Payload,
    position: u64,
    end: u64,
    /// The number of bytes added after the true end.
    extra: u64,
    cut_at: Option<u64>,
    wrong_byte: Option<u64>,
    hold: Option<(u64, String)>,
    /// The number of bytes after which no more are sent.
    stall_at: Option<u64>,
    /// The rate in bytes per second.
    drip: Option<u64>,
    request: InFlight,
}

impl ResponseBody {
    pub(crate) fn new(payload: Payload, request: InFlight, plan: &Plan) -> Self {
        let size = match &payload {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Content { start, end, .. } => end - start,
        };
        let mut sender = Sender {
            payload,
            position: 0,
            end: size,
            extra: 0,
            cut_at: None,
            wrong_byte: None,
            hold: plan.holds.iter().find_map(|(gate, at)| match at {
                HoldAt::Body(after) => Some((*after, gate.clone())),
                HoldAt::Arrival | HoldAt::Answer => None,
            }),
            stall_at: None,
            drip: None,
            request,
        };
        match plan.action {
            Some(FaultAction::Stall { at: HoldAt::Body(after) }) => sender.stall_at = Some(after),
            Some(FaultAction::Drip { bytes_per_second }) => sender.drip = Some(bytes_per_second.max(1)),
            Some(FaultAction::Truncate { bytes, clean: true }) => sender.end = size.min(bytes),
            Some(FaultAction::Truncate { bytes, clean: false }) => sender.cut_at = Some(bytes),
            Some(FaultAction::Overlong { bytes }) => sender.extra = bytes,
            Some(FaultAction::WrongByte { offset }) => sender.wrong_byte = Some(offset),
            _ => {}
        }
        let left = sender.end + sender.extra;
        Self { frames: Box::pin(unfold(sender, Sender::next)), left }
    }
}

impl Sender {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Cut>, Self)> {
        let total = self.end + self.extra;
        if self.position >= total {
            return None;
        }
        if self.cut_at.is_some_and(|at| self.position >= at) {
            return Some((Err(Cut), self));
        }
        if self.stall_at.is_some_and(|at| self.position >= at) {
            return std::future::pending().await;
        }
        if let Some((_, gate)) = self.hold.take_if(|(after, _)| self.position >= *after) {
            let shared = Arc::clone(&self.request.shared);
            shared.until(|state| state.open_gates.contains(&gate)).await;
        }
        let stop = [self.cut_at, self.stall_at, self.hold.as_ref().map(|(after, _)| *after), self.drip_end()]
            .into_iter()
            .flatten()
            .fold(total, u64::min);
        let chunk = self.spoil(self.read(stop));
        self.position += chunk.len() as u64;
        self.request.bytes_out += chunk.len() as u64;
        if let Some(rate) = self.drip {
            tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / rate as f64)).await;
        }
        self.pace(chunk.len() as u64).await;
        Some((Ok(Frame::data(chunk)), self))
    }

    fn read(&self, stop: u64) -> Bytes {
        if self.position >= self.end {
            return Bytes::from(vec![b'+'; (stop - self.position) as usize]);
        }
        let stop = stop.min(self.end);
        match &self.payload {
            Payload::Bytes(bytes) => bytes.slice(self.position as usize..stop as usize),
            Payload::Content { content, start, .. } => content.chunk(start + self.position, start + stop),
        }
    }

    /// The end of the bytes that a slow body sends in the next tenth of a second.
    fn drip_end(&self) -> Option<u64> {
        self.drip.map(|rate| self.position + rate.div_ceil(10))
    }

    fn spoil(&self, chunk: Bytes) -> Bytes {
        let Some(index) = self.wrong_byte.and_then(|at| at.checked_sub(self.position)) else { return chunk };
        let mut bytes = BytesMut::from(chunk);
        if let Some(byte) = usize::try_from(index).ok().and_then(|index| bytes.get_mut(index)) {
            *byte = !*byte;
        }
        bytes.freeze()
    }

    /// Limits downloads to the rate of the link, which all of them share, and to the rate of their
    /// connection.
    async fn pace(&self, bytes: u64) {
        if self.request.kind != RequestKind::ContentGet {
            return;
        }
        let wait = {
            let mut state = self.request.shared.lock();
            let (rate, own_rate) =
                (state.rules.transport.content_rate, state.rules.transport.content_rate_per_connection);
            state.link.take(bytes, rate).max(self.request.connection.link().take(bytes, own_rate))
        };
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = self.frames.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.left = self.left.saturating_sub(data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
