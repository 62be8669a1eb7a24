//! The source of a backup.

mod backup;
mod exchange;

use plakar_protocol::importer as wire;
use plakar_protocol::importer::importer_client::ImporterClient;
use tonic::transport::Channel;

pub use self::backup::{Backup, Counts, Keep};
use crate::error::{Error, Result};
use crate::handshake::{Identity, Options, Settings};
use crate::process::{Connector, within};

/// A connector in its role as importer, after Init.
#[derive(Debug)]
pub struct Importer {
    connector: Connector,
    client: ImporterClient<Channel>,
    identity: Identity,
    concurrency: usize,
}

impl Importer {
    /// Calls Init.
    ///
    /// # Errors
    /// Fails if the connector refuses the settings.
    pub async fn init(connector: Connector, settings: &Settings, options: &Options) -> Result<Self> {
        let mut client = ImporterClient::new(connector.channel());
        let request = wire::InitRequest {
            options: Some(wire::Options {
                hostname: "host.example".to_owned(),
                os: "linux".to_owned(),
                arch: "amd64".to_owned(),
                cwd: options.cwd.clone(),
                maxconcurrency: i64::try_from(options.concurrency).unwrap_or(i64::MAX),
                excludes: options.excludes.clone(),
                noxattr: false,
            }),
            proto: settings.protocol(),
            config: settings.config(),
        };
        let init = async { client.init(request).await.map_err(Error::refused("Init")) };
        let response = within("Init", init).await?.into_inner();
        Ok(Self {
            identity: Identity {
                origin: response.origin,
                kind: response.r#type,
                root: response.root,
                flags: response.flags,
            },
            client,
            connector,
            concurrency: options.concurrency,
        })
    }

    /// Returns what the connector reported about its remote.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the generated client, for calls that plakar would not make.
    pub fn client(&self) -> ImporterClient<Channel> {
        self.client.clone()
    }

    /// Returns the process.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Returns the process, for use when no further call follows.
    pub fn into_connector(self) -> Connector {
        self.connector
    }

    /// Calls Ping.
    ///
    /// # Errors
    /// Fails if the remote cannot be reached.
    pub async fn ping(&self) -> Result<()> {
        let mut client = self.client();
        let ping = async { client.ping(wire::PingRequest {}).await.map_err(Error::refused("Ping")) };
        within("Ping", ping).await.map(drop)
    }

    /// Calls Close.
    ///
    /// # Errors
    /// Fails if the connector failed or does not respond.
    pub async fn close(&self) -> Result<()> {
        let mut client = self.client();
        let close = async { client.close(wire::CloseRequest {}).await.map_err(Error::refused("Close")) };
        within("Close", close).await.map(drop)
    }
}
