//! A store, which holds a kloset.

use bytes::{Bytes, BytesMut};
use plakar_protocol::store as wire;
use plakar_protocol::store::store_client::StoreClient;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::error::{Error, Result};
use crate::handshake::{Identity, Settings};
use crate::process::{Connector, within};

/// The name of an object.
pub type Mac = [u8; 32];

/// Returns the SHA-256 of some bytes.
pub fn digest(content: &[u8]) -> Mac {
    Sha256::digest(content).into()
}

/// The kind of an object, which determines its folder in a kloset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Content and metadata.
    Packfile,
    /// The index of the packfiles.
    State,
    /// The lock of a running backup or maintenance.
    Lock,
}

impl Resource {
    fn number(self) -> i32 {
        let resource = match self {
            Self::Packfile => wire::StorageResource::Packfile,
            Self::State => wire::StorageResource::State,
            Self::Lock => wire::StorageResource::Lock,
        };
        resource.into()
    }
}

/// A part of an object.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The offset in bytes.
    pub offset: u64,
    /// The length in bytes.
    pub length: u32,
}

/// A connector in its role as store, after Init.
#[derive(Debug)]
pub struct Store {
    connector: Connector,
    client: StoreClient<Channel>,
    identity: Identity,
    /// The flags of every request about objects.
    flags: i32,
}

/// The sizes of the first chunks of a packfile. All further chunks have 1 MiB.
const FIRST_CHUNKS: [usize; 5] = [16, 1, 4093, 70_001, 524_287];
const CHUNK: usize = 1024 * 1024;

/// Waits for a unary response.
macro_rules! call {
    ($store:expr, $name:literal, $method:ident($request:expr)) => {{
        let mut client = $store.client.clone();
        let response = async { client.$method($request).await.map_err(Error::refused($name)) };
        within($name, response).await.map(Response::into_inner)
    }};
}

