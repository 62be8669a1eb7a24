//! A source of backups.

use std::{pin::Pin, sync::Arc, time::Duration};

use plakar_protocol::{
    connectors::Record,
    importer::{
        CloseRequest, CloseResponse, ImportRequest, ImportResponse, InitRequest, InitResponse, OpenRequest,
        OpenResponse, PingRequest, PingResponse, importer_server,
    },
};
use tokio::sync::{OnceCell, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{record, session::Session, status};
use crate::{
    drive::{Drive, DrivePath, Excludes, Found, ReadAhead, walk},
    rclone::{Entry, Item, Time},
};

/// Records on their way to plakar, which takes them one by one.
const RECORDS_AHEAD: usize = 256;
/// Listed folders on their way to becoming records.
const FOLDERS_AHEAD: usize = 4;
/// How long Init may ask the service whether the location names a file.
const LOOK_AT_FILE: Duration = Duration::from_secs(5);

/// The importer service. Init comes first, then Import once and Open many times.
#[derive(Debug, Default)]
pub struct Importer {
    source: OnceCell<Source>,
}

#[derive(Debug)]
struct Source {
    session: Session,
    excludes: Vec<String>,
    /// Files that plakar was told of and has not acknowledged: it may open them.
    files: OnceCell<Arc<ReadAhead>>,
}

impl Source {
    async fn files(&self) -> Result<Arc<ReadAhead>, Status> {
        let drive = self.session.drive().await?;
        let files = || async { Arc::new(ReadAhead::new(drive.clone(), self.session.config.read_ahead)) };
        Ok(Arc::clone(self.files.get_or_init(files).await))
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
        let session = Session::begin(request.config).await?;
        let response = InitResponse {
            origin: session.config.origin.clone(),
            r#type: session.config.protocol.name().to_owned(),
            root: root(&session).await.to_string(),
            flags: 0,
        };
        let excludes = request.options.unwrap_or_default().excludes;
        let source = Source { session, excludes, files: OnceCell::new() };
        self.source.set(source).map_err(|_| status::of("Init was called twice"))?;
        Ok(Response::new(response))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.source()?.session.ping(true).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Self::ImportStream>, Status> {
        let source = self.source()?;
        let files = source.files().await?;
        let (records, stream) = mpsc::channel(RECORDS_AHEAD);
        let import = Import {
            drive: source.session.drive().await?.clone(),
            top: source.session.top().clone(),
            excludes: Excludes::new(&source.excludes),
            listings: source.session.config.listings,
            files: Arc::clone(&files),
            records: records.clone(),
        };
        let acks = tokio::spawn(take_acks(request.into_inner(), files));
        tokio::spawn(async move {
            let end = match import.run().await {
                Ok(()) => Ok(ImportResponse { record: None, finished: true }),
                Err(error) => Err(error),
            };
            // Nobody listens: plakar has gone.
            let _ = records.send(end).await;
            // The stream stays open until plakar has sent its last ack: it takes
            // an earlier end for a failure.
            let _ = acks.await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<Self::OpenStream>, Status> {
        let source = self.source()?;
        let Record { pathname, is_xattr, .. } = request.into_inner().record.unwrap_or_default();
        let files = source.files().await?;
        let Some(content) = files.open(&pathname).filter(|_| !is_xattr) else {
            return Err(status::of(format!("cannot read {pathname}: it is not a file of this backup")));
        };
        let chunks = content.map(move |piece| match piece {
            Ok(chunk) => Ok(OpenResponse { chunk }),
            Err(error) => Err(status::of(format!("cannot read {pathname}: {error}"))),
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
    fn source(&self) -> Result<&Source, Status> {
        self.source.get().ok_or_else(|| status::of("Init was not called"))
    }
}

/// The root to report: the folder that the location names, or the folder of the
/// file, for plakar finds no parent snapshot by a root that is a file. Only a
/// name with a dot is looked at: Init must work without the network, and a file
/// without one is merely read again at each backup.
async fn root(session: &Session) -> DrivePath {
    let top = session.top();
    if !top.name().trim_start_matches('.').contains('.') {
        return top.clone();
    }
    let look = async { session.drive().await.ok()?.stat(top).await.ok()? };
    match tokio::time::timeout(LOOK_AT_FILE, look).await {
        Ok(Some(Entry { item: Item::File(_), .. })) => top.parent(),
        _ => top.clone(),
    }
}

/// Reads acks until plakar sends no more. Unread ones would stop plakar.
async fn take_acks(mut acks: Streaming<ImportRequest>, files: Arc<ReadAhead>) {
    while let Ok(Some(ack)) = acks.message().await {
        if let Some(record) = ack.result.and_then(|result| result.header) {
            files.release(&record.pathname);
        }
    }
    files.release_all();
}

/// One listing of the source.
struct Import {
    drive: Drive,
    top: DrivePath,
    excludes: Excludes,
    listings: usize,
    files: Arc<ReadAhead>,
    records: mpsc::Sender<Result<ImportResponse, Status>>,
}

impl Import {
    async fn run(self) -> Result<(), Status> {
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
        if is_file { Ok(()) } else { self.send_tree().await }
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
        self.records.send(Ok(response)).await.map_err(|_| status::of("plakar stopped listening"))
    }
}
