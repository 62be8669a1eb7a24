//! The exchange of an import: records in one direction, acks in the other, and contents in separate
//! calls.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream, TryStreamExt, stream};
use ignore::gitignore::Gitignore;
use plakar_protocol::connectors::{self, FileInfo, Record};
use plakar_protocol::importer::{ImportRequest, ImportResponse, OpenRequest};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Importer, Keep};
use crate::error::{Error, Result};
use crate::process::within;
use crate::snapshot::{Content, MODE_DIR, Snapshot, is_regular};

/// The state that kloset's workers share.
pub(super) struct Work<'a> {
    parent: Option<&'a Snapshot>,
    keep: Keep,
    excludes: Gitignore,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    now: usize,
    most: usize,
    paths: BTreeSet<String>,
}

/// A record that a worker no longer needs, in the form of its ack.
pub(super) struct Done {
    pub record: Record,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    Kept(Option<Content>),
    Failed(String),
    Left,
}

impl<'a> Work<'a> {
    pub(super) fn new(parent: Option<&'a Snapshot>, keep: Keep, excludes: Gitignore) -> Self {
        Self { parent, keep, excludes, open: Mutex::default() }
    }

    /// Returns the paths that were opened, and the maximum number that were open concurrently.
    pub(super) fn opened(self) -> (BTreeSet<String>, usize) {
        let open = self.open.into_inner().unwrap_or_else(PoisonError::into_inner);
        (open.paths, open.most)
    }

    fn excluded(&self, path: &str, info: &FileInfo) -> bool {
        let folder = info.mode & MODE_DIR != 0;
        path != "/" && self.excludes.matched_path_or_any_parents(path, folder).is_ignore()
    }

    fn count_open(&self, path: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.paths.insert(path.to_owned());
        open.now += 1;
        open.most = open.most.max(open.now);
    }

    fn count_closed(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).now -= 1;
    }
}

impl Importer {
    /// Runs an import. Without work, the records are acknowledged as they arrive.
    pub(super) async fn exchange(&self, work: Option<&Work<'_>>, mut each: impl FnMut(Done)) -> Result<()> {
        let operation = "Import";
        let (acknowledgements, receiver) = mpsc::channel(self.concurrency);
        let mut client = self.client();
        let import = client.import(ReceiverStream::new(receiver));
        let import = async { import.await.map_err(Error::refused(operation)) };
        let mut stream = within(operation, import).await?.into_inner();
        let workers = records(&mut stream)
            .map_ok(|record| async { Ok(self.process(record, work).await) })
            .try_buffer_unordered(self.concurrency);
        let mut workers = Box::pin(workers);
        while let Some(done) = within(operation, workers.try_next()).await? {
            let result = connectors::Result { header: Some(echo(&done.record)), error: String::new() };
            let request = ImportRequest { result: Some(result) };
            if acknowledgements.send(request).await.is_err() {
                drop(workers);
                return Err(ended(&mut stream).await);
            }
            each(done);
        }
        drop(workers);
        if let Some(end) = stream.message().now_or_never() {
            return Err(Error::protocol(operation, format!("received {end:?} after `finished`")));
        }
        drop(acknowledgements);
        let end = async { stream.message().await.map_err(Error::refused(operation)) };
        match within(operation, end).await? {
            None => Ok(()),
            Some(more) => Err(Error::protocol(operation, format!("received {more:?} after `finished`"))),
        }
    }

    async fn process(&self, record: Record, work: Option<&Work<'_>>) -> Done {
        let Some(work) = work else {
            return Done { record, outcome: Outcome::Left };
        };
        if !record.error.is_empty() {
            let outcome = Outcome::Failed(record.error.clone());
            return Done { record, outcome };
        }
        let mut record = record;
        let info = record.file_info.get_or_insert_default();
        if work.excluded(&record.pathname, info) {
            return Done { record, outcome: Outcome::Left };
        }
        let content =
            if record.is_xattr || is_regular(info) { self.content(&record, work).await.map(Some) } else { Ok(None) };
        let info = record.file_info.get_or_insert_default();
        let outcome = match content {
            Ok(_) if record.is_xattr => Outcome::Left,
            Ok(content) => {
                if let Some(content) = &content {
                    info.size = content.size.cast_signed();
                }
                Outcome::Kept(content)
            }
            Err(error) => Outcome::Failed(error.message()),
        };
        Done { record, outcome }
    }

