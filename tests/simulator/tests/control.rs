//! The control interface and the program.

mod client;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use client::{Client, ROOT};
use icloud_simulator::{Config, RequestKind, Simulator};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Method, Request};

/// Sends a command to the control interface, and returns the status and the response.
fn control(base: &str, method: Method, command: &str, body: &[u8]) -> (u16, Value) {
    let agent: Agent = Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
    let request = Request::builder().method(method).uri(format!("{base}/control/{command}")).body(body).unwrap();
    let mut response = agent.run(request).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status().as_u16(), body)
}

fn post(base: &str, command: &str, body: &Value) -> Value {
    let (status, response) = control(base, Method::POST, command, body.to_string().as_bytes());
    assert_eq!(status, 200, "{command}: {response}");
    response
}

fn get(base: &str, command: &str) -> Value {
    let (status, response) = control(base, Method::GET, command, b"");
    assert_eq!(status, 200, "{command}: {response}");
    response
}

#[test]
fn commands_fill_change_and_read_the_drive() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let base = simulator.proxy_url();
    assert_eq!(control(&base, Method::PUT, "file?path=a/b.txt&modified_ms=5000", b"hello").0, 200);
    post(&base, "generated", &json!({ "path": "large", "seed": 1, "size": 1000 }));
    post(&base, "package", &json!({ "path": "p.key", "entries": { "x": "y" }, "listed_size": 9 }));
    post(&base, "folder", &json!({ "path": "empty" }));
    post(&base, "app-library", &json!({ "name": "Pages", "zone": "com.apple.Pages" }));
    post(&base, "seed", &json!({ "prefix": "s", "files": 2, "folders": 1, "size": 10 }));
    post(&base, "share", &json!({ "path": "s" }));
    let paths: Vec<String> =
        get(&base, "tree").as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect();
    let expected = ["Pages", "a", "a/b.txt", "empty", "large", "p.key", "s", "s/folder-000"];
    assert_eq!(paths[..8], expected);
    assert_eq!(get(&base, "file?path=a/b.txt"), "hello");

    post(&base, "mutate", &json!({ "path": "a/b.txt", "change": "write", "text": "new", "modified_ms": 6000 }));
    assert_eq!(get(&base, "file?path=a/b.txt"), "new");
    post(&base, "mutate", &json!({ "path": "a/b.txt", "change": "rename", "to": "c.txt" }));
    post(&base, "mutate", &json!({ "path": "c.txt", "change": "trash" }));
    assert_eq!(get(&base, "trash")[0]["path"], "TRASH_ROOT/c.txt");
    assert_eq!(control(&base, Method::POST, "mutate", br#"{"path":"no","change":"touch"}"#).0, 404);
}

#[test]
fn new_rules_are_merged_and_invalid_ones_are_refused() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let base = simulator.proxy_url();
    post(&base, "rules", &json!({ "account": { "code": "222222" } }));
    post(&base, "rules", &json!({ "drive": { "max_batch": 1, "over_batch": "first-only" } }));
    let rules = get(&base, "rules");
    assert_eq!((&rules["drive"]["max_batch"], &rules["account"]["code"]), (&json!(1), &json!("222222")));
    assert_eq!(control(&base, Method::POST, "rules", br#"{"drive":{"max_batch":"many"}}"#).0, 400);
}

#[test]
fn a_minted_session_works_until_it_is_ended() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let base = simulator.proxy_url();
    let session = post(&base, "session/mint", &json!(null));
    assert_eq!((&session["apple_id"], &session["password"]), (&json!("user@example.com"), &json!("correct horse")));
    let mut client = Client::new(&simulator);
    client.cookies = session["cookies"].as_str().unwrap().to_owned();
    assert_eq!(client.list_all(&[ROOT]).status, 200);
    post(&base, "session/end", &json!({ "status": 401 }));
    assert_eq!(client.list_all(&[ROOT]).status, 401);
}

#[test]
fn commands_control_faults_gates_and_counts() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let base = simulator.proxy_url();
    let client = Client::signed_in(&simulator);
    let fault = json!({ "kind": "list", "times": 1, "action": { "do": "status", "status": 503 } });
    let id = post(&base, "faults", &fault)["id"].clone();
    post(&base, "faults", &json!({ "action": { "do": "hold", "gate": "g", "at": { "body": 1 } } }));
    post(&base, "gates/release", &json!({ "gate": "g" }));
    assert_eq!(client.list_all(&[ROOT]).status, 503);
    assert_eq!(client.list_all(&[ROOT]).status, 200);
    assert_eq!(get(&base, "faults")[id.to_string()], 1);
    assert_eq!(post(&base, "wait", &json!({ "kind": "list", "n": 2 }))["requests"], 2);
    assert_eq!(control(&base, Method::POST, "wait", br#"{"kind":"list","n":3,"timeout_ms":0}"#).0, 408);
    assert_eq!(get(&base, "requests?kind=list").as_array().unwrap().len(), 2);
    assert_eq!(get(&base, "counts")["kinds"]["list"]["requests"], 2);
    assert_eq!(control(&base, Method::DELETE, "faults", b"").0, 200);
    assert_eq!(get(&base, "faults"), json!({}));
    post(&base, "counts/reset", &json!(null));
    assert_eq!(simulator.counts().of(RequestKind::List), 0);
}

#[test]
fn a_command_moves_the_clock_and_an_unknown_command_is_refused() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let base = simulator.proxy_url();
    post(&base, "clock", &json!({ "advance_seconds": 60 }));
    assert_eq!(post(&base, "clock", &json!({ "advance_seconds": 60 }))["offset_seconds"], 120);
    assert_eq!(post(&base, "clock", &json!({ "offset_seconds": 5 }))["offset_seconds"], 5);
    let (status, response) = control(&base, Method::GET, "nothing", b"");
    assert_eq!((status, &response["error"]), (404, &json!("no control command GET nothing")));
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_prints_its_url_and_stops_at_the_end_of_its_input() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (ca, ready) = (folder.join("ca.pem"), folder.join("ready"));
    let mut program = Program(
        Command::new(env!("CARGO_BIN_EXE_icloud-simulator"))
            .args(["--stdin-eof", "--seed-files", "3", "--seed-folders", "2", "--seed-size", "7", "--code", "111111"])
            .arg("--ca-file")
            .arg(&ca)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut url = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let url = url.trim();
    assert_eq!(get(url, "ca.pem").as_str(), std::fs::read_to_string(&ca).ok().as_deref());
    let files =
        get(url, "tree").as_array().unwrap().iter().filter(|item| item["size"] == 7 && item["folder"] == false).count();
    assert_eq!((files, &get(url, "rules")["account"]["code"]), (3, &json!("111111")));
    drop(program.0.stdin.take());
    assert!(program.0.wait().unwrap().success());
}
