//! Configurations and protocol messages that plakar never sends: each is used or refused, and the
//! process never panics.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plakar_icloud::{config::Config, message};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

#[path = "../corpora/mod.rs"]
mod corpora;

/// The methods of each role, and one that does not exist.
const METHODS: [(&str, &[&str]); 3] = [
    (
        "importer",
        &[
            "importer.Importer/Init",
            "importer.Importer/Ping",
            "importer.Importer/Import",
            "importer.Importer/Open",
            "importer.Importer/Close",
            "importer.Importer/Other",
        ],
    ),
    (
        "exporter",
        &[
            "plakar.exporter.Exporter/Init",
            "plakar.exporter.Exporter/Ping",
            "plakar.exporter.Exporter/Export",
            "plakar.exporter.Exporter/Close",
        ],
    ),
    (
        "storage",
        &[
            "store.Store/Init",
            "store.Store/Create",
            "store.Store/Open",
            "store.Store/Ping",
            "store.Store/Mode",
            "store.Store/Size",
            "store.Store/List",
            "store.Store/Put",
            "store.Store/Get",
            "store.Store/Delete",
            "store.Store/Close",
        ],
    ),
];

/// How long a connector may take for its calls before the connection is closed.
const LONGEST_CALL: Duration = Duration::from_secs(2);
/// Frames of HTTP/2, and their flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A call with the messages of its stream.
type Call = (&'static str, Vec<Vec<u8>>);

proptest! {
    #[test]
    fn a_configuration_is_used_or_refused(text in corpora::changed("configuration")) {
        let text = String::from_utf8_lossy(&text);
        let map: HashMap<String, String> =
            text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect();
        if let Err(error) = Config::read(map) {
            let text = error.to_string();
            prop_assert!(!text.is_empty() && !message::printable(&text).contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_location_is_used_or_refused(location in "(icloud|rclone|Icloud|):?/{0,3}(photos)?[ -~\\PC%/.]{0,40}") {
        let map = HashMap::from([("location", location.as_str()), ("rclone_type", "memory"), ("account", "nobody")]);
        let map = map.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if let Ok(config) = Config::read(map) {
            prop_assert!(!config.top.to_string().split('/').any(|part| part == ".."), "{location:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.div_ceil(4)))]

    #[test]
    fn messages_are_used_or_refused((role, calls) in select(&METHODS[..]).prop_flat_map(|(role, methods)| {
        let messages = vec(corpora::changed("messages"), 1..4);
        (Just(role), vec((select(methods), messages), 1..6))
    })) {
        let stream = stream(&calls);
        let (status, stderr) = serve(role, &stream, calls.len());
        prop_assert!(status.is_some() && !stderr.contains("panicked"), "{status:?}: {stderr}");
    }
}

/// What the messages of the examples begin works, so that fuzzing reaches more than the first checks.
#[test]
fn the_examples_of_messages_are_used() {
    let message =
        |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/messages").join(name));
    let calls = [
        ("store.Store/Init", "init-store.bin"),
        ("store.Store/Create", "create.bin"),
        ("store.Store/Mode", "empty.bin"),
    ];
    let calls: Vec<Call> = calls.iter().map(|(method, name)| (*method, vec![message(name).unwrap()])).collect();
    let (status, stderr) = serve("storage", &stream(&calls), calls.len());
    assert_eq!((status, &*stderr), (Some(0), ""));
}

/// Runs a connector until it has ended every call, and then until it ends itself. Returns its exit
/// status, or none if a signal ended it, and stderr.
fn serve(role: &str, bytes: &[u8], calls: usize) -> (Option<i32>, String) {
    let home = TempDir::new().unwrap();
    let mut connector = Command::new(env!("CARGO_BIN_EXE_plakar-icloud"));
    connector.arg(role).env_clear().env("HOME", home.path()).env("TMPDIR", home.path()).current_dir(home.path());
    // Nothing listens there: a configuration that has become one of a service ends at once.
    connector.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let pipes = connector.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (tell, ended) = mpsc::channel();
    let reader = thread::spawn(move || {
        let _ = wait_for_calls(stdout, calls);
        let _ = tell.send(());
    });
    // It may end before it has read everything.
    let _ = stdin.write_all(bytes);
    // A call that waits for more messages ends when the connection does.
    let _ = ended.recv_timeout(LONGEST_CALL);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads the frames of a connection until that many calls, or the connection, have ended. Then reads
/// the rest.
fn wait_for_calls(mut stdout: impl Read, calls: usize) -> io::Result<()> {
    let mut ended = 0;
    while ended < calls {
        let mut head = [0; 9];
        stdout.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io::copy(&mut (&mut stdout).take(length.into()), &mut io::sink())?;
        match (head[3], head[4] & END_STREAM) {
            (GOAWAY, _) => break,
            (RST_STREAM, _) | (HEADERS, END_STREAM) => ended += 1,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the bytes of an HTTP/2 connection with these calls, each on a stream of its own.
fn stream(calls: &[Call]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        bytes.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        bytes.extend([kind, flags]);
        bytes.extend(id.to_be_bytes());
        bytes.extend(payload);
    };
    frame(SETTINGS, 0, 0, &[]);
    for (number, (method, messages)) in (0..).zip(calls) {
        let id = 2 * number + 1;
        let path = format!("/{method}");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "plakar"),
            (":path", &path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let mut headers = Vec::new();
        for (name, value) in fields {
            headers.push(0); // a literal that is not indexed
            for text in [name, value] {
                headers.push(u8::try_from(text.len()).unwrap());
                headers.extend(text.bytes());
            }
        }
        frame(HEADERS, END_HEADERS, id, &headers);
        for (place, message) in (1..).zip(messages) {
            // A frame has at most 16 KiB.
            let message = &message[..message.len().min(16_000)];
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let flags = if place == messages.len() { END_STREAM } else { 0 };
            frame(DATA, flags, id, &[&[0], &length[..], message].concat());
        }
    }
    bytes
}
