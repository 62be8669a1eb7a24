//! The connection to a plakar that runs this program in a container: HTTP/2 over a Unix socket.

use std::{env, fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use tokio::{
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
};

use super::stdio::Connection;

/// The variable in which plakar 1.2 names the socket, as `unix://PATH` (go-kloset-sdk, `listen.go`).
const VARIABLE: &str = "PLAKAR_PLUGIN_LISTEN";

/// A Unix socket on which plakar connects once.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Socket {
    /// Returns the socket that the environment names, if it names one.
    ///
    /// # Errors
    /// Fails if the address is not that of a Unix socket.
    pub fn from_env() -> io::Result<Option<Self>> {
        let Some(address) = env::var_os(VARIABLE).filter(|address| !address.is_empty()) else {
            return Ok(None);
        };
        match address.to_str().and_then(|address| address.strip_prefix("unix://")).filter(|path| !path.is_empty()) {
            Some(path) => Ok(Some(Self(path.into()))),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{VARIABLE}={address:?} is not the address of a Unix socket: it must be unix:// followed by a path"
                ),
            )),
        }
    }

    /// Waits until plakar connects. Returns the connection, and a receiver that completes when
    /// plakar closes it.
    ///
    /// # Errors
    /// Fails if the socket cannot be created.
    pub async fn accept(&self) -> io::Result<(Connection<OwnedReadHalf, OwnedWriteHalf>, oneshot::Receiver<()>)> {
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.0.display()));
        let listener = UnixListener::bind(&self.0).map_err(failed)?;
        // plakar runs outside the container as another user. The folder of the socket is its own.
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let (from_plakar, to_plakar) = stream.into_split();
        Ok(Connection::new(from_plakar, to_plakar))
    }
}
