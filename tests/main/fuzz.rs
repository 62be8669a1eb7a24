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

/// A role of a connector: its name, a message that initialises it, and its methods, each with an example of
/// a message.
type Role = (&'static str, Call, &'static [Call]);
/// A method and the name of an example.
type Call = (&'static str, &'static str);

const ROLES: [Role; 3] = [
    (
        "importer",
        ("importer.Importer/Init", "init.bin"),
        &[
            ("importer.Importer/Init", "init-refused.bin"),
            ("importer.Importer/Ping", "empty.bin"),
            ("importer.Importer/Import", "result.bin"),
            ("importer.Importer/Open", "record.bin"),
            ("importer.Importer/Close", "empty.bin"),
            ("importer.Importer/Other", "empty.bin"), // does not exist
        ],
    ),
    (
        "exporter",
        ("plakar.exporter.Exporter/Init", "init.bin"),
        &[
            ("plakar.exporter.Exporter/Ping", "empty.bin"),
            ("plakar.exporter.Exporter/Export", "record.bin"),
            ("plakar.exporter.Exporter/Export", "record-bare.bin"),
            ("plakar.exporter.Exporter/Export", "record-folder.bin"),
            ("plakar.exporter.Exporter/Export", "chunk.bin"),
            ("plakar.exporter.Exporter/Close", "empty.bin"),
        ],
    ),
    (
        "storage",
        ("store.Store/Init", "init-store.bin"),
        &[
            ("store.Store/Create", "create.bin"),
            ("store.Store/Open", "empty.bin"),
            ("store.Store/Ping", "empty.bin"),
            ("store.Store/Mode", "empty.bin"),
            ("store.Store/Size", "empty.bin"),
            ("store.Store/List", "list.bin"),
            ("store.Store/Put", "put.bin"),
            ("store.Store/Get", "get.bin"),
            ("store.Store/Delete", "get.bin"),
            ("store.Store/Close", "empty.bin"),
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
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A call with the messages of its stream.
type Sent = (&'static str, Vec<Vec<u8>>);

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
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.div_ceil(2)))]

    #[test]
    fn messages_are_used_or_refused((role, calls) in select(&ROLES[..]).prop_flat_map(sent)) {
        let (status, stderr) = serve(role, &calls);
        prop_assert!(status.is_some() && !stderr.contains("panicked"), "{status:?}: {stderr}");
    }
}

/// Returns a strategy for the calls of a connection. Most are initialised, and most messages are those of
/// their method with some changes, so that they reach more than the first checks.
fn sent((role, (init, first), calls): Role) -> impl Strategy<Value = (&'static str, Vec<Sent>)> {
    let calls: Vec<_> = calls
        .iter()
        .map(|(method, name)| {
            let own = corpora::changed(&format!("messages/{name}"));
            let message = prop_oneof![3 => own, 1 => corpora::changed("messages")];
            (Just(*method), vec(message, 1..4)).boxed()
        })
        .collect();
    let first: Sent = (init, Vec::from([example(first)]));
    let second = corpora::changed("messages").prop_map(move |message| (init, Vec::from([message])));
    let start = prop_oneof![3 => Just(first), 1 => second];
    (start, vec(proptest::strategy::Union::new(calls), 1..6)).prop_map(move |(start, mut calls)| {
        calls.insert(0, start);
        (role, calls)
    })
}

/// Returns an example of a message.
fn example(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/messages").join(name)).unwrap()
}

/// What the messages of the examples begin works, so that fuzzing reaches more than the first checks.
#[test]
fn the_examples_of_messages_are_used() {
    let calls = [
        ("store.Store/Init", "init-store.bin"),
        ("store.Store/Create", "create.bin"),
        ("store.Store/Mode", "empty.bin"),
    ];
    let calls: Vec<Sent> = calls.iter().map(|(method, name)| (*method, Vec::from([example(name)]))).collect();
    let (status, stderr) = serve("storage", &calls);
    assert_eq!((status, &*stderr), (Some(0), ""));
}

/// Runs a connector. Sends the first call, and when it has ended, the others. When these have ended, closes
/// the connection. Returns the exit status, or none if a signal ended the connector, and stderr.
fn serve(role: &str, calls: &[Sent]) -> (Option<i32>, String) {
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
        let _ = tell_of_ends(stdout, &tell);
    });
    let parts = stream(calls);
    for part in [&parts[..1], &parts[1..]] {
        // It may end before it has read everything.
        let _ = stdin.write_all(&part.concat());
        // A call that waits for more messages ends when the connection does.
        let _ = part.iter().try_for_each(|_| ended.recv_timeout(LONGEST_CALL));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads the frames of a connection to its end, and sends a message for each call that ends.
fn tell_of_ends(mut stdout: impl Read, tell: &mpsc::Sender<()>) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        stdout.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io::copy(&mut (&mut stdout).take(length.into()), &mut io::sink())?;
        if let (RST_STREAM, _) | (HEADERS, END_STREAM) = (head[3], head[4] & END_STREAM) {
            let _ = tell.send(());
        }
    }
}

/// Returns the bytes of an HTTP/2 connection with these calls, each on a stream of its own, in a part for
/// each call.
fn stream(calls: &[Sent]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let frame = |bytes: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]| {
        bytes.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        bytes.extend([kind, flags]);
        bytes.extend(id.to_be_bytes());
        bytes.extend(payload);
    };
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
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
        frame(&mut bytes, HEADERS, END_HEADERS, id, &headers);
        for (place, message) in (1..).zip(messages) {
            // A frame has at most 16 KiB.
            let message = &message[..message.len().min(16_000)];
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let flags = if place == messages.len() { END_STREAM } else { 0 };
            frame(&mut bytes, DATA, flags, id, &[&[0], &length[..], message].concat());
        }
        parts.push(std::mem::take(&mut bytes));
    }
    parts
}
