//! The destination of a restore.

use std::collections::BTreeMap;

use bytes::Bytes;
use plakar_protocol::connectors::Record;
use plakar_protocol::exporter as wire;
use plakar_protocol::exporter::export_request::Packet;
use plakar_protocol::exporter::exporter_client::ExporterClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::error::{Error, Result};
use crate::handshake::{Identity, Options, Settings};
use crate::process::{Connector, within};
use crate::tree::{Item, Payload, Tree};

/// The maximum size of content in one message of plakar.
const CHUNK: usize = 1024 * 1024;

/// A connector in its role as exporter, after Init.
#[derive(Debug)]
pub struct Exporter {
    connector: Connector,
    client: ExporterClient<Channel>,
    identity: Identity,
}

/// The result of an export.
#[derive(Debug)]
pub struct Exported {
    /// The acks in the order in which they arrived.
    pub acks: Vec<Ack>,
    /// How the call ended. An error makes `plakar restore` fail.
    pub end: Result<()>,
}

/// The ack of a record.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The record, as the connector sent it back.
    pub record: Record,
    /// Why it could not be restored, or "".
    pub error: String,
}

impl Exported {
    /// Returns the failed paths with the reasons (`KO` lines).
    pub fn errors(&self) -> BTreeMap<&str, &str> {
        let failed = self.acks.iter().filter(|ack| !ack.error.is_empty());
        failed.map(|ack| (ack.record.pathname.as_str(), ack.error.as_str())).collect()
    }

    /// Returns the paths that were restored.
    pub fn restored(&self) -> Vec<&str> {
        let good = self.acks.iter().filter(|ack| ack.error.is_empty());
        good.map(|ack| ack.record.pathname.as_str()).collect()
    }
}

impl Exporter {
    /// Calls Init.
    ///
    /// # Errors
    /// Fails if the connector refuses the settings.
    pub async fn init(connector: Connector, settings: &Settings, options: &Options) -> Result<Self> {
        let mut client = ExporterClient::new(connector.channel());
        let request = wire::InitRequest {
            options: Some(wire::Options {
                hostname: "host.example".to_owned(),
                os: "linux".to_owned(),
                arch: "amd64".to_owned(),
                cwd: options.cwd.clone(),
                maxconcurrency: i64::try_from(options.concurrency).unwrap_or(i64::MAX),
                excludes: Vec::new(),
                noxattr: false,
            }),
            proto: settings.protocol(),
            config: settings.config(),
        };
        let init = async { client.init(request).await.map_err(Error::refused("Init")) };
        let response = within("Init", init).await?.into_inner();
        Ok(Self {
            identity: Identity {
                origin: response.origin,
                kind: response.r#type,
                root: response.root,
                flags: response.flags,
            },
            client,
            connector,
        })
    }

    /// Returns what the connector reported about its remote.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the process.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Returns the process, for use when no further call follows.
    pub fn into_connector(self) -> Connector {
        self.connector
    }

    /// Calls Ping.
    ///
    /// # Errors
    /// Fails if the remote cannot be reached.
    pub async fn ping(&self) -> Result<()> {
        let mut client = self.client.clone();
        let ping = async { client.ping(wire::PingRequest {}).await.map_err(Error::refused("Ping")) };
        within("Ping", ping).await.map(drop)
    }

    /// Calls Close.
    ///
    /// # Errors
    /// Fails if the connector failed or does not respond.
    pub async fn close(&self) -> Result<()> {
        let mut client = self.client.clone();
        let close = async { client.close(wire::CloseRequest {}).await.map_err(Error::refused("Close")) };
        within("Close", close).await.map(drop)
    }

    /// Starts the Export call. Dropping the [`Acks`] cancels it.
    pub fn start(&self) -> (Outgoing, Acks) {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.client.clone();
        let call = tokio::spawn(async move {
            let response = client.export(ReceiverStream::new(receiver)).await;
            Ok(response.map_err(Error::refused("Export"))?.into_inner())
        });
        (Outgoing(sender), Acks::Starting(call))
    }

