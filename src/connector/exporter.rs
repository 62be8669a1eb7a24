//! A destination of restores.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use plakar_protocol::{
    connectors::{Record, Result as Ack},
    exporter::{
        CloseRequest, CloseResponse, ExportRequest, ExportResponse, InitRequest, InitResponse, PingRequest,
        PingResponse, export_request::Packet, exporter_server,
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    context::Context,
    record::{self, Wanted},
    status,
};
use crate::{
    drive::{self, Drive, DrivePath, Spool, Spooled},
    rclone::{Replacement, Time},
    restore::{self, Names},
};

/// Acks on their way to plakar.
const ACKS_AHEAD: usize = 256;

/// The exporter service. Init comes first, then Export once.
#[derive(Debug)]
pub struct Exporter(Arc<Context>);

type ExportStream = ReceiverStream<Result<ExportResponse, Status>>;

#[tonic::async_trait]
impl exporter_server::Exporter for Exporter {
    type ExportStream = ExportStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let config = self.0.configure(request.into_inner().config).await?;
        Ok(Response::new(InitResponse {
            origin: config.origin.clone(),
            r#type: config.protocol.name().to_owned(),
            root: config.top.to_string(),
            flags: 0,
        }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.0.ping(false).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn export(&self, request: Request<Streaming<ExportRequest>>) -> Result<Response<Self::ExportStream>, Status> {
        let config = self.0.config()?;
        let drive = self.0.drive().await?.clone();
        let (acks, stream) = mpsc::channel(ACKS_AHEAD);
        let tally = Arc::new(Tally {
            acks: acks.clone(),
            total: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            over: OnceLock::new(),
        });
        let limit = config.limits.uploads * 2;
        let (uploads, names) = (JoinSet::new(), Names::new(drive.merges_names()));
        let export = Export { drive, top: config.top.clone(), tally, limit, uploads, names, times: Vec::new() };
        tokio::spawn(async move {
            if let Err(error) = export.run(request.into_inner()).await {
                // Nobody listens: plakar has gone.
                let _ = acks.send(Err(error)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        Ok(Response::new(CloseResponse {}))
    }
}

impl Exporter {
    /// Returns a service that works in a context.
    pub fn new(context: Arc<Context>) -> Self {
        Self(context)
    }
}

/// Answers records and counts how they went.
#[derive(Debug)]
struct Tally {
    acks: mpsc::Sender<Result<ExportResponse, Status>>,
    total: AtomicU64,
    failed: AtomicU64,
    /// Why nothing more can be restored.
    over: OnceLock<String>,
}

/// Why a record could not be restored.
struct Failure {
    text: String,
    /// Nothing that follows can be restored either.
    ends_everything: bool,
}

impl From<drive::Error> for Failure {
    fn from(error: drive::Error) -> Self {
        Self { ends_everything: error.ends_everything(), text: status::text(error) }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { text, ends_everything: false }
    }
}

impl Tally {
    /// Acknowledges a record. The record must come back whole: plakar ends itself
    /// for an ack without one.
    async fn ack(&self, record: Record, result: Result<(), Failure>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let error = match result {
            Ok(()) => String::new(),
            Err(failure) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if failure.ends_everything {
                    // Set already: the first cause is the one to tell.
                    let _ = self.over.set(failure.text.clone());
                }
                failure.text
            }
        };
        let ack = Ack { header: Some(record), error };
        // Nobody listens: plakar has gone, and the stream of records ends too.
        let _ = self.acks.send(Ok(ExportResponse { result: Some(ack) })).await;
    }

    /// The end of a restore. plakar exits with 0 for failed files alone.
    fn verdict(&self) -> Result<(), Status> {
        let (total, failed) = (self.total.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        match self.over.get() {
            Some(why) => {
                Err(status::of(format!("the restore ended after {} files and folders: {why}", total - failed)))
            }
            None if failed == 0 => Ok(()),
            None => Err(status::of(format!(
                "{failed} of {total} files and folders failed; each is listed above with its cause"
            ))),
        }
    }
}

/// One restore.
struct Export {
    drive: Drive,
    top: DrivePath,
    tally: Arc<Tally>,
    /// Uploads that may be under way or wait for their turn.
    limit: usize,
    uploads: JoinSet<()>,
    names: Names,
    /// Folders whose time is set when everything is in them.
    times: Vec<(DrivePath, Time)>,
}

/// A file whose content is coming in.
struct Incoming {
    record: Record,
    target: Result<Target, Failure>,
}

/// Where a file goes, and what there is of it.
struct Target {
    path: DrivePath,
    time: Time,
    spool: Spool,
    /// Whether another file of this restore may have this name, to the service.
    has_twin: bool,
}

impl Export {
    async fn run(mut self, mut packets: Streaming<ExportRequest>) -> Result<(), Status> {
        self.drive.make_folder(&self.top).await.map_err(status::of)?;
        let mut incoming: Option<Incoming> = None;
        while self.tally.over.get().is_none()
            && let Some(request) = packets.message().await?
        {
            match (request.packet, incoming.take()) {
                (Some(Packet::Record(record)), None) => incoming = self.begin(record).await,
                (Some(Packet::Chunk(chunk)), Some(file)) if chunk.is_empty() => self.finish(file).await,
                (Some(Packet::Chunk(chunk)), Some(file)) => incoming = Some(add(file, chunk).await),
                (None, file) => incoming = file,
                (Some(Packet::Record(next)), Some(file)) => {
                    return Err(status::of(format!(
                        "{} came before the end of {}",
                        next.pathname, file.record.pathname
                    )));
                }
                (Some(Packet::Chunk(_)), None) => {
                    return Err(status::of("content came without a record"));
                }
            }
        }
        while self.uploads.join_next().await.is_some() {}
        if self.tally.over.get().is_none()
            && let Some(Incoming { record, .. }) = incoming
        {
            // plakar could not read the file and says so itself; nothing of it is stored.
            return Err(status::of(format!("the content of {} ended early, so it was not restored", record.pathname)));
        }
        self.set_times().await;
        self.tally.verdict()
    }

    /// Makes what needs no content; answers the file whose content follows.
    async fn begin(&mut self, record: Record) -> Option<Incoming> {
        let refused = |why: &dyn std::fmt::Display| Failure::from(format!("cannot restore {}: {why}", record.pathname));
        let path = self.top.join(&record.pathname).map_err(|bad| refused(&bad));
        let result = match (record::wanted(&record), path) {
            (Some(Wanted::File(time)), path) if record.has_reader => {
                let target = path.and_then(|path| {
                    let has_twin = self.names.take(&path, false).map_err(|twin| refused(&twin))?;
                    Ok(Target { path, time, spool: self.drive.spool(), has_twin })
                });
                return Some(Incoming { record, target });
            }
            (_, Err(error)) => Err(error),
            (Some(Wanted::Folder(time)), Ok(path)) => match self.names.take(&path, true) {
                Ok(has_twin) => self.make_folder(path, time, has_twin).await.map_err(Failure::from),
                Err(twin) => Err(refused(&twin)),
            },
            (Some(Wanted::File(_)), Ok(_)) => Err(refused(&"its content is missing")),
            (Some(Wanted::Symlink), Ok(_)) => Err(refused(&"a symbolic link cannot be stored there")),
            (Some(Wanted::Special), Ok(_)) => Err(refused(&"a device, pipe or socket cannot be stored there")),
            // plakar sends neither errors nor attributes; there is nothing to make.
            (None, Ok(_)) => Ok(()),
        };
        self.tally.ack(record, result).await;
        None
    }

    async fn make_folder(&mut self, path: DrivePath, time: Time, has_twin: bool) -> Result<(), drive::Error> {
        if path != self.top {
            self.drive.make_folder(&path).await?;
        }
        if has_twin && !self.names_like(&path).await?.iter().any(|name| restore::are_one(name, path.name())) {
            self.names.merge_case();
        }
        if self.drive.sets_folder_times() {
            self.times.push((path, time));
        }
        Ok(())
    }

    /// Uploads a file in the background; its ack comes when it is stored.
    async fn finish(&mut self, file: Incoming) {
        let Incoming { record, target } = file;
        let Target { path, time, spool, has_twin } = match target {
            Ok(target) => target,
            Err(error) => return self.tally.ack(record, Err(error)).await,
        };
        let content = spool.finish();
        if has_twin {
            let result = self.store_beside_twin(&path, time, content).await;
            return self.tally.ack(record, result).await;
        }
        while self.uploads.len() >= self.limit {
            self.uploads.join_next().await;
        }
        let (drive, tally) = (self.drive.clone(), Arc::clone(&self.tally));
        self.uploads.spawn(async move {
            let result = store(&drive, &path, time, content).await;
            tally.ack(record, result).await;
        });
    }

    /// Stores a file whose name differs from another's in case only. Whether the
    /// service has both is not known of any, so it is tried, alone, and looked at.
    async fn store_beside_twin(&mut self, path: &DrivePath, time: Time, content: Spooled) -> Result<(), Failure> {
        while self.uploads.join_next().await.is_some() {}
        let before = self.names_like(path).await?;
        store(&self.drive, path, time, content).await?;
        let after = self.names_like(path).await?;
        match before.iter().find(|name| !after.contains(name) && !restore::are_one(name, path.name())) {
            None => Ok(()),
            Some(replaced) => {
                self.names.merge_case();
                let replaced = replaced.escape_debug();
                Err(Failure::from(format!(
                    "{path} is restored, but \"{replaced}\" had to give way: names that differ in case only are one there; restore \"{replaced}\" again, into another folder"
                )))
            }
        }
    }

    /// The names beside a path that are the same but for case and Unicode form.
    async fn names_like(&self, path: &DrivePath) -> Result<Vec<String>, drive::Error> {
        let entries = self.drive.list_usable(&path.parent()).await?;
        let names = entries.iter().map(|entry| entry.name().to_owned());
        Ok(names.filter(|name| restore::are_alike(name, path.name())).collect())
    }

    /// The deepest first: making an entry changes the time of its folder.
    async fn set_times(&mut self) {
        for (path, time) in self.times.drain(..).rev() {
            if let Err(error) = self.drive.set_folder_time(&path, time).await {
                log::warn!("{error}");
            }
        }
    }
}

async fn store(drive: &Drive, path: &DrivePath, time: Time, content: Spooled) -> Result<(), Failure> {
    drive.upload(path, time, &content, Replacement::Deferred).await?;
    Ok(())
}

/// Keeps a piece of a file. A spool that fails makes the file fail, once, and is
/// given up.
async fn add(mut file: Incoming, chunk: bytes::Bytes) -> Incoming {
    if let Ok(target) = &mut file.target
        && let Err(error) = target.spool.add(chunk).await
    {
        file.target = Err(drive::Error::spool(&target.path, &error).into());
    }
    file
}
