//! Reading the content of files.

use bytes::BytesMut;

use super::{
    Error, File,
    call::{ENDLESS, call, call_blocking, check_count},
    error, ffi, methods,
};

/// Content that is being read. Dropping the scope that it was opened under ends a blocked read.
#[derive(Debug)]
pub struct Reader(ffi::Reader);

/// The lifetime of a transfer. Everything that runs under it is cancelled when it is dropped.
#[derive(Debug)]
pub struct Scope(ffi::Scope);

/// The version of a file to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The listed version.
    Listed,
    /// The listed version, verified first because a part of it was read before.
    Resumed,
    /// The current version, if the file has changed since it was listed.
    Latest,
}

/// A reference to a scope that does not keep it alive.
#[derive(Debug, Clone, Copy)]
pub struct ScopeId(u64);

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
    /// Announces files that will be opened, so that the backend can prepare for it. Does not wait
    /// for the network.
    pub fn announce<'a>(files: impl IntoIterator<Item = &'a Self>) {
        let objects = files.into_iter().map(|file| file.object.id()).collect();
        if let Err(error) = call_blocking(ENDLESS, &methods::AnnounceObjects { objects }) {
            log::debug!("files cannot be announced: {error}"); // opening them shows why
        }
    }

    /// Reports whether the file is known to be a package. Most packages are recognised only when
    /// they are opened.
    pub fn turned_out_to_be_package(&self) -> bool {
        let request = methods::DescribeObject { object: self.object.id() };
        call_blocking(ENDLESS, &request).is_ok_and(|methods::DescribedObject { package }| package)
    }

    /// Returns descriptions of files for [`Remote::saved`](super::Remote::saved), each on one line,
    /// or none for a file whose backend has none.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn save(files: &[&Self]) -> Result<Vec<Option<String>>, Error> {
        let objects = files.iter().map(|file| file.object.id()).collect();
        let saved = call(methods::SaveObjects { objects }).await?.saved;
        check_count("files to describe", files.len(), saved.len())?;
        Ok(saved.into_iter().map(|text| Some(text).filter(|text| !text.is_empty())).collect())
    }

    /// Opens the content from `offset`: `length` bytes, or everything that follows. Also returns
    /// the size of the whole content, unless it is known only after it was read. Blocks the thread.
    ///
    /// # Errors
    /// Returns [`Kind::Changed`](super::Kind::Changed) if the file is not in that version, and
    /// otherwise the error of the service.
    pub fn open(
        &self,
        offset: u64,
        length: Option<u64>,
        version: Version,
        scope: ScopeId,
    ) -> Result<(Reader, Option<u64>), Error> {
        let length = length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX));
        let (resume, latest) = (version == Version::Resumed, version == Version::Latest);
        let request = methods::OpenObject { object: self.object.id(), offset, length, resume, latest };
        let methods::OpenedObject { reader, size } = call_blocking(scope.0, &request)?;
        Ok((Reader(ffi::Reader::adopt(reader)), u64::try_from(size).ok()))
    }
}

impl Reader {
    /// Appends content to `buffer`, up to its spare capacity, and returns the number of bytes,
    /// which is smaller only at the end. Blocks the thread.
    ///
    /// # Errors
    /// Fails if the content ends early. The bytes before that are in the buffer.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Error> {
        self.0.read(buffer).map_err(|failure| match serde_json::from_str::<error::Failure>(&failure) {
            Ok(failure) => failure.into(),
            Err(error) => Error::unexpected(format!("a failure cannot be parsed: {error}")),
        })
    }
}
