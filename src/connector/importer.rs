//! A source of backups.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use plakar_protocol::{
    connectors::Record,
    importer::{
        CloseRequest, CloseResponse, ImportRequest, ImportResponse, InitRequest, InitResponse, OpenRequest,
        OpenResponse, PingRequest, PingResponse, importer_server,
    },
};
use tokio::{
    sync::{OnceCell, mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{context::Context, record, status};
use crate::{
    backup::{Excludes, Found, ReadAhead, walk},
    drive::{Drive, DrivePath},
    rclone::{self, Entry, Item, Kind, Time},
};

/// Records on their way to plakar, which takes them one by one.
const RECORDS_AHEAD: usize = 256;
/// Listed folders on their way to becoming records.
const FOLDERS_AHEAD: usize = 4;
/// How long Init may ask the service whether the location names a file.
const LOOK_AT_FILE: Duration = Duration::from_secs(5);

/// The importer service. Init comes first, then Import once and Open many times.
#[derive(Debug)]
pub struct Importer(Arc<Source>);

#[derive(Debug)]
struct Source {
    context: Arc<Context>,
    /// plakar's `-ignore` lines.
    excludes: OnceCell<Vec<String>>,
    /// Files that plakar was told of and has not acknowledged: it may open them.
    files: OnceCell<Arc<ReadAhead>>,
    /// Why no file can be read any more.
    over: watch::Sender<Option<String>>,
}

impl Source {
    async fn files(&self) -> Result<Arc<ReadAhead>, Status> {
        let limit = self.context.config()?.read_ahead;
        let drive = self.context.drive().await?.clone();
        Ok(Arc::clone(self.files.get_or_init(|| async { Arc::new(ReadAhead::new(drive, limit)) }).await))
    }

    /// The status for a file that cannot be read. A session that has ended ends
    /// the backup: plakar would take each file's error for one of that file, and
    /// keep a snapshot without them. But a service may also turn down the one file
    /// with every session, so it is asked for something else first. (No room is no
    /// trouble of who reads: services say so of a single file, too.)
    async fn unreadable(&self, pathname: &str, error: rclone::Error) -> Status {
        let text = format!("cannot read {pathname}: {error}");
        if error.kind == Kind::NeedsLogin && self.needs_login().await {
            // The first cause is the one to tell.
            self.over.send_if_modified(|over| over.is_none() && over.replace(text.clone()).is_none());
        }
        status::of(text)
    }

    async fn needs_login(&self) -> bool {
        let (Ok(drive), Ok(top)) = (self.context.drive().await, self.context.top()) else {
            return true;
        };
        drive.list_usable(top).await.is_err_and(|error| error.kind() == Kind::NeedsLogin)
    }
}

type ImportStream = ReceiverStream<Result<ImportResponse, Status>>;
type OpenStream = Pin<Box<dyn Stream<Item = Result<OpenResponse, Status>> + Send>>;

#[tonic::async_trait]
impl importer_server::Importer for Importer {
    type ImportStream = ImportStream;
    type OpenStream = OpenStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let request = request.into_inner();
        let Source { context, excludes, .. } = &*self.0;
        let config = context.configure(request.config).await?;
        let response = InitResponse {
            origin: config.origin.clone(),
            r#type: config.protocol.name().to_owned(),
            root: root(context, &config.top).await.to_string(),
            flags: 0,
        };
        // The configuration is set once, so this is too.
        let _ = excludes.set(request.options.unwrap_or_default().excludes);
        Ok(Response::new(response))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.0.context.ping(true).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Self::ImportStream>, Status> {
        let source = &self.0;
        let files = source.files().await?;
        let config = source.context.config()?;
        let (records, stream) = mpsc::channel(RECORDS_AHEAD);
        let import = Import {
            drive: source.context.drive().await?.clone(),
            top: config.top.clone(),
            excludes: Excludes::new(source.excludes.get().map_or(&[], Vec::as_slice), config.include_klosets),
            listings: config.listings,
            files: Arc::clone(&files),
            records: records.clone(),
            sent: AtomicU64::new(0),
        };
        let mut acks = Acks::take(request.into_inner(), files);
        let mut over = source.over.subscribe();
        tokio::spawn(async move {
            let listed_and_acknowledged = async {
                acks.reach(import.run().await?).await;
                Ok(ImportResponse { record: None, finished: true })
            };
            let end = tokio::select! {
                end = listed_and_acknowledged => end,
                // The source lives as long as the service.
                Ok(why) = over.wait_for(Option::is_some) => {
                    let why = why.as_deref().unwrap_or_default();
                    Err(status::of(format!("the backup ended, and nothing of it is kept: {why}")))
                }
            };
            // Nobody listens: plakar has gone.
            let _ = records.send(end).await;
            acks.end().await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<Self::OpenStream>, Status> {
        let source = Arc::clone(&self.0);
        let Record { pathname, is_xattr, .. } = request.into_inner().record.unwrap_or_default();
        if let Some(why) = source.over.borrow().as_deref() {
            return Err(status::of(format!("cannot read {pathname}: the backup ended: {why}")));
        }
        let files = source.files().await?;
        let Some(content) = files.open(&pathname).filter(|_| !is_xattr) else {
            return Err(status::of(format!("cannot read {pathname}: it is not a file of this backup")));
        };
        let pathname: Arc<str> = pathname.into();
        let chunks = content.then(move |piece| {
            let (source, pathname) = (Arc::clone(&source), Arc::clone(&pathname));
            async move {
                match piece {
                    Ok(chunk) => Ok(OpenResponse { chunk }),
                    Err(error) => Err(source.unreadable(&pathname, error).await),
                }
            }
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        // A listing may be under way in the importer that only counts; it ends
        // with the process, and plakar must not wait for it.
        Ok(Response::new(CloseResponse {}))
    }
}

impl Importer {
    /// Returns a service that works in a context.
    pub fn new(context: Arc<Context>) -> Self {
        let source =
            Source { context, excludes: OnceCell::new(), files: OnceCell::new(), over: watch::Sender::default() };
        Self(Arc::new(source))
    }
}

/// The root to report: the folder that the location names, or the folder of the
/// file, for plakar finds no parent snapshot by a root that is a file. Only a
/// name with a dot is looked at: Init must work without the network, and a file
/// without one is merely read again at each backup.
async fn root(context: &Context, top: &DrivePath) -> DrivePath {
    if !top.name().trim_start_matches('.').contains('.') {
        return top.clone();
    }
    let look = async { context.drive().await.ok()?.stat(top).await.ok()? };
    match tokio::time::timeout(LOOK_AT_FILE, look).await {
        Ok(Some(Entry { item: Item::File(_), .. })) => top.parent(),
        _ => top.clone(),
    }
}

/// What plakar acknowledges: every record once, when it is done with it
/// (K/snapshot/backup.go `importSource`, P/subcommands/backup/backup.go `ack`).
struct Acks {
    count: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Acks {
    /// Reads acks until plakar sends no more. Unread ones would stop plakar.
    fn take(mut acks: Streaming<ImportRequest>, files: Arc<ReadAhead>) -> Self {
        let (counted, count) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok(Some(ack)) = acks.message().await {
                // The record of an error may have the path of a file that is yet
                // to be opened: of two items with one name.
                let record = ack.result.and_then(|result| result.header).filter(|record| record.error.is_empty());
                if let Some(record) = record {
                    files.release(&record.pathname);
                }
                counted.send_modify(|count| *count += 1);
            }
            files.release_all();
        });
        Self { count, task }
    }

    /// Waits until so many records are acknowledged: only then is it known how
    /// reading them went. Ends as well when no more acks can come.
    async fn reach(&mut self, records: u64) {
        let _ = self.count.wait_for(|count| *count >= records).await;
    }

    /// Waits for the last ack. The stream stays open until then: plakar takes an
    /// earlier end for a failure.
    async fn end(self) {
        let _ = self.task.await; // it has no result
    }
}

/// One listing of the source.
struct Import {
    drive: Drive,
    top: DrivePath,
    excludes: Excludes,
    listings: usize,
    files: Arc<ReadAhead>,
    records: mpsc::Sender<Result<ImportResponse, Status>>,
    sent: AtomicU64,
}

impl Import {
    /// Sends the records, and answers how many they are.
    async fn run(self) -> Result<u64, Status> {
        let Some(top) = self.drive.stat(&self.top).await.map_err(status::of)? else {
            return Err(status::of(format!("cannot back up {}: there is no such file or folder", self.top)));
        };
        for folder in self.top.ancestors() {
            // What is above the location is only the way to it.
            let modified = match self.drive.stat(&folder).await {
                Ok(Some(entry)) => entry.modified,
                _ => Time::UNKNOWN,
            };
            self.send(record::of_folder(&folder, modified)).await?;
        }
        let is_file = matches!(top.item, Item::File(_));
        self.send_entry(&self.top, top).await?;
        if !is_file {
            self.send_tree().await?;
        }
        Ok(self.sent.into_inner())
    }

    async fn send_tree(&self) -> Result<(), Status> {
        let (sender, mut found) = mpsc::channel(FOLDERS_AHEAD);
        let walking = walk(&self.drive, &self.top, &self.excludes, self.listings, sender);
        let sending = async move {
            while let Some(found) = found.recv().await {
                self.send_found(found).await?;
            }
            Ok(())
        };
        let (walked, sent) = tokio::join!(walking, sending);
        walked.map_err(status::of).and(sent)
    }

    async fn send_found(&self, found: Found) -> Result<(), Status> {
        match found {
            Found::Folder(items) => {
                for (path, entry) in items {
                    self.send_entry(&path, entry).await?;
                }
                Ok(())
            }
            Found::Failed(path, error) => self.send(record::of_error(&path, status::text(error))).await,
        }
    }

    async fn send_entry(&self, path: &DrivePath, entry: Entry) -> Result<(), Status> {
        let record = record::of_entry(path, &entry);
        if let Item::File(file) = entry.item {
            self.files.add(record.pathname.clone(), file);
        }
        self.send(record).await
    }

    async fn send(&self, record: Record) -> Result<(), Status> {
        let response = ImportResponse { record: Some(record), finished: false };
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.records.send(Ok(response)).await.map_err(|_| status::of("plakar stopped listening"))
    }
}
