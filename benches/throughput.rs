//! Measures the share of the transport's rate that a backup of one large file reaches.
//!
//! The same host reads the same number of bytes alternately from two sources: from a file of a
//! local remote through the importer, and from memory through a server that has the importer's
//! connection and nothing behind it. Fails below 60 %.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plakar_host::{Backup, Connector, Executable, Host, Importer, Keep, Options, Settings, Surroundings};
use plakar_icloud::connector::StdioPipes;
use plakar_protocol::connectors::{FileInfo, Record};
use plakar_protocol::importer::{
    CloseRequest, CloseResponse, ImportRequest, ImportResponse, InitRequest, InitResponse, OpenRequest, OpenResponse,
    PingRequest, PingResponse, importer_server,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// The allocator of the program, so that both sides use the same one.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The size of the file.
const SIZE: u64 = 512 * 1024 * 1024;
/// plakar's connectors send content in pieces of this size.
const PIECE: usize = 1024 * 1024;
/// How often each source is read.
const ROUNDS: usize = 5;
/// The share that must be reached.
const LEAST: f64 = 0.6;
/// The argument that makes this program the server.
const SERVE: &str = "serve-from-memory";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let serve = std::env::args().nth(1).is_some_and(|argument| argument == SERVE);
    let result = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run(serve)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: bool) -> Result<bool, Failure> {
    if serve {
        return serve_from_memory().await.map(|()| true);
    }
    let folder = tempfile::tempdir()?;
    write_file(&folder.path().join("large.bin"))?;
    let host = Host::new(Executable::with_role_argument(env!("CARGO_BIN_EXE_plakar-icloud")), Surroundings::new()?);
    let settings = Settings::new(&format!("rclone://{}", folder.path().display())).with("rclone_type", "local");
    let (mut plain, mut local) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(time(from_memory().await?).await?);
        local.push(time(host.importer(&settings, &Options::default()).await?).await?);
    }
    let (plain, local) = (rate(&mut plain), rate(&mut local));
    let share = local / plain;
    let mut out = io::stdout();
    writeln!(out, "{} MiB, the median of {ROUNDS} rounds each", SIZE / 1024 / 1024)?;
    writeln!(out, "  from memory           {plain:6.0} MiB/s")?;
    writeln!(
        out,
        "  from a local remote   {local:6.0} MiB/s   {:.0} % (at least {:.0} %)",
        share * 100.0,
        LEAST * 100.0
    )?;
    Ok(share >= LEAST)
}

fn write_file(path: &std::path::Path) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let piece: Vec<u8> = (0..PIECE).map(|n| n.to_le_bytes()[0]).collect();
    (0..SIZE / PIECE as u64).try_for_each(|_| file.write_all(&piece))
}

/// Measures the import of the file.
async fn time(importer: Importer) -> Result<Duration, Failure> {
    let start = Instant::now();
    let snapshot = importer.import(Backup { keep: Keep::Size, ..Backup::first() }).await?;
    let taken = start.elapsed();
    if snapshot.bytes() != SIZE || !snapshot.errors.is_empty() {
        return Err(format!("received {} of {SIZE} bytes, with {:?}", snapshot.bytes(), snapshot.errors).into());
    }
    importer.close().await?;
    importer.into_connector().leave().await?;
    Ok(taken)
}

/// Returns the median rate in MiB a second.
fn rate(times: &mut [Duration]) -> f64 {
    times.sort();
    SIZE as f64 / (1024.0 * 1024.0) / times[times.len() / 2].as_secs_f64()
}

/// Starts this program as the server, with the host.
async fn from_memory() -> Result<Importer, Failure> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.arg(SERVE);
    let connector = Connector::start(command).await?;
    Ok(Importer::init(connector, &Settings::new("memory://"), &Options::default()).await?)
}

async fn serve_from_memory() -> Result<(), Failure> {
    let (connection, closed) = StdioPipes::take()?.connect()?;
    let incoming = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
    let serving = Server::builder()
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(1024 * 1024 * 1024)
        .add_service(importer_server::ImporterServer::new(Memory))
        .serve_with_incoming(incoming);
    tokio::select! {
        served = serving => Ok(served?),
        _ = closed => Ok(()),
    }
}

/// An importer of one file that repeats the same piece.
struct Memory;

type Records = ReceiverStream<Result<ImportResponse, Status>>;
type Pieces = ReceiverStream<Result<OpenResponse, Status>>;

#[tonic::async_trait]
impl importer_server::Importer for Memory {
    type ImportStream = Records;
    type OpenStream = Pieces;

    async fn init(&self, _: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        Ok(Response::new(InitResponse { root: "/".to_owned(), ..InitResponse::default() }))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        Ok(Response::new(PingResponse {}))
    }

    async fn import(&self, request: Request<Streaming<ImportRequest>>) -> Result<Response<Records>, Status> {
        let (records, stream) = mpsc::channel(2);
        let file_info = FileInfo { name: "large.bin".to_owned(), size: SIZE.cast_signed(), ..FileInfo::default() };
        let record = Record { pathname: "/large.bin".to_owned(), file_info: Some(file_info), ..Record::default() };
        tokio::spawn(async move {
            // Sending fails if the host has closed the connection; the acks then end too.
            let _ = records.send(Ok(ImportResponse { record: Some(record), finished: false })).await;
            let _ = records.send(Ok(ImportResponse { record: None, finished: true })).await;
            let mut acknowledgements = request.into_inner();
            while let Ok(Some(_)) = acknowledgements.message().await {}
        });
        Ok(Response::new(Records::new(stream)))
    }

    async fn open(&self, _: Request<OpenRequest>) -> Result<Response<Pieces>, Status> {
        // The content has its own thread, as in the connectors.
        let (pieces, stream) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let piece = Bytes::from(vec![7; PIECE]);
            let count = SIZE / PIECE as u64;
            (0..count).all(|_| pieces.blocking_send(Ok(OpenResponse { chunk: piece.clone() })).is_ok())
        });
        Ok(Response::new(Pieces::new(stream)))
    }

    async fn close(&self, _: Request<CloseRequest>) -> Result<Response<CloseResponse>, Status> {
        Ok(Response::new(CloseResponse {}))
    }
}
