//! The content of files: read in order, checked against the listed length, and resumed after a
//! broken connection.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_stream::Stream;

use super::{
    package::Patches,
    retry::Attempts,
    spool::{Spooled, Spools},
};
use crate::rclone::{Error, File, Kind, Reader, Scope, ScopeId, Version};

/// The largest piece of content, as in plakar's own connectors.
const MAX_PIECE: usize = 1024 * 1024;
/// The number of pieces that are read ahead of the consumer.
const PIECES_AHEAD: usize = 2;
/// The maximum number of bytes of content of unknown size. Such content is spooled in full before
/// it is returned, so that it can be read again from its start.
const MAX_SPOOLED: u64 = 1024 * 1024 * 1024;

/// The content of a file as a sequence of pieces. Dropping it ends the transfer.
#[derive(Debug)]
pub struct Content {
    /// The first piece, if [`Self::begin`] has waited for it.
    first: Option<Result<Bytes, Error>>,
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
    _scope: Option<Scope>,
}

impl Content {
    /// Returns content and the sender of its pieces, which has to check them.
    pub fn channel() -> (mpsc::Sender<Result<Bytes, Error>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        (sender, Self::of(pieces))
    }

    /// Returns spooled content. Of the archive of a package, the times that differ between downloads
    /// are removed.
    pub fn of_spooled(spooled: Arc<Spooled>, is_package: bool) -> Self {
        let (sender, content) = Self::channel();
        tokio::task::spawn_blocking(move || {
            let send = |piece| sender.blocking_send(Ok(piece)).map_err(|_| Stop::Disconnected);
            if let Err(Stop::Failed(error)) = send_pieces(&spooled, is_package, MAX_PIECE, send) {
                let _ = sender.blocking_send(Err(error)); // fails if the receiver was dropped
            }
        });
        content
    }

    /// Returns content whose pieces another source sends and has already checked.
    pub fn of(pieces: mpsc::Receiver<Result<Bytes, Error>>) -> Self {
        Self { first: None, pieces, _scope: None }
    }

    /// Waits for the first piece or the end.
    ///
    /// # Errors
    /// Fails if an error occurs before the first piece. [`Self::next`] returns that error too.
    pub async fn begin(&mut self) -> Result<(), Error> {
        if self.first.is_none() {
            self.first = self.pieces.recv().await;
        }
        match &self.first {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Returns the next piece, which is never empty, or none at the end.
    ///
    /// # Errors
    /// Fails if the content cannot be read in full. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.first.take() {
            None => self.pieces.recv().await,
            first => first,
        }
    }

    /// Returns the whole content.
    ///
    /// # Errors
    /// Fails as [`Self::next`] does.
    pub async fn collect(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }
}

impl From<Bytes> for Content {
    /// Returns content that is already in memory.
    fn from(bytes: Bytes) -> Self {
        let (_, nothing_more) = mpsc::channel(1);
        Self { first: (!bytes.is_empty()).then_some(Ok(bytes)), pieces: nothing_more, _scope: None }
    }
}

impl Stream for Content {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            None => self.pieces.poll_recv(context),
            first => Poll::Ready(first),
        }
    }
}

/// Reads a file or a part of it. Returns exactly the requested bytes, without those beyond the
/// listed end of the file; any other length is an error. A file that has changed since it was
/// listed is read whole in its current version.
pub fn read(file: File, part: Option<Range<u64>>) -> Content {
    Transfer::start(file, part, ReadOptions { piece: MAX_PIECE, may_change: true, spools: None, whole: None })
}

/// Reads a whole file, as [`read`] does.
///
/// Content of unknown size cannot be resumed after a broken connection, because each download of an
/// iCloud package has different bytes. Such content is first written to a spool, up to a gigabyte,
/// and returned when it is complete, without the times that differ.
pub fn read_spooled(file: File, spools: Spools) -> Content {
    Transfer::start(file, None, ReadOptions { piece: MAX_PIECE, may_change: true, spools: Some(spools), whole: None })
}

/// Reads a whole file of unknown size into a spool.
///
/// # Errors
/// Fails if the file cannot be read in full, and with [`Kind::Unsupported`] if it has more than a
/// gigabyte.
pub async fn download(file: File, spools: Spools) -> Result<Spooled, Error> {
    let (sender, whole) = oneshot::channel();
    let mut spool = spools.begin();
    let options = ReadOptions { piece: MAX_PIECE, may_change: true, spools: Some(spools), whole: Some(sender) };
    let mut content = Transfer::start(file, None, options);
    // A file whose size turns out to be known arrives in pieces.
    while let Some(piece) = content.next().await {
        spool.add(piece?).await.map_err(|error| spool_failed(&error))?;
    }
    Ok(whole.await.unwrap_or_else(|_| spool.finish()))
}

