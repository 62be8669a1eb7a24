//! A destination of restores.

use std::sync::Arc;

use plakar_protocol::{
    connectors::{Record, Result as Ack},
    exporter::{
        CloseRequest, CloseResponse, ExportRequest, ExportResponse, InitRequest, InitResponse, PingRequest,
        PingResponse, export_request::Packet, exporter_server,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::{SHUTDOWN_TIMEOUT, context::Context, record, status};
use crate::{
    account::RunEvent,
    drive::Drive,
    report::{Kind, Reporter, Summary},
    restore::{Error, Incoming, Outcome, Restore},
};

/// The capacity of the channel of acks to plakar.
const ACKS_AHEAD: usize = 256;

/// The exporter service. plakar calls Init first, then Export once.
#[derive(Debug)]
pub struct Exporter {
    context: Arc<Context>,
    exports: TaskTracker,
    stop: CancellationToken,
}

type ExportStream = ReceiverStream<Result<ExportResponse, Status>>;

#[tonic::async_trait]
impl exporter_server::Exporter for Exporter {
    type ExportStream = ExportStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let config = self.context.configure(request.into_inner().config).await?;
        Ok(Response::new(InitResponse {
            origin: config.origin.clone(),
            r#type: config.protocol.name().to_owned(),
            root: config.top.to_string(),
            flags: 0,
        }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.context.ping(false).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn export(&self, request: Request<Streaming<ExportRequest>>) -> Result<Response<Self::ExportStream>, Status> {
        let config = self.context.config()?;
        let reporter = Reporter::new(Kind::Restore, &config.report);
        reporter.begun();
        let (acks, stream) = mpsc::channel(ACKS_AHEAD);
        let (outcomes, receiver) = mpsc::channel(1);
        let acknowledging = acknowledge(receiver, acks.clone());
        let drive = self.context.drive().await.inspect_err(|refused| reporter.refused(refused.message()))?;
        let (drive, top) = (drive.clone(), config.top.clone());
        let (policy, limit) = (config.restore, u32::try_from(config.limits.uploads * 2).unwrap_or(u32::MAX));
        let stop = self.stop.clone();
        self.exports.spawn(async move {
            let restoring = async {
                let mut restore = Restore::begin(&drive, &top, policy, limit, outcomes).await.map_err(End::failed)?;
                let end = restore_all(&mut restore, request.into_inner(), &stop).await;
                end.map(|()| restore.summary().clone()).map_err(|end| match end {
                    End::Failed(error, _) => End::Failed(error, Box::new(restore.summary().clone())),
                    End::Disconnected(status) => End::Disconnected(status),
                })
            };
            let (end, ()) = tokio::join!(restoring, acknowledging);
            match end {
                Ok(summary) => reporter.done(&summary, None),
                Err(End::Failed(error, summary)) => {
                    let reason = status::text(error);
                    reporter.failed(RunEvent::RestoreFailed, &reason, Some(&summary));
                    let _ = acks.send(Err(status::of(reason))).await; // fails if plakar has closed the connection
                }
                Err(End::Disconnected(status)) => {
                    let _ = acks.try_send(Err(status)); // fails if plakar has closed the connection
                    complete_replacements(&drive).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        Ok(Response::new(CloseResponse {}))
    }
}

impl Exporter {
    /// Returns a service with a shared context.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, exports: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Ends the restores under way after plakar has closed the connection. Uploads are cancelled,
    /// and replacements that have begun are completed.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        self.exports.close();
        self.exports.wait().await;
    }
}

/// Why a restore did not succeed.
enum End {
    Failed(Error, Box<Summary>),
    /// plakar has closed the connection or cancelled the call.
    Disconnected(Status),
}

impl End {
    fn failed(error: Error) -> Self {
        Self::Failed(error, Box::default())
    }
}

/// Restores the records that plakar sends.
async fn restore_all(
    restore: &mut Restore<Record>,
    mut packets: Streaming<ExportRequest>,
    stop: &CancellationToken,
) -> Result<(), End> {
    let mut incoming: Option<Incoming<Record>> = None;
    while !restore.is_over() {
        let request = tokio::select! {
            request = packets.message() => request.map_err(End::Disconnected)?,
            (record, result) = restore.next_ended() => {
                restore.send_outcome(record, result).await;
                continue;
            }
            () = stop.cancelled() => return Err(End::Disconnected(status::of("the process was terminated by a signal"))),
        };
        match (request.map(|request| request.packet), &mut incoming) {
            (None, _) => break,
            (Some(None), _) => {}
            (Some(Some(Packet::Record(record))), None) => {
                let (item, name) = (record::item(&record), record.pathname.clone());
                incoming = restore.add(record, &name, item).await;
            }
            (Some(Some(Packet::Chunk(chunk))), Some(file)) if !chunk.is_empty() => file.add(chunk).await,
            (Some(Some(Packet::Chunk(_))), Some(_)) => {
                if let Some(file) = incoming.take() {
                    restore.complete(file).await;
                }
            }
            (Some(_), _) => return Err(End::failed(Error::Protocol)),
        }
    }
    restore.end(incoming).await.map_err(End::failed)
}

/// Sends the acks, each with its complete record: plakar exits on an ack without a record.
async fn acknowledge(
    mut outcomes: mpsc::Receiver<Outcome<Record>>,
    acks: mpsc::Sender<Result<ExportResponse, Status>>,
) {
    while let Some(Outcome { ticket, result }) = outcomes.recv().await {
        let error = result.err().map(|failure| status::text(failure.text)).unwrap_or_default();
        let ack = Ack { header: Some(ticket), error };
        if acks.send(Ok(ExportResponse { result: Some(ack) })).await.is_err() {
            return; // plakar has closed the connection
        }
    }
}

/// Completes the replacements that have begun. Until then, the new content has another name.
async fn complete_replacements(drive: &Drive) {
    for error in drive.wait_for_changes(SHUTDOWN_TIMEOUT).await {
        log::warn!("{error}");
    }
}