    async fn content(&self, record: &Record, work: &Work<'_>) -> Result<Content> {
        let known = work.parent.and_then(|parent| parent.unchanged(record));
        if let Some(content) = known.and_then(|entry| entry.content.clone()) {
            return Ok(content);
        }
        work.count_open(&record.pathname);
        let content = self.read(record, work.keep).await;
        work.count_closed();
        content
    }

    /// Reads a content to its end.
    ///
    /// # Errors
    /// Fails if the connector failed, or sent an empty chunk.
    pub async fn read(&self, record: &Record, keep: Keep) -> Result<Content> {
        let operation = "Open";
        let requested = Record {
            pathname: record.pathname.clone(),
            is_xattr: record.is_xattr,
            xattr_name: record.xattr_name.clone(),
            xattr_type: record.xattr_type,
            target: record.target.clone(),
            ..Record::default()
        };
        let mut client = self.client();
        let request = OpenRequest { record: Some(requested) };
        let open = async { client.open(request).await.map_err(Error::refused(operation)) };
        let mut stream = within(operation, open).await?.into_inner();
        let (mut size, mut hash, mut kept) = (0, Sha256::new(), BytesMut::new());
        loop {
            let next = async { stream.message().await.map_err(Error::refused(operation)) };
            let Some(response) = within(operation, next).await? else { break };
            if response.chunk.is_empty() {
                return Err(Error::protocol(operation, "an empty chunk"));
            }
            size += response.chunk.len() as u64;
            if keep != Keep::Size {
                hash.update(&response.chunk);
            }
            if keep == Keep::Bytes {
                kept.extend_from_slice(&response.chunk);
            }
        }
        Ok(Content { size, digest: hash.finalize().into(), bytes: (keep == Keep::Bytes).then(|| Bytes::from(kept)) })
    }
}

/// Returns the reason why the connector accepts no further ack.
async fn ended(stream: &mut Streaming<ImportResponse>) -> Error {
    let operation = "Import";
    let status = async {
        while stream.message().await.map_err(Error::refused(operation))?.is_some() {}
        Err(Error::protocol(operation, "the stream ended before all records were acknowledged"))
    };
    let Err(error) = within::<std::convert::Infallible>(operation, status).await;
    error
}

/// Returns the records up to `finished`, checked as by plakar.
fn records(stream: &mut Streaming<ImportResponse>) -> impl Stream<Item = Result<Record>> + '_ {
    let operation = "Import";
    stream::try_unfold(stream, move |stream| async move {
        let response = stream.message().await.map_err(Error::refused(operation))?;
        let Some(response) = response else {
            return Err(Error::protocol(operation, "the stream ended without `finished`"));
        };
        if response.finished {
            return Ok(None);
        }
        let Some(record) = response.record else {
            return Err(Error::protocol(operation, "a message without a record"));
        };
        if record.error.is_empty() && !record.is_xattr && record.file_info.is_none() {
            let violation = format!("invalid record {}: missing fileinfo", record.pathname);
            return Err(Error::protocol(operation, violation));
        }
        Ok(Some((record, stream)))
    })
}

/// Returns a record in the form in which plakar sends it back.
fn echo(record: &Record) -> Record {
    let plain = record.error.is_empty() && !record.is_xattr;
    let regular = record.file_info.as_ref().is_some_and(is_regular);
    Record {
        has_reader: record.error.is_empty() && (record.is_xattr || regular),
        file_info: record.file_info.clone().filter(|_| plain),
        ..record.clone()
    }
}