    /// Sends a tree and collects the acks. Half-closes the call in the middle of a file whose read
    /// fails in plakar, and sends nothing more.
    ///
    /// # Errors
    /// Fails if the connector sends a response that makes plakar crash, or none. Failures of the
    /// connector itself are in the result.
    pub async fn export(&self, tree: &Tree) -> Result<Exported> {
        let (mut outgoing, mut acks) = self.start();
        let send = async move {
            for item in tree.iter() {
                if outgoing.send(item).await.is_err() || matches!(item.payload, Payload::Broken(_)) {
                    break;
                }
            }
        };
        let receive = async {
            let mut received = Vec::new();
            loop {
                match acks.next().await {
                    Ok(Some(ack)) => received.push(ack),
                    Ok(None) => return Ok((received, Ok(()))),
                    Err(error @ Error::Refused { .. }) => return Ok((received, Err(error))),
                    Err(error) => return Err(error),
                }
            }
        };
        let ((), received) = tokio::join!(send, receive);
        let (acks, end) = received?;
        check(&acks, tree)?;
        Ok(Exported { acks, end })
    }
}

/// The sending half of an Export call. Dropping it half-closes the call.
#[derive(Debug)]
pub struct Outgoing(mpsc::Sender<wire::ExportRequest>);

impl Outgoing {
    /// Sends a record, its content and, unless plakar's read fails, the empty chunk that ends the
    /// content.
    ///
    /// # Errors
    /// Fails if the call has ended.
    pub async fn send(&mut self, item: &Item) -> Result<()> {
        self.packet(Packet::Record(item.record.clone())).await?;
        let (Payload::Whole(content) | Payload::Broken(content)) = &item.payload else {
            return Ok(());
        };
        for start in (0..content.len()).step_by(CHUNK) {
            let end = content.len().min(start + CHUNK);
            self.packet(Packet::Chunk(content.slice(start..end))).await?;
        }
        if matches!(item.payload, Payload::Whole(_)) {
            self.packet(Packet::Chunk(Bytes::new())).await?;
        }
        Ok(())
    }

    async fn packet(&mut self, packet: Packet) -> Result<()> {
        let operation = "Export";
        let request = wire::ExportRequest { packet: Some(packet) };
        let sent = async {
            let ended = |_| Error::protocol(operation, "the call has ended");
            self.0.send(request).await.map_err(ended)
        };
        within(operation, sent).await
    }
}

/// The receiving half of an Export call.
#[derive(Debug)]
pub enum Acks {
    /// No response has arrived yet.
    Starting(JoinHandle<Result<Streaming<wire::ExportResponse>>>),
    /// The connector has responded.
    Running(Box<Streaming<wire::ExportResponse>>),
}

impl Acks {
    /// Returns the next ack, or none at the end of the call.
    ///
    /// # Errors
    /// Fails if the call ended with an error, or with a response that makes plakar crash.
    pub async fn next(&mut self) -> Result<Option<Ack>> {
        let operation = "Export";
        if let Self::Starting(call) = self {
            let joined = async { call.await.map_err(|error| std::io::Error::other(error).into()) };
            *self = Self::Running(Box::new(within(operation, joined).await??));
        }
        let Self::Running(stream) = self else { return Ok(None) };
        let next = async { stream.message().await.map_err(Error::refused(operation)) };
        let Some(response) = within(operation, next).await? else { return Ok(None) };
        let result = response.result.unwrap_or_default();
        let record = result.header.ok_or_else(|| Error::protocol(operation, "an ack without header"))?;
        if record.error.is_empty() && !record.is_xattr && record.file_info.is_none() {
            let violation = format!("invalid record {}: missing fileinfo", record.pathname);
            return Err(Error::protocol(operation, violation));
        }
        Ok(Some(Ack { record, error: result.error }))
    }
}

/// Checks that every ack belongs to a record that was sent, and that each record has only one.
fn check(acks: &[Ack], tree: &Tree) -> Result<()> {
    let mut sent: BTreeMap<&str, &Record> =
        tree.iter().map(|item| (item.record.pathname.as_str(), &item.record)).collect();
    for ack in acks {
        let path = ack.record.pathname.as_str();
        let record = sent.remove(path);
        if record.and_then(|record| record.file_info.as_ref()) != ack.record.file_info.as_ref() {
            let violation = format!("{path:?} was acknowledged twice, or not as it was sent");
            return Err(Error::protocol("Export", violation));
        }
    }
    Ok(())
}
