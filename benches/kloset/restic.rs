//! The same work by restic through rclone, if both are installed.

use std::{collections::BTreeMap, process::Stdio};

use tokio::process::Command;

use super::{
    Cost, Failure, Table,
    service::{self, Service},
};

/// The work that plakar and restic both do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Backup,
    Restore,
    Check,
    Ls,
}

impl Work {
    fn arguments<'a>(self, source: &'a str, target: &'a str) -> Vec<&'a str> {
        match self {
            Self::Backup => vec!["backup", source],
            Self::Restore => vec!["restore", "latest", "--target", target],
            Self::Check => vec!["check", "--read-data"],
            Self::Ls => vec!["ls", "latest"],
        }
    }
}

/// Runs the work. Returns nothing if one of the two programs is missing.
pub async fn run(service: &Service, source: &str, table: &mut Table) -> Result<Vec<(Work, Cost)>, Failure> {
    if ["restic", "rclone"].into_iter().any(|program| !service::is_on_path(program)) {
        table.row("restic, rclone", "not on PATH: no comparison", true);
        return Ok(Vec::new());
    }
    let environment = environment(service)?;
    let restic = async |arguments: &[&str]| -> Result<(), Failure> {
        let mut command = Command::new("restic");
        command.env_clear().envs(&environment).args(arguments).stdin(Stdio::null());
        let output = command.output().await?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    };
    restic(&["init"]).await?;
    let target = service.path("restic-restored");
    let mut costs = Vec::new();
    for work in [Work::Backup, Work::Restore, Work::Check, Work::Ls] {
        let arguments = work.arguments(source, &target);
        let cost = service.cost(restic(&arguments)).await?;
        table.row(&format!("restic: {work:?}"), &cost.figures(), true);
        costs.push((work, cost));
    }
    Ok(costs)
}

/// Returns the environment of rclone and restic, with a separate session.
pub fn environment(service: &Service) -> Result<BTreeMap<&'static str, String>, Failure> {
    let session = service.simulator.mint_session();
    let config = service.path("rclone.conf");
    let remote = format!(
        "[icloud]\ntype = iclouddrive\napple_id = {}\ntrust_token = {}\ncookies = {}\n",
        session.apple_id, session.trust_token, session.cookies
    );
    std::fs::write(&config, remote)?;
    Ok(BTreeMap::from([
        ("PATH", std::env::var("PATH")?),
        ("HOME", service.path("restic-home")),
        ("RCLONE_CONFIG", config),
        ("RCLONE_CA_CERT", service.path("ca.pem")),
        ("HTTPS_PROXY", service.simulator.proxy_url()),
        ("RESTIC_REPOSITORY", "rclone:icloud:restic".to_owned()),
        ("RESTIC_PASSWORD", "correct horse".to_owned()),
    ]))
}
