//! Calls about the storage of a remote, and about leftovers.

use serde::{Deserialize, Serialize};

use super::{
    Error, File, Remote,
    call::call,
    methods::{Method, Nothing, method},
};

/// Asks for the free room of the storage.
#[derive(Serialize)]
struct Room {
    remote: u64,
}
method!("remote/room", Room, FreeRoom);

#[derive(Deserialize)]
struct FreeRoom {
    free: Option<u64>,
}

/// Asks whether a name is that of a package.
#[derive(Serialize)]
struct PackageName {
    remote: u64,
    name: String,
}
method!("remote/package-name", PackageName, IsPackageName);

#[derive(Deserialize)]
struct IsPackageName {
    package: bool,
}

/// Gives a leftover its name.
#[derive(Serialize)]
struct CompleteObject {
    object: u64,
}
method!("object/complete", CompleteObject, Nothing);

impl Remote {
    /// Returns the free room of the storage in bytes, or none if the service does not report it.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn free_room(self) -> Result<Option<u64>, Error> {
        call(Room { remote: self.id }).await.map(|room| room.free)
    }

    /// Reports whether the service stores a folder of this name as a package. Uses no network.
    ///
    /// # Errors
    /// Fails if the call could not be made.
    pub async fn is_package_name(self, name: &str) -> Result<bool, Error> {
        call(PackageName { remote: self.id, name: name.to_owned() }).await.map(|result| result.package)
    }

    /// Gives a leftover the name under which it is listed.
    ///
    /// # Errors
    /// Returns the error of the service.
    pub async fn complete(self, file: &File) -> Result<(), Error> {
        call(CompleteObject { object: file.object.id() }).await.map(|Nothing {}| ())
    }
}