/// Reads a part of a file that never changes. The part must lie within the file. The pieces have
/// `piece` bytes, except the last one and those at which a connection broke.
pub fn read_unchanging(file: File, part: Range<u64>, piece: usize) -> Content {
    Transfer::start(file, Some(part), ReadOptions { piece, may_change: false, spools: None, whole: None })
}

/// How a file is read.
struct ReadOptions {
    /// The size of a piece in bytes.
    piece: usize,
    /// Whether the file may have changed when the transfer is resumed.
    may_change: bool,
    /// Where content of unknown size is spooled until it is complete. None if it is not spooled.
    spools: Option<Spools>,
    /// The receiver of content of unknown size that is wanted as a whole.
    whole: Option<oneshot::Sender<Spooled>>,
}

/// The sending half of a content.
struct Transfer {
    file: File,
    sender: mpsc::Sender<Result<Bytes, Error>>,
    scope: ScopeId,
    options: ReadOptions,
    buffer: BytesMut,
}

/// Why a transfer stopped before its end.
enum Stop {
    Failed(Error),
    Disconnected,
}

impl Transfer {
    fn start(file: File, part: Option<Range<u64>>, options: ReadOptions) -> Content {
        let scope = Scope::of(&file);
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let transfer = Self { file, sender, scope: scope.id(), options, buffer: BytesMut::new() };
        tokio::task::spawn_blocking(move || transfer.run(part));
        Content { first: None, pieces, _scope: Some(scope) }
    }

    fn run(mut self, part: Option<Range<u64>>) {
        let size = self.file.size.unwrap_or(u64::MAX);
        let wanted = part.map_or(0..size, |part| part.start.min(size)..part.end.min(size));
        let whole = wanted == (0..size);
        let result = self.read_exactly(wanted, whole);
        if let Err(Stop::Failed(error)) = result {
            let _ = self.sender.blocking_send(Err(error)); // fails if the receiver was dropped
        }
    }

