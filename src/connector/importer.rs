//! A source of backups.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
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
    account::{RunEvent, StateFolder},
    backup::{Backup, Error, Excludes, Forms, FormsFile, Listed, Packages, Root, VersionsFile},
    config::{Config, OnPartial, SavedPackages},
    report::{self, Kind, Reporter},
};

/// The capacity of the channel of records to plakar, which takes them one at a time.
const RECORDS_AHEAD: usize = 256;

/// The flag of a source that plakar lists only once (K/location/location.go). plakar then starts no
/// second importer, which would download the new packages too, and shows no percentage.
const FLAG_STREAM: u32 = 4;

/// The importer service. plakar calls Init first, then Import once and Open many times.
#[derive(Debug)]
pub struct Importer {
    context: Arc<Context>,
    /// The lines of plakar's `-ignore` options.
    excludes: OnceLock<Vec<String>>,
    run: OnceCell<Arc<Run>>,
}

/// The backup of this process.
#[derive(Debug)]
struct Run {
    backup: Arc<Backup>,
    reporter: Reporter,
    /// Whether plakar only shows what it would save.
    is_dry: bool,
    /// Where the versions of the listed files and the forms of packages are stored.
    files: Option<(VersionsFile, FormsFile)>,
    /// Whether the listing has ended without an error and plakar has opened no file.
    ended_unopened: AtomicBool,
}

type ImportStream = ReceiverStream<Result<ImportResponse, Status>>;
type OpenStream = Pin<Box<dyn Stream<Item = Result<OpenResponse, Status>> + Send>>;

