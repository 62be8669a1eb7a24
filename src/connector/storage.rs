//! A store, which holds a kloset.

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use plakar_protocol::store::{
    CloseRequest, CloseResponse, CreateRequest, CreateResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse,
    InitRequest, InitResponse, ListRequest, ListResponse, ModeRequest, ModeResponse, OpenRequest, OpenResponse,
    PingRequest, PingResponse, PutRequest, PutResponse, SizeRequest, SizeResponse, StorageResource, store_server,
};
use tokio::sync::OnceCell;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{context::Context, status};
use crate::{
    account::RunEvent,
    kloset::{Error, Kloset, Mac, Resource},
    report::{Kind, Reporter, Summary},
};

/// The mode of a kloset that can be read and written (K/connectors/storage: write 2, read 4).
const READ_WRITE: i32 = 6;

/// The store service. plakar calls Init first, then Create or Open.
#[derive(Debug)]
pub struct Storage {
    context: Arc<Context>,
    kloset: OnceCell<Arc<Kloset>>,
    reporter: OnceLock<Arc<Reporter>>,
    /// The packfiles and states that were stored.
    stored: Mutex<Summary>,
}

type GetStream = Pin<Box<dyn Stream<Item = Result<GetResponse, Status>> + Send>>;

#[tonic::async_trait]
impl store_server::Store for Storage {
    type GetStream = GetStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let config = self.context.configure(request.into_inner().config).await?;
        Ok(Response::new(InitResponse {
            origin: config.origin.clone(),
            r#type: config.protocol.name().to_owned(),
            root: config.top.to_string(),
            flags: 0,
        }))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let kloset = self.kloset().await?;
        kloset.create(request.into_inner().config).await.map_err(status::of)?;
        Ok(Response::new(CreateResponse {}))
    }

    async fn open(&self, _: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let config = self.kloset().await?.configuration().await.map_err(|error| match error {
            Error::Drive(error) => self.failed(error),
            error => status::of(error),
        })?;
        Ok(Response::new(OpenResponse { config }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.context.ping(false).await?;
        Ok(Response::new(PingResponse {}))
    }

    async fn mode(&self, _: Request<ModeRequest>) -> Result<Response<ModeResponse>, Status> {
        Ok(Response::new(ModeResponse { mode: READ_WRITE }))
    }

    async fn size(&self, _: Request<SizeRequest>) -> Result<Response<SizeResponse>, Status> {
        let size = self.kloset().await?.size().await.map_err(status::of)?;
        Ok(Response::new(SizeResponse { size: i64::try_from(size).unwrap_or(i64::MAX) }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let resource = resource(request.into_inner().r#type())?;
        let macs = self.kloset().await?.list(resource).await.map_err(status::of)?;
        Ok(Response::new(ListResponse { macs: macs.iter().map(|mac| Bytes::copy_from_slice(mac.bytes())).collect() }))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<PutResponse>, Status> {
        let kloset = self.kloset().await?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.ok_or_else(|| status::of("received a Put without a name"))?;
        let (resource, mac) = (resource(first.r#type())?, mac(&first.mac)?);
        let mut spool = kloset.spool();
        let mut chunk = first.chunk;
        let mut failure = None;
        // Unless the stream ends cleanly, `message` fails (see `CompleteRequest`), and nothing is
        // stored. After a failure, the rest of the stream is still read: plakar reports the end of
        // a stream that it is sending as "EOF", without the cause.
        loop {
            if !chunk.is_empty() && failure.is_none() {
                failure = spool.add(chunk).await.err();
            }
            match parts.message().await? {
                Some(part) => chunk = part.chunk,
                None => break,
            }
        }
        if let Some(error) = failure {
            return Err(self.failed(kloset.spool_error(resource, mac, &error)));
        }
        let content = spool.finish();
        kloset.put(resource, mac, &content).await.map_err(|error| self.failed(error))?;
        if resource != Resource::Lock {
            let mut stored = self.stored();
            stored.files += 1;
            stored.bytes += content.size();
        }
        Ok(Response::new(PutResponse { bytes_written: i64::try_from(content.size()).unwrap_or(i64::MAX) }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let (resource, mac) = (resource(request.r#type())?, mac(&request.mac)?);
        let part: Option<Range<u64>> = request.range.map(|range| {
            let start = range.offset;
            start..start.saturating_add(range.length.into())
        });
        let kloset = self.kloset().await?;
        let content = kloset.get(resource, mac, part).await.map_err(status::of)?;
        let chunks = content.then(move |piece| {
            let kloset = Arc::clone(&kloset);
            async move {
                match piece {
                    Ok(chunk) => Ok(GetResponse { chunk }),
                    Err(error) => Err(status::of(kloset.unreadable(resource, mac, error).await)),
                }
            }
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let request = request.into_inner();
        let (resource, mac) = (resource(request.r#type())?, mac(&request.mac)?);
        self.kloset().await?.delete(resource, mac).await.map_err(status::of)?;
        Ok(Response::new(DeleteResponse {}))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        // Maintenance has reported its deletions to the user, so they are completed here.
        // plakar waits for this response without a limit. Locks are deleted after plakar has closed
        // the connection.
        if let Some(kloset) = self.kloset.get() {
            kloset.deletions_done().await;
        }
        Ok(Response::new(CloseResponse {}))
    }
}

impl Storage {
    /// Returns a service with a shared context.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, kloset: OnceCell::new(), reporter: OnceLock::new(), stored: Mutex::default() }
    }

    /// Waits for the deletions under way, and deletes the locks that plakar left.
    pub async fn shut_down(&self) {
        // Commands that only read are not reported.
        let stored = self.stored().clone();
        if let Some(reporter) = self.reporter.get().filter(|_| stored.files > 0) {
            reporter.done_silently(&stored);
        }
        if let Some(kloset) = self.kloset.get() {
            kloset.shut_down().await;
        }
    }

    /// Returns the status of an operation whose failure ends plakar, and reports the error on
    /// stderr: plakar often shows only "EOF" or "context canceled".
    fn failed(&self, error: impl fmt::Display) -> Status {
        if let Some(reporter) = self.reporter.get() {
            report(reporter, &error);
        }
        status::of(error)
    }

    fn stored(&self) -> MutexGuard<'_, Summary> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn kloset(&self) -> Result<Arc<Kloset>, Status> {
        let open = || async {
            let config = self.context.config()?;
            let new_reporter = || Arc::new(Reporter::new(Kind::Store, &config.report));
            let reporter = Arc::clone(self.reporter.get_or_init(new_reporter));
            let drive = match self.context.drive().await {
                Ok(drive) => drive,
                Err(error) => {
                    report(&reporter, error.message());
                    return Err(error);
                }
            };
            let watched = drive.clone();
            tokio::spawn(async move {
                report(&reporter, watched.until_fatal_error().await);
            });
            Ok(Arc::new(Kloset::new(drive, &config.top, &config.origin, &config.cache)))
        };
        self.kloset.get_or_try_init(open).await.cloned()
    }
}

/// Reports the failure of the store.
fn report(reporter: &Reporter, error: impl fmt::Display) {
    reporter.failed(RunEvent::StoreFailed, &status::text(format!("the store failed: {error}")), None);
}

fn mac(bytes: &[u8]) -> Result<Mac, Status> {
    Mac::from_bytes(bytes).ok_or_else(|| status::of(format!("received a MAC of {} bytes instead of 32", bytes.len())))
}

/// Converts the kind of an object in the protocol. plakar v1.1 stores no ECC objects.
fn resource(kind: StorageResource) -> Result<Resource, Status> {
    match kind {
        StorageResource::Packfile => Ok(Resource::Packfile),
        StorageResource::State => Ok(Resource::State),
        StorageResource::Lock => Ok(Resource::Lock),
        StorageResource::Undefined | StorageResource::EccPackfile | StorageResource::EccState => {
            Err(status::of(format!("this store holds packfiles, states and locks, not {}", kind.as_str_name())))
        }
    }
}