    fn read_exactly(&mut self, mut wanted: Range<u64>, whole: bool) -> Result<(), Stop> {
        let mut at = wanted.start;
        let mut attempts = Attempts::default();
        // A whole file is opened even if it is listed with 0 bytes, because it may be a package.
        let is_confirmed = whole && self.options.spools.is_some();
        while is_confirmed || at < wanted.end {
            let before = at;
            let error = match self.read_once(&mut at, &mut wanted, whole) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(error)) => error,
                Err(stop) => return Err(stop),
            };
            if at > before {
                attempts = Attempts::default(); // the transfer made progress
            }
            let is_lost = error.start_over && at > wanted.start;
            match attempts.pause_after(&error) {
                Some(pause) if !is_lost && !self.sender.is_closed() => thread::sleep(pause),
                _ => return Err(Stop::Failed(error)),
            }
        }
        Ok(())
    }

    /// Reads over one connection and advances `at` past the bytes that were sent. If the whole file
    /// is read, the end is that of the version that was opened.
    ///
    /// The last piece is sent only after the response has ended, because a longer response is not
    /// the requested content.
    fn read_once(&mut self, at: &mut u64, wanted: &mut Range<u64>, whole: bool) -> Result<(), Stop> {
        let version = match self.options.may_change {
            true if *at > wanted.start => Version::Resumed,
            true if whole => Version::Latest,
            _ => Version::Listed,
        };
        // The whole file is requested without an end, so that content longer than listed is
        // detected.
        let length = (!whole).then_some(wanted.end - *at);
        let (mut reader, size) = self.file.open(*at, length, version, self.scope).map_err(Stop::Failed)?;
        if version == Version::Latest {
            match size {
                Some(size) => wanted.end = size,
                None => return self.read_to_the_end(reader),
            }
        }
        let end = wanted.end;
        while *at < end {
            let result = self.fill(&mut reader, end - *at);
            if *at + self.buffer.len() as u64 == end {
                let last = std::mem::take(&mut self.buffer);
                if self.fill(&mut reader, 1).map_err(Stop::Failed)? > 0 {
                    return Err(Stop::Failed(self.too_long(end, whole)));
                }
                self.buffer = last;
            }
            *at += self.buffer.len() as u64;
            self.send_buffer()?;
            match result {
                Ok(0) => return Err(Stop::Failed(ended_early(*at, end))),
                Ok(_) => {}
                Err(error) => return Err(Stop::Failed(error)),
            }
        }
        Ok(())
    }

    fn too_long(&self, end: u64, whole: bool) -> Error {
        if whole && self.options.may_change {
            let text = format!("the content is longer than the {end} bytes of the listing");
            return Error::new(Kind::Changed, text);
        }
        let mut error = Error::new(Kind::Damaged, format!("received content beyond the requested end at byte {end}"));
        error.retry = true;
        error
    }

    /// Reads content of unknown size.
    fn read_to_the_end(&mut self, mut reader: Reader) -> Result<(), Stop> {
        let Some(spools) = &self.options.spools else {
            return self.stream_to_the_end(reader);
        };
        let mut spool = spools.begin();
        let runtime = Handle::current();
        let mut size = 0;
        while self.fill(&mut reader, self.options.piece as u64).map_err(Stop::Failed)? > 0 {
            let piece = std::mem::take(&mut self.buffer).freeze();
            size += piece.len() as u64;
            runtime.block_on(spool.add(piece)).map_err(|error| Stop::Failed(spool_failed(&error)))?;
            if size >= MAX_SPOOLED && self.options.whole.is_some() {
                return Err(Stop::Failed(Error::new(Kind::Unsupported, "its content has more than a gigabyte")));
            }
            if size >= MAX_SPOOLED {
                self.send_spooled(&spool.finish())?;
                return self.stream_to_the_end(reader);
            }
        }
        let spooled = spool.finish();
        match self.options.whole.take() {
            Some(whole) => whole.send(spooled).map_err(|_| Stop::Disconnected),
            None => self.send_spooled(&spooled),
        }
    }

    fn send_spooled(&mut self, spooled: &Spooled) -> Result<(), Stop> {
        let is_package = self.file.turned_out_to_be_package();
        let send = |piece| self.sender.blocking_send(Ok(piece)).map_err(|_| Stop::Disconnected);
        send_pieces(spooled, is_package, self.options.piece, send)
    }

    /// Sends content as it arrives, up to its end. A failure at this point cannot be resumed.
    fn stream_to_the_end(&mut self, mut reader: Reader) -> Result<(), Stop> {
        loop {
            let result = self.fill(&mut reader, self.options.piece as u64);
            self.send_buffer()?;
            if result.map_err(|error| Stop::Failed(Error { retry: false, ..error }))? == 0 {
                return Ok(());
            }
        }
    }

    fn fill(&mut self, reader: &mut Reader, most: u64) -> Result<usize, Error> {
        let size = usize::try_from(most).map_or(self.options.piece, |most| most.min(self.options.piece));
        self.buffer = BytesMut::with_capacity(size);
        reader.read(&mut self.buffer)
    }

    fn send_buffer(&mut self) -> Result<(), Stop> {
        let piece = std::mem::take(&mut self.buffer).freeze();
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(piece)).map_err(|_| Stop::Disconnected)
    }
}

/// Sends spooled content in pieces. Of the archive of a package, the times that differ between
/// downloads are removed.
fn send_pieces(
    spooled: &Spooled,
    is_package: bool,
    piece: usize,
    send: impl Fn(Bytes) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let patches = if is_package { Patches::of_archive(spooled) } else { Patches::default() };
    for start in (0..spooled.size()).step_by(piece) {
        let length = usize::try_from(spooled.size() - start).map_or(piece, |left| left.min(piece));
        let mut buffer = BytesMut::zeroed(length);
        let read = spooled.content().read_exact_at(start, &mut buffer);
        read.map_err(|error| Stop::Failed(spool_failed(&error)))?;
        patches.apply(start, &mut buffer);
        send(buffer.freeze())?;
    }
    Ok(())
}

/// Returns the error for content that could not be spooled.
fn spool_failed(error: &io::Error) -> Error {
    Error::new(Kind::Other, format!("its content cannot be stored in the spool folder until it is complete: {error}"))
}

fn ended_early(at: u64, end: u64) -> Error {
    let mut error = Error::new(Kind::Damaged, format!("the content ended after {at} of {end} bytes"));
    error.retry = true;
    error
}
