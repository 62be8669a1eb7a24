//! A store: the place of a kloset.

use std::{ops::Range, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use plakar_protocol::store::{
    CloseRequest, CloseResponse, CreateRequest, CreateResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse,
    InitRequest, InitResponse, ListRequest, ListResponse, ModeRequest, ModeResponse, OpenRequest, OpenResponse,
    PingRequest, PingResponse, PutRequest, PutResponse, SizeRequest, SizeResponse, store_server,
};
use tokio::sync::OnceCell;
use tokio_stream::{Stream, StreamExt};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::{kloset::Kloset, layout, session::Session, status};

/// A kloset that can be read and written (K/connectors/storage: write 2, read 4).
const READ_WRITE: i32 = 6;

/// How long Close waits for deletions: plakar waits for it without a limit.
const CLOSING: Duration = Duration::from_secs(5);

/// The store service. Init comes first, then Create or Open.
#[derive(Debug, Default)]
pub struct Storage {
    opened: OnceCell<Opened>,
    /// Deletions under way, which must end before the process does: plakar
    /// leaves without waiting for that of its lock.
    deletions: TaskTracker,
}

#[derive(Debug)]
struct Opened {
    session: Session,
    kloset: OnceCell<Arc<Kloset>>,
}

type GetStream = Pin<Box<dyn Stream<Item = Result<GetResponse, Status>> + Send>>;

#[tonic::async_trait]
impl store_server::Store for Storage {
    type GetStream = GetStream;

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let session = Session::begin(request.into_inner().config).await?;
        let response = InitResponse {
            origin: session.config.origin.clone(),
            r#type: session.config.protocol.name().to_owned(),
            root: session.top().to_string(),
            flags: 0,
        };
        let opened = Opened { session, kloset: OnceCell::new() };
        self.opened.set(opened).map_err(|_| status::of("Init was called twice"))?;
        Ok(Response::new(response))
    }

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let kloset = self.kloset().await?;
        kloset.create(request.into_inner().config).await.map_err(status::of)?;
        Ok(Response::new(CreateResponse {}))
    }

    async fn open(&self, _: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let config = self.kloset().await?.configuration().await.map_err(status::of)?;
        Ok(Response::new(OpenResponse { config }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.opened()?.session.ping(false).await?;
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
        let resource = request.into_inner().r#type();
        let macs = self.kloset().await?.list(resource).await.map_err(status::of)?;
        Ok(Response::new(ListResponse { macs: macs.into_iter().map(Bytes::from).collect() }))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<PutResponse>, Status> {
        let kloset = self.kloset().await?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.ok_or_else(|| status::of("a Put came without a name"))?;
        let (resource, name) = (first.r#type(), name(&first.mac)?);
        let mut spool = kloset.spool();
        let mut chunk = first.chunk;
        // Anything but a clean end is an error here (`Whole`), and then nothing is
        // stored.
        loop {
            if !chunk.is_empty() {
                let added = spool.add(chunk).await;
                added.map_err(|error| status::of(kloset.spool_error(resource, &name, &error)))?;
            }
            match parts.message().await? {
                Some(part) => chunk = part.chunk,
                None => break,
            }
        }
        let content = spool.finish();
        kloset.put(resource, &name, &content).await.map_err(status::of)?;
        Ok(Response::new(PutResponse { bytes_written: i64::try_from(content.size()).unwrap_or(i64::MAX) }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let (resource, name) = (request.r#type(), name(&request.mac)?);
        let part: Option<Range<u64>> = request.range.map(|range| {
            let start = range.offset;
            start..start.saturating_add(range.length.into())
        });
        let content = self.kloset().await?.get(resource, &name, part).await.map_err(status::of)?;
        let chunks = content.map(move |piece| match piece {
            Ok(chunk) => Ok(GetResponse { chunk }),
            Err(error) => Err(status::of(format!("cannot read {name}: {error}"))),
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let request = request.into_inner();
        let (resource, name) = (request.r#type(), name(&request.mac)?);
        let kloset = self.kloset().await?;
        // A task of its own, because plakar may be gone before the service answers.
        let deleting = self.deletions.spawn(async move { kloset.delete(resource, &name).await });
        match deleting.await {
            Ok(result) => result.map_err(status::of)?,
            Err(error) => return Err(status::of(format!("a deletion did not end: {error}"))),
        }
        Ok(Response::new(DeleteResponse {}))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        // What is not done by then goes on, and has the farewell of the process.
        let _ = tokio::time::timeout(CLOSING, self.deletions_done()).await;
        Ok(Response::new(CloseResponse {}))
    }
}

impl Storage {
    /// Ends what plakar has left behind: its deletions, and its lock.
    pub async fn finish(&self) {
        self.deletions_done().await;
        if let Some(kloset) = self.opened.get().and_then(|opened| opened.kloset.get()) {
            kloset.drop_own_locks().await;
        }
    }

    /// Waits for the deletions under way. More may come: plakar sends that of
    /// its lock as often after Close as before.
    async fn deletions_done(&self) {
        self.deletions.close();
        self.deletions.wait().await;
    }

    fn opened(&self) -> Result<&Opened, Status> {
        self.opened.get().ok_or_else(|| status::of("Init was not called"))
    }

    async fn kloset(&self) -> Result<Arc<Kloset>, Status> {
        let opened = self.opened()?;
        let open = || async {
            let drive = opened.session.drive().await?;
            Ok(Arc::new(Kloset::new(drive, opened.session.top())))
        };
        opened.kloset.get_or_try_init(open).await.cloned()
    }
}

fn name(mac: &[u8]) -> Result<String, Status> {
    layout::name(mac).ok_or_else(|| status::of(format!("a MAC of {} bytes came; it must have 32", mac.len())))
}