impl Store {
    /// Calls Init.
    ///
    /// # Errors
    /// Fails if the connector refuses the settings.
    pub async fn init(connector: Connector, settings: &Settings) -> Result<Self> {
        let mut store = Self {
            client: StoreClient::new(connector.channel()),
            connector,
            identity: Identity::default(),
            flags: wire::StorageFlags::Undefined.into(),
        };
        let request = wire::InitRequest { proto: settings.protocol(), config: settings.config() };
        let response = call!(store, "Init", init(request))?;
        store.identity =
            Identity { origin: response.origin, kind: response.r#type, root: response.root, flags: response.flags };
        Ok(store)
    }

    /// Returns the store with the flag of plakar 1.2 in its requests, which selects the tier of the
    /// storage with the fastest access.
    #[must_use]
    pub fn hot(self) -> Self {
        Self { flags: wire::StorageFlags::Hot.into(), ..self }
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

    /// Creates a kloset.
    ///
    /// # Errors
    /// Fails if there is one, or the remote cannot be written.
    pub async fn create(&self, config: impl Into<Bytes>) -> Result<()> {
        let config = config.into();
        call!(self, "Create", create(wire::CreateRequest { config })).map(drop)
    }

    /// Returns the configuration that the kloset was created with.
    ///
    /// # Errors
    /// Fails if there is no kloset, or it cannot be read.
    pub async fn open(&self) -> Result<Bytes> {
        Ok(call!(self, "Open", open(wire::OpenRequest {}))?.config)
    }

    /// Calls Ping.
    ///
    /// # Errors
    /// Fails if the remote cannot be reached.
    pub async fn ping(&self) -> Result<()> {
        call!(self, "Ping", ping(wire::PingRequest {})).map(drop)
    }

    /// Returns a bit mask: 4 readable, 2 writable.
    ///
    /// # Errors
    /// Fails if the connector fails.
    pub async fn mode(&self) -> Result<i32> {
        Ok(call!(self, "Mode", mode(wire::ModeRequest {}))?.mode)
    }

    /// Returns the total size of the kloset in bytes.
    ///
    /// # Errors
    /// Fails if the remote cannot be read.
    pub async fn size(&self) -> Result<i64> {
        Ok(call!(self, "Size", size(wire::SizeRequest {}))?.size)
    }

    /// Returns the names of all objects of a kind.
    ///
    /// # Errors
    /// Fails if the remote cannot be read, or there is a name that plakar cannot handle.
    pub async fn list(&self, resource: Resource) -> Result<Vec<Mac>> {
        let r#type = resource.number();
        let response = call!(self, "List", list(wire::ListRequest { r#type, flags: self.flags }))?;
        let mac = |name: Bytes| {
            let length = format!("invalid MAC length: {}", name.len());
            Mac::try_from(&*name).map_err(|_| Error::protocol("List", length))
        };
        response.macs.into_iter().map(mac).collect()
    }

    /// Stores an object, at first in chunks of odd sizes. Returns the number of written bytes that
    /// the connector reports.
    ///
    /// # Errors
    /// Fails if the object is not stored.
    pub async fn put(&self, resource: Resource, mac: Mac, content: Bytes) -> Result<i64> {
        let mut put = self.start_put(resource, mac).await?;
        let mut rest = content;
        let mut sizes = FIRST_CHUNKS.into_iter();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(CHUNK).min(rest.len());
            if put.send(rest.split_to(size)).await.is_err() {
                break;
            }
        }
        put.finish().await
    }

    /// Starts to store an object and sends only its name.
    ///
    /// # Errors
    /// Fails if the connector does not accept the call.
    pub async fn start_put(&self, resource: Resource, mac: Mac) -> Result<Put> {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.client.clone();
        let call = async move { client.put(ReceiverStream::new(receiver)).await };
        let mut put = Put { sender, call: tokio::spawn(call) };
        let name = wire::PutRequest {
            mac: Bytes::copy_from_slice(&mac),
            r#type: resource.number(),
            chunk: Bytes::new(),
            flags: self.flags,
        };
        put.message(name).await?;
        Ok(put)
    }

    /// Reads an object or a part of it, to the end of the response.
    ///
    /// # Errors
    /// Fails if it cannot be read, or the response is longer than requested.
    pub async fn get(&self, resource: Resource, mac: Mac, range: Option<Range>) -> Result<Bytes> {
        let operation = "Get";
        let request = wire::GetRequest {
            mac: Bytes::copy_from_slice(&mac),
            r#type: resource.number(),
            range: range.map(|range| wire::get_request::Range { offset: range.offset, length: range.length }),
            flags: self.flags,
        };
        let mut stream = call!(self, "Get", get(request))?;
        let mut content = BytesMut::new();
        loop {
            let next = async { stream.message().await.map_err(Error::refused(operation)) };
            let Some(response) = within(operation, next).await? else { break };
            content.extend_from_slice(&response.chunk);
        }
        if range.is_some_and(|range| content.len() > range.length as usize) {
            return Err(Error::protocol(operation, "more bytes than requested"));
        }
        Ok(content.freeze())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Fails if it is still there.
    pub async fn delete(&self, resource: Resource, mac: Mac) -> Result<()> {
        let (mac, r#type) = (Bytes::copy_from_slice(&mac), resource.number());
        let request = wire::DeleteRequest { mac, r#type, flags: self.flags };
        call!(self, "Delete", delete(request)).map(drop)
    }

    /// Calls Close.
    ///
    /// # Errors
    /// Fails if the connector failed or does not respond.
    pub async fn close(&self) -> Result<()> {
        call!(self, "Close", close(wire::CloseRequest {})).map(drop)
    }
}

/// An object that is being stored.
#[derive(Debug)]
pub struct Put {
    sender: mpsc::Sender<wire::PutRequest>,
    call: JoinHandle<std::result::Result<Response<wire::PutResponse>, Status>>,
}

impl Put {
    /// Sends a chunk.
    ///
    /// # Errors
    /// Fails if the call has ended; [`Put::finish`] returns the reason.
    pub async fn send(&mut self, chunk: Bytes) -> Result<()> {
        let chunk = wire::PutRequest { chunk, ..wire::PutRequest::default() };
        self.message(chunk).await
    }

    async fn message(&mut self, message: wire::PutRequest) -> Result<()> {
        let operation = "Put";
        let sent = async {
            let ended = |_| Error::protocol(operation, "the call has ended");
            self.sender.send(message).await.map_err(ended)
        };
        within(operation, sent).await
    }

    /// Half-closes and waits for the number of bytes written.
    ///
    /// # Errors
    /// Fails if the object is not stored.
    pub async fn finish(self) -> Result<i64> {
        drop(self.sender);
        let response = async {
            let response = self.call.await.map_err(std::io::Error::other)?;
            response.map_err(Error::refused("Put"))
        };
        Ok(within("Put", response).await?.into_inner().bytes_written)
    }

    /// Resets the call in the middle.
    pub async fn cancel(self) {
        self.call.abort();
        let _ = self.call.await;
        // If the sender were dropped before the reset is sent, the call would be half-closed.
        self.sender.closed().await;
    }
}