#[tonic::async_trait]
impl importer_server::Importer for Importer {
    type ImportStream = ImportStream;
    type OpenStream = OpenStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let request = request.into_inner();
        let config = self.context.configure(request.config).await?;
        // plakar starts the importer that reads before the one that only counts
        // (P/subcommands/backup/backup.go), so the first of the two reports the backup.
        Reporter::new(Kind::Backup, &config.report).claim();
        let response = InitResponse {
            origin: config.origin.clone(),
            r#type: config.protocol.name().to_owned(),
            root: root(config).path().to_string(),
            flags: if config.saved_packages == SavedPackages::Tree { FLAG_STREAM } else { 0 },
        };
        // The configuration can be set only once, so this succeeds.
        let _ = self.excludes.set(request.options.unwrap_or_default().excludes);
        Ok(Response::new(response))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.context.ping(true).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Self::ImportStream>, Status> {
        let config = self.context.config()?;
        let reporter = || Reporter::new(Kind::Backup, &config.report);
        let run = self.run().await.inspect_err(|refused| reporter().refused(refused.message()))?;
        if !run.is_dry {
            run.reporter.begun();
        }
        let (root, all_or_nothing) = (root(config), config.on_partial == OnPartial::Fail);
        let (records, stream) = mpsc::channel(RECORDS_AHEAD);
        let mut acks = Acks::take(request.into_inner(), Arc::clone(&run.backup));
        tokio::spawn(async move {
            let Run { backup, .. } = &*run;
            let listed_and_acknowledged = async {
                let listed = backup.list(&root, &records, |listed| Ok(response_of(listed))).await?;
                acks.reach(listed).await;
                backup.verdict(all_or_nothing)
            };
            let end = tokio::select! {
                end = listed_and_acknowledged => end,
                error = backup.until_fatal_error() => Err(error.into()),
            };
            let end = run.report(end).map(|()| ImportResponse { record: None, finished: true });
            // Fails if plakar has closed the connection.
            let _ = records.send(end).await;
            acks.end().await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<Self::OpenStream>, Status> {
        let run = self.run().await?;
        let Record { pathname, is_xattr, .. } = request.into_inner().record.unwrap_or_default();
        if let Some(error) = run.backup.fatal_error() {
            return Err(status::of(format!("cannot read {pathname}: the backup ended: {error}")));
        }
        let Some((content, reading)) = run.backup.open(&pathname).filter(|_| !is_xattr) else {
            return Err(status::of(format!("cannot read {pathname}: it is not a file of this backup")));
        };
        let reading = Arc::new(reading);
        let chunks = content.then(move |piece| {
            let reading = Arc::clone(&reading);
            async move { reading.count(piece).await.map(|chunk| OpenResponse { chunk }).map_err(status::of) }
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        // In the importer that only counts, the listing may still be under way. plakar must not
        // wait for it: it ends with the process.
        if let Some(run) = self.run.get()
            && run.ended_unopened.load(Ordering::Relaxed)
            && run.reporter.claim()
        {
            run.done();
        }
        Ok(Response::new(CloseResponse {}))
    }
}

impl Importer {
    /// Returns a service with a shared context.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, excludes: OnceLock::new(), run: OnceCell::new() }
    }

    async fn run(&self) -> Result<Arc<Run>, Status> {
        let begin = || async {
            let config = self.context.config()?;
            let drive = self.context.drive().await?.clone();
            let lines = self.excludes.get().map_or(&[][..], Vec::as_slice);
            let excludes = Excludes::new(lines, &config.excludes).await.map_err(status::of)?;
            let files = config.access.as_ref().map(|access| {
                let folder = access.state.kept_folder();
                let versions = VersionsFile::new(&folder, &config.origin, &config.top);
                (versions, FormsFile::new(&folder, &config.origin, &config.top))
            });
            let is_dry = report::is_dry_run();
            // A dry run must not download what it would only show.
            let packages = (config.saved_packages == SavedPackages::Tree && !is_dry).then(|| {
                let forms = files.as_ref().map_or_else(Forms::default, |(_, forms)| forms.load());
                Packages::new(drive.clone(), forms)
            });
            let last = files.as_ref().and_then(|(versions, _)| versions.load()).unwrap_or_default();
            let backup = Backup::new(drive, &config.top, excludes, packages, config.listings, config.read_ahead, last);
            Ok(Arc::new(Run {
                backup: Arc::new(backup),
                reporter: Reporter::new(Kind::Backup, &config.report),
                is_dry,
                files,
                ended_unopened: AtomicBool::default(),
            }))
        };
        self.run.get_or_try_init(begin).await.cloned()
    }
}

impl Run {
    /// Reports a backup that succeeded.
    fn done(&self) {
        for note in self.backup.take_notes() {
            log::warn!("{note}");
        }
        if self.is_dry {
            return;
        }
        self.reporter.done(&self.backup.summary(), Some(RunEvent::BackupPartial));
        if let Some((versions, forms)) = &self.files
            && let Err(error) = self.backup.store_versions(versions, forms)
        {
            log::debug!("later commands cannot compare with this backup: {error}");
        }
    }

    /// Reports the result of the backup, unless the other importer of the same backup does. An
    /// importer of which plakar has opened a file is never the one that only counts. Any other one
    /// reports a success when plakar closes it, because it is unknown which of several processes in
    /// containers of their own is the first.
    fn report(&self, end: Result<(), Error>) -> Result<(), Status> {
        let was_opened = self.backup.was_opened();
        match end {
            Ok(()) if was_opened => self.done(),
            Ok(()) => self.ended_unopened.store(true, Ordering::Relaxed),
            Err(Error::Disconnected) => return Err(status::of(Error::Disconnected)),
            Err(error) => {
                let reason = status::text(format!("the backup ended, and nothing of it is kept: {error}"));
                if was_opened || self.reporter.claim() {
                    self.reporter.failed(RunEvent::BackupFailed, &reason, Some(&self.backup.summary()));
                }
                return Err(status::of(reason));
            }
        }
        Ok(())
    }
}

fn response_of(listed: Listed<'_>) -> ImportResponse {
    let record = match listed {
        Listed::Ancestor(path, modified) => record::of_folder(path, modified),
        Listed::Entry(path, entry) => record::of_entry(path, entry),
        Listed::Package(package) => record::of_folder(&package.path, package.modified),
        Listed::Member(path, package, member) => record::of_member(path, package, member),
        Listed::Failed(path, error) => record::of_error(path, status::text(error)),
    };
    ImportResponse { record: Some(record), finished: false }
}

/// Returns the root of the source that a configuration names.
fn root(config: &Config) -> Root {
    let state = config.access.as_ref().map(|access| access.state.clone());
    let folder = state.or_else(|| StateFolder::locate(None).ok()).map(|state| state.kept_folder());
    Root::new(folder.as_deref(), &config.origin, &config.top)
}

/// The acknowledgements of plakar, which acknowledges every record once when it no longer needs it
/// (K/snapshot/backup.go `importSource`, P/subcommands/backup/backup.go `ack`).
struct Acks {
    count: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Acks {
    /// Reads acks until plakar closes the stream. Unread acks would block plakar.
    fn take(mut acks: Streaming<ImportRequest>, backup: Arc<Backup>) -> Self {
        let (counted, count) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok(Some(ack)) = acks.message().await {
                // An error record may have the path of a file that is still to be opened, if two
                // items have the same name.
                let record = ack.result.and_then(|result| result.header).filter(|record| record.error.is_empty());
                if let Some(record) = record {
                    backup.release(&record.pathname);
                }
                counted.send_modify(|count| *count += 1);
            }
            backup.release_all();
        });
        Self { count, task }
    }

    /// Waits until this many records are acknowledged: before, reading a file may still fail. Also
    /// returns when no more acks can arrive.
    async fn reach(&mut self, records: u64) {
        let _ = self.count.wait_for(|count| *count >= records).await;
    }

    /// Waits for the last ack. The stream must stay open until then, because plakar treats an
    /// earlier end as a failure.
    async fn end(self) {
        let _ = self.task.await; // it has no result
    }
}
