//! The archive of a package, made from its items while they are received.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use zip::{
    DateTime, ZipWriter,
    result::ZipResult,
    write::{SimpleFileOptions, StreamWriter},
};

use super::spool::{Spool, Spooled};
use crate::rclone::Time;

/// The permissions of items, as in the archives of macOS.
const FILE: u32 = 0o644;
const PROGRAM: u32 = 0o755;
const FOLDER: u32 = 0o755;

type Writer = ZipWriter<StreamWriter<Sink>>;

/// The archive of a package that is being received. It grows in a spool, so no item is stored
/// separately.
pub struct Packer {
    /// None only while it is in use or after it failed.
    writer: Option<Writer>,
    sink: Sink,
    spool: Spool,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// Returns an empty archive in a spool.
    pub fn new(spool: Spool) -> Self {
        let sink = Sink::default();
        Self { writer: Some(ZipWriter::new_stream(sink.clone())), sink, spool }
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// Fails if the spool has no room.
    pub async fn folder(&mut self, path: &str, modified: Time) -> io::Result<()> {
        let (path, options) = (format!("{path}/"), options(modified).unix_permissions(FOLDER));
        self.work(move |zip| zip.add_directory(path, options)).await
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// Fails if the spool has no room.
    pub async fn link(&mut self, path: &str, target: String, modified: Time) -> io::Result<()> {
        let (path, options) = (path.to_owned(), options(modified));
        self.work(move |zip| zip.add_symlink(path, target, options)).await
    }

    /// Begins a file, whose content follows.
    ///
    /// # Errors
    /// Fails if the spool has no room.
    pub async fn file(&mut self, path: &str, is_program: bool, modified: Time) -> io::Result<()> {
        let options = options(modified).unix_permissions(if is_program { PROGRAM } else { FILE });
        let path = path.to_owned();
        self.work(move |zip| zip.start_file(path, options)).await
    }

    /// Adds a piece to the content of the last file.
    ///
    /// # Errors
    /// Fails if the spool has no room, or if the file has 4 GiB.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.work(move |zip| Ok(zip.write_all(&piece)?)).await
    }

    /// Completes the archive.
    ///
    /// # Errors
    /// Fails if the spool has no room.
    pub async fn finish(mut self) -> io::Result<Spooled> {
        if let Some(writer) = self.writer.take() {
            spawn_blocking(move || writer.finish().map(drop)).await?.map_err(io::Error::from)?;
        }
        self.drain().await?;
        Ok(self.spool.finish())
    }

    /// Runs `work` on a thread that may block, and moves what it wrote to the spool.
    async fn work(&mut self, work: impl FnOnce(&mut Writer) -> ZipResult<()> + Send + 'static) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else {
            return Err(io::Error::other("the archive could not be continued"));
        };
        let (writer, result) = spawn_blocking(move || {
            let result = work(&mut writer);
            (writer, result)
        })
        .await?;
        result?;
        self.writer = Some(writer);
        self.drain().await
    }

    async fn drain(&mut self) -> io::Result<()> {
        let written = std::mem::take(&mut *self.sink.bytes());
        if written.is_empty() { Ok(()) } else { self.spool.add(Bytes::from(written)).await }
    }
}

fn options(modified: Time) -> SimpleFileOptions {
    let options = SimpleFileOptions::default().compression_level(Some(1));
    match in_archive(modified) {
        Some(time) => options.last_modified_time(time),
        None => options,
    }
}

/// Returns a time as archives have it. Those before 1980 and after 2107 do not exist there.
fn in_archive(modified: Time) -> Option<DateTime> {
    let time = OffsetDateTime::from_unix_timestamp(modified.seconds).ok()?;
    let year = u16::try_from(time.year()).ok()?;
    DateTime::from_date_and_time(year, time.month().into(), time.day(), time.hour(), time.minute(), time.second()).ok()
}

/// Bytes that the writer has written and that are not in the spool yet.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
