//! The simulator as a program: prints its proxy URL, then serves until a signal or the end of
//! standard input stops it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use icloud_simulator::{Config, Content, LatencyProfile, NewAsset, PRIMARY_ZONE, SeedTree, Simulator, TransportRules};
use tokio::io::{AsyncReadExt, stdin};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated iCloud: an HTTPS CONNECT proxy that stands in for Apple's hosts and refuses all
/// others
#[derive(Parser)]
struct Arguments {
    /// The address of the proxy; port 0 chooses a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file to write the certificate authority (PEM) to, which clients must trust
    #[arg(long)]
    ca_file: PathBuf,
    /// A file to write the proxy URL to, once the simulator is ready
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// The latency of responses: `flat`, the time of --latency-ms; or `measured`, which depends on
    /// the kind of request
    #[arg(long, default_value = "flat", value_parser = latency_profile)]
    latency: LatencyProfile,
    /// The latency of every response in the flat profile, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// A factor for the latencies of the measured profile
    #[arg(long, default_value_t = 1.0)]
    latency_scale: f64,
    /// The rate of all downloads together, in bytes per second; 0 for no limit
    #[arg(long, default_value_t = 0)]
    content_rate: u64,
    /// The rate of the downloads of each connection, in bytes per second; 0 for no limit
    #[arg(long, default_value_t = 0)]
    content_rate_per_connection: u64,
    /// The seed of all random values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of files in the drive
    #[arg(long, default_value_t = 0)]
    seed_files: u64,
    /// The number of folders in the drive
    #[arg(long, default_value_t = 0)]
    seed_folders: u64,
    /// The size of every file and photo, in bytes
    #[arg(long, default_value_t = 4096)]
    seed_size: u64,
    /// The number of photos in the library
    #[arg(long, default_value_t = 0)]
    seed_photos: u32,
    /// The folder in which the files and folders are created
    #[arg(long, default_value = "")]
    seed_prefix: String,
    /// The Apple Account that can sign in
    #[arg(long, default_value = "user@example.com")]
    apple_id: String,
    /// The password of the account
    #[arg(long, default_value = "correct horse")]
    password: String,
    /// The verification code
    #[arg(long, default_value = "123456")]
    code: String,
    /// The maximum size of the drive and its Trash together, in bytes
    #[arg(long)]
    quota: Option<u64>,
    /// Support only HTTP/1.1
    #[arg(long)]
    http1: bool,
    /// Stop at the end of standard input
    #[arg(long)]
    stdin_eof: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("icloud-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config { listen: arguments.listen, seed: arguments.seed, ..Config::default() };
    if arguments.http1 {
        config.http1_hosts = vec![String::new()];
    }
    config.rules.transport = TransportRules {
        latency_profile: arguments.latency,
        latency_ms: arguments.latency_ms,
        latency_scale: arguments.latency_scale,
        content_rate: arguments.content_rate,
        content_rate_per_connection: arguments.content_rate_per_connection,
        ..TransportRules::default()
    };
    config.rules.account.apple_id = arguments.apple_id;
    config.rules.account.password = arguments.password;
    config.rules.account.code = arguments.code;
    if let Some(quota) = arguments.quota {
        config.rules.drive.quota = quota;
    }
    let simulator = Simulator::start(config)?;
    simulator.seed(&SeedTree {
        prefix: arguments.seed_prefix,
        files: arguments.seed_files,
        folders: arguments.seed_folders,
        size: arguments.seed_size,
        seed: arguments.seed,
        modified_ms: 1_700_000_000_000,
    });
    simulator.photos(|library| {
        for number in 0..arguments.seed_photos {
            let original = Content::Generated { seed: u64::from(number), size: arguments.seed_size };
            let taken = 1_700_000_000_000 - 600_000 * i64::from(number);
            library.add(PRIMARY_ZONE, NewAsset::image(&format!("IMG_{:04}.HEIC", number % 10_000), taken, original));
        }
    });
    simulator.write_ca(&arguments.ca_file)?;
    writeln!(std::io::stdout(), "{}", simulator.proxy_url())?;
    if let Some(ready_file) = &arguments.ready_file {
        std::fs::write(ready_file, simulator.proxy_url())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(wait_for_stop(arguments.stdin_eof))?;
    runtime.shutdown_background();
    Ok(())
}

fn latency_profile(name: &str) -> Result<LatencyProfile, String> {
    match name {
        "flat" => Ok(LatencyProfile::Flat),
        "measured" => Ok(LatencyProfile::Measured),
        _ => Err(String::from("flat or measured")),
    }
}

async fn wait_for_stop(stdin_eof: bool) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = end_of_stdin(), if stdin_eof => {}
    }
    Ok(())
}

async fn end_of_stdin() -> std::io::Result<()> {
    let mut ignored = [0; 4096];
    while stdin().read(&mut ignored).await? > 0 {}
    Ok(())
}
