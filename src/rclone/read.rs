//! Reading the content of files.

use bytes::BytesMut;

use super::{
    Error, File,
    call::{call, call_blocking, encode},
    error, ffi,
    methods::{self, Method, Nothing},
};

/// Content that is being read. Dropping the scope that it was opened under wakes a blocked read.
#[derive(Debug)]
pub struct Reader(ffi::Reader);

/// The lifetime of a transfer. Everything that runs under it is cancelled when it is dropped.
#[derive(Debug)]
pub struct Scope(ffi::Scope);

/// The version of a file to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The listed one.
    Listed,
    /// The listed one, verified first because a part of it was read before.
    Resumed,
    /// The current one, if the file has changed since it was listed.
    Latest,
}

/// A reference to a scope that does not keep it alive.
#[derive(Debug, Clone, Copy)]
pub struct ScopeId(u64);

/// The handle of the scope that never ends.
pub(super) const ENDLESS: u64 = 0;

impl Scope {
    /// Opens a scope. The file is the proof that rclone runs.
    pub fn of(_: &File) -> Self {
        Self(ffi::Scope::new())
    }

    /// Returns a reference for calls that run under the scope.
    pub fn id(&self) -> ScopeId {
        ScopeId(self.0.id())
    }
}

impl File {
    /// Lets the backend prepare the opening of files, if it can. Does not wait for the network.
    pub fn announce<'a>(files: impl IntoIterator<Item = &'a Self>) {
        let objects = files.into_iter().map(|file| file.object.id()).collect();
        let request = methods::ExpectObjects { objects };
        let result = encode(ENDLESS, &request).and_then(|input| call_blocking(&input, methods::ExpectObjects::PATH));
        if let Err(error) = result.map(|Nothing {}| ()) {
            log::debug!("files cannot be prepared for reading: {error}"); // opening them shows why
        }
    }

    /// Reports whether the file is a package, which is known for most only after they were opened.
    pub fn turned_out_to_be_package(&self) -> bool {
        let request = methods::LookAtObject { object: self.object.id() };
        let result = encode(ENDLESS, &request).and_then(|input| call_blocking(&input, methods::LookAtObject::PATH));
        result.is_ok_and(|methods::LookedAt { package }| package)
    }

    /// Returns descriptions of files for [`Remote::saved`](super::Remote::saved), each on one line,
    /// or none for a file whose backend has none.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn save(files: &[&Self]) -> Result<Vec<Option<String>>, Error> {
        let objects = files.iter().map(|file| file.object.id()).collect();
        let saved = call(methods::SaveObjects { objects }).await?.saved;
        if saved.len() != files.len() {
            let (asked, answered) = (files.len(), saved.len());
            return Err(Error::unexpected(format!("{asked} files were to be described but {answered} answered")));
        }
        Ok(saved.into_iter().map(|text| Some(text).filter(|text| !text.is_empty())).collect())
    }

    /// Opens the content from `offset`: `length` bytes, or everything that follows. Also returns
    /// the size of the whole content, unless only reading it tells. Blocks the thread.
    ///
    /// # Errors
    /// Returns [`Kind::Changed`](super::Kind::Changed) if the file is not in that version, and
    /// otherwise the error of the service.
    pub fn open(
        &self,
        offset: u64,
        length: Option<u64>,
        version: Version,
        under: ScopeId,
    ) -> Result<(Reader, Option<u64>), Error> {
        let length = length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX));
        let (resume, latest) = (version == Version::Resumed, version == Version::Latest);
        let request = methods::OpenObject { object: self.object.id(), offset, length, resume, latest };
        let opened = call_blocking(&encode(under.0, &request)?, methods::OpenObject::PATH)?;
        let methods::OpenedObject { reader, size } = opened;
        Ok((Reader(ffi::Reader::adopt(reader)), u64::try_from(size).ok()))
    }
}

impl Reader {
    /// Appends content to `buffer`, up to its spare capacity, and returns the number of bytes,
    /// which is smaller only at the end. Blocks the thread.
    ///
    /// # Errors
    /// Fails if the content breaks off. The bytes before that are in the buffer.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Error> {
        self.0.read(buffer).map_err(|failure| match serde_json::from_str::<error::Failure>(&failure) {
            Ok(failure) => failure.into(),
            Err(error) => Error::unexpected(format!("a failure cannot be read: {error}")),
        })
    }
}
