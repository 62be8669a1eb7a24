//! The operations on a remote.

use std::{os::fd::IntoRawFd, sync::Arc};

use super::{
    Accepted, Collection, Deletion, Entry, Error, File, Form, Listing, Region, Remote, Replacement, Rules, Time, Trail,
    call::{blocking, call, check_count, decode, encode, nul_in_input},
    ffi,
    methods::{self, Nothing},
    summary::Summarize,
};

/// What [`Remote::tidy`] has done about leftovers.
#[derive(Debug, Default)]
pub struct Tidied {
    /// The number of leftovers that were removed or have got their names.
    pub settled: u64,
    /// The number of leftovers that must be kept for now, because the last requests of the killed
    /// process may still be carried out.
    pub waiting: u64,
    /// An error for each leftover that could not be settled.
    pub failed: Vec<Error>,
}

impl Remote {
    /// Saves the unsaved state of the backend, such as cookies that the service has replaced. The
    /// remote cannot be used afterwards.
    ///
    /// # Errors
    /// Fails if the state cannot be saved.
    pub async fn close(self) -> Result<(), Error> {
        call(methods::Close { remote: self.id }).await.map(|Nothing {}| ())
    }

    /// Settles the leftovers of this machine, which are listed in the files whose paths
    /// [`super::Rclone::open`] got: removes them, or gives a complete file its name if that is free.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn tidy(self) -> Result<Tidied, Error> {
        let tidied = call(methods::Tidy { remote: self.id }).await?;
        let failed = tidied.failed.into_iter().map(Error::from).collect();
        Ok(Tidied { settled: tidied.settled, waiting: tidied.waiting, failed })
    }

    /// Counts the items of the collections, such as photo libraries. Returns none if the backend has
    /// no collections.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn collections(self) -> Result<Vec<Collection>, Error> {
        Ok(call(Summarize { remote: self.id }).await?.collections)
    }

    /// Lists folders, without the items that `rules` leave out. Returns one result for each path, in
    /// order.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn list(self, paths: Vec<String>, rules: Option<Rules>) -> Result<Vec<Result<Listing, Error>>, Error> {
        self.list_folders(paths, rules, false).await
    }

    /// Lists a folder, or returns a listing that the backend has in memory.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`](super::Kind::NotFound) if the folder does not exist.
    pub async fn list_known(self, path: &str) -> Result<Listing, Error> {
        self.list_folders(vec![path.to_owned()], None, true).await?.swap_remove(0)
    }

    async fn list_folders(
        self,
        paths: Vec<String>,
        rules: Option<Rules>,
        known: bool,
    ) -> Result<Vec<Result<Listing, Error>>, Error> {
        let requested = paths.len();
        let listed = call(methods::List { remote: self.id, paths, rules: Rules::handle(rules), known }).await?;
        check_count("folders to list", requested, listed.folders.len())?;
        let folder = |mut folder: methods::ListedFolder| match folder.failure.take() {
            Some(failure) => Err(Error::from(failure)),
            None => Ok(Listing::from(folder)),
        };
        Ok(listed.folders.into_iter().map(folder).collect())
    }

    /// Finds a file or a folder.
    ///
    /// # Errors
    /// Returns [`Kind::NotFound`](super::Kind::NotFound) if it does not exist.
    pub async fn stat(self, path: &str) -> Result<Entry, Error> {
        let entry = call(methods::Stat { remote: self.id, path: path.to_owned() }).await?;
        Entry::try_from(entry).map_err(|invalid| invalid.cause)
    }

    /// Creates a folder and its parents. Succeeds if the folder exists.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn mkdir(self, path: &str, trail: Trail) -> Result<(), Error> {
        call(methods::Mkdir { remote: self.id, path: path.to_owned(), trail: trail == Trail::Kept })
            .await
            .map(|Nothing {}| ())
    }

    /// Deletes files: for each, the listed object if it is given, otherwise the file at the path.
    /// Returns one result for each file, in order: [`Kind::NotFound`](super::Kind::NotFound) if it
    /// did not exist.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn delete(
        self,
        files: &[(&str, Option<&File>)],
        deletion: Deletion,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let deleted = |(path, listed): &(&str, Option<&File>)| methods::Deleted {
            path: (*path).to_owned(),
            object: listed.map_or(0, |file| file.object.id()),
        };
        let request = methods::Delete {
            remote: self.id,
            files: files.iter().map(deleted).collect(),
            permanent: deletion == Deletion::Permanent,
        };
        let failures = call(request).await?.failures;
        check_count("files to delete", files.len(), failures.len())?;
        Ok(failures.into_iter().map(|failure| failure.map_or(Ok(()), |failure| Err(failure.into()))).collect())
    }

    /// Sets the modification time of a folder.
    ///
    /// # Errors
    /// Returns [`Kind::Unsupported`](super::Kind::Unsupported) if the backend cannot set it.
    pub async fn set_folder_time(self, path: &str, time: Time) -> Result<(), Error> {
        let request =
            methods::FolderTime { remote: self.id, path: path.to_owned(), seconds: time.seconds, nanos: time.nanos };
        call(request).await.map(|Nothing {}| ())
    }

    /// Returns files that [`File::save`] has described. With `check`, the service confirms that all
    /// of them are unchanged. Without it, the network is not used, and a file that was changed or
    /// deleted since fails when it is opened.
    ///
    /// # Errors
    /// Fails if a description cannot be read or a file is not known to be unchanged.
    pub async fn saved(self, files: Vec<(String, String)>, check: bool) -> Result<Vec<Entry>, Error> {
        let requested = files.len();
        let files = files.into_iter().map(|(path, saved)| methods::SavedFile { path, saved }).collect();
        let entries = call(methods::UseSaved { remote: self.id, files, check }).await?.entries;
        check_count("described files", requested, entries.len())?;
        entries.into_iter().map(|entry| Entry::try_from(entry).map_err(|invalid| invalid.cause)).collect()
    }

    /// Stores content at a path and replaces an existing file. The content is stored in full or not
    /// at all.
    ///
    /// # Errors
    /// Returns the error of the service. The path then has its previous file, or none if the
    /// service has stored only a part of the content.
    pub async fn upload(
        self,
        path: &str,
        modified: Time,
        content: Arc<Region>,
        replacement: Replacement,
        form: Form,
    ) -> Result<Entry, Error> {
        let scope = ffi::Scope::new();
        let id = scope.id();
        let mut request = methods::Upload {
            remote: self.id,
            path: path.to_owned(),
            seconds: modified.seconds,
            nanos: modified.nanos,
            defer: matches!(replacement, Replacement::Deferred { .. }),
            identical: match replacement {
                Replacement::Deferred { accepted: Accepted::SameTime } => Some(String::new()),
                Replacement::Deferred { accepted: Accepted::SameContent(digest) } => Some(format!("{digest:032x}")),
                _ => None,
            },
            new: replacement == Replacement::Refused,
            package: form == Form::Package,
            file: None,
        };
        let entry: methods::Entry = blocking(scope, move || {
            let no_descriptor =
                |error| Error::unexpected(format!("the file of the spool cannot be passed to rclone: {error}"));
            let descriptor = content.descriptor().map_err(no_descriptor)?.map(IntoRawFd::into_raw_fd);
            request.file = descriptor.map(|descriptor| methods::SpoolFile { descriptor, size: content.size() });
            let result = ffi::upload(&encode(id, &request)?, content.memory()).map_err(|_| nul_in_input("upload"))?;
            decode(result.as_bytes())
        })
        .await?;
        Entry::try_from(entry).map_err(|invalid| invalid.cause)
    }
}
