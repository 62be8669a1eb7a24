//! The command line.

use clap::{Parser, Subcommand};

use crate::connector::Role;

/// Plakar backs up, restores and stores in iCloud.
#[derive(Debug, Parser)]
#[command(name = "plakar-icloud", version, about, long_about = None, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve plakar as a source of backups (plakar starts this)
    Importer,
    /// Serve plakar as a destination of restores (plakar starts this)
    Exporter,
    /// Serve plakar as a store (plakar starts this)
    Storage,
}

impl Command {
    /// The connector that is asked for.
    pub fn role(&self) -> Role {
        match self {
            Self::Importer => Role::Importer,
            Self::Exporter => Role::Exporter,
            Self::Storage => Role::Storage,
        }
    }
}
