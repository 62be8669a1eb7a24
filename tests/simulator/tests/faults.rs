//! Faults, gates and the journal.

mod client;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use client::{Client, DRIVE, ROOT, id, start};
use icloud_simulator::{Config, Content, FaultAction, FaultRule, HoldAt, OddListing, RequestKind, Simulator};
use serde_json::{Value, json};
use ureq::http::Method;

const LONG: Duration = Duration::from_secs(60);

fn status(status: u16) -> FaultAction {
    FaultAction::Status {
        status,
        body: String::new(),
        headers: [(String::from("retry-after"), String::from("7"))].into(),
    }
}

fn content_url(simulator: &Simulator, client: &Client) -> String {
    simulator.put_file("digits", b"0123456789"[..].into(), 0);
    let item = client.in_root("digits");
    client.content_url(item["drivewsid"].as_str().unwrap()).json()["data_token"]["url"].as_str().unwrap().to_owned()
}

#[test]
fn a_rule_skips_requests_and_then_applies_a_number_of_times() {
    let (simulator, client) = start();
    let id = simulator.add_fault(FaultRule::new(RequestKind::List, status(503)).skip(1).times(2));
    let replies: Vec<_> = (0..4).map(|_| client.list_all(&[ROOT])).collect();
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 503, 503, 200]);
    assert_eq!(replies[1].header("retry-after"), "7");
    assert_eq!(simulator.faults_applied()[&id], 2);
}

#[test]
fn a_rule_matches_paths_ids_and_names() {
    let (simulator, client) = start();
    simulator.put_file("a/one.txt", b"1"[..].into(), 0);
    simulator.put_file("a/two.txt", b"2"[..].into(), 0);
    let folder = client.in_root("a");
    let items = client.list(folder["drivewsid"].as_str().unwrap());
    simulator.add_fault(FaultRule::new(RequestKind::ById, status(503)).matching("a/two.txt"));
    let by_id = |index: usize| client.content_url(items[index]["drivewsid"].as_str().unwrap()).status;
    assert_eq!((by_id(0), by_id(1)), (200, 503));
    simulator.add_fault(FaultRule::any(status(500)).matching("new name"));
    assert_eq!(client.upload_web("com.apple.CloudDocs", "new name.txt", 1).status, 500);
}

#[test]
fn the_same_seed_gives_the_same_random_faults() {
    let seen = |seed: u64| {
        let simulator = Simulator::start(Config { seed, ..Config::default() }).unwrap();
        let client = Client::signed_in(&simulator);
        simulator.add_fault(FaultRule::any(status(503)).probability(0.5));
        (0..20).map(|_| client.list_all(&[ROOT]).status).collect::<Vec<_>>()
    };
    let first = seen(1);
    assert_eq!(first, seen(1));
    assert_ne!(first, seen(2));
    assert!(first.contains(&200) && first.contains(&503));
}

#[test]
fn a_reset_before_has_no_effect_and_a_reset_after_has() {
    let (simulator, client) = start();
    let actions =
        [(FaultAction::ResetBefore, 0, true), (FaultAction::ResetStream, 0, false), (FaultAction::ResetAfter, 1, true)];
    for (action, folders, whole_connection) in actions {
        let id = simulator.add_fault(FaultRule::new(RequestKind::CreateFolders, action));
        let body = json!({ "destinationDrivewsId": ROOT, "folders": [{ "clientId": "x", "name": "new" }] });
        let url = "https://p123-drivews.icloud.com/createFolders";
        let sent = client.try_send(ureq::http::Method::POST, url, &[], body.to_string().as_bytes());
        let reset = matches!(&sent, Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset);
        assert_eq!((sent.is_err(), reset), (true, whole_connection));
        assert_eq!(simulator.snapshot().len(), folders);
        assert_eq!(simulator.requests().last().unwrap().status, None);
        simulator.remove_fault(id);
    }
    assert_eq!(client.list(ROOT).len(), 1);
}

#[test]
fn bodies_can_be_truncated_lengthened_and_corrupted() {
    let (simulator, client) = start();
    let url = content_url(&simulator, &client);
    let spoiled = |action: FaultAction| {
        let id = simulator.add_fault(FaultRule::new(RequestKind::ContentGet, action));
        let reply = client.try_send(ureq::http::Method::GET, &url, &[], b"");
        simulator.remove_fault(id);
        reply.map(|reply| reply.body).ok()
    };
    assert_eq!(spoiled(FaultAction::Truncate { bytes: 4, clean: true }).unwrap(), b"0123");
    assert_eq!(spoiled(FaultAction::Truncate { bytes: 4, clean: false }), None);
    assert_eq!(simulator.requests().last().unwrap().bytes_out, 4);
    assert_eq!(spoiled(FaultAction::Overlong { bytes: 3 }).unwrap(), b"0123456789+++");
    assert_eq!(
        spoiled(FaultAction::WrongByte { offset: 2 }).unwrap(),
        [b'0', b'1', !b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9']
    );
}

#[test]
fn responses_can_be_replaced() {
    let (simulator, client) = start();
    let page = simulator.add_fault(FaultRule::new(RequestKind::List, FaultAction::HtmlPage { status: 200 }));
    let reply = client.list_all(&[ROOT]);
    assert!(reply.status == 200 && reply.body.starts_with(b"<!DOCTYPE html>"));
    simulator.remove_fault(page);
    let text = String::from("[{\"items\":null}");
    simulator.add_fault(FaultRule::new(
        RequestKind::CreateFolders,
        FaultAction::Replace { text: text.clone(), effect: true },
    ));
    assert!(client.create_folder(ROOT, "new").is_null());
    assert_eq!(simulator.snapshot().len(), 1);
    simulator.clear_faults();
    simulator.add_fault(FaultRule::new(RequestKind::List, FaultAction::Replace { text, effect: false }));
    assert_eq!(client.list_all(&[ROOT]).body, b"[{\"items\":null}");
}

#[test]
fn a_gate_holds_a_request_before_its_effect_after_it_and_within_the_body() {
    let (simulator, client) = start();
    for (at, folders) in [(HoldAt::Arrival, 0), (HoldAt::Answer, 1)] {
        simulator.reset_counts();
        let action = FaultAction::Hold { gate: String::from("gate"), at };
        let rule = simulator.add_fault(FaultRule::new(RequestKind::CreateFolders, action));
        let (created, held) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| client.create_folder(ROOT, "new"));
            simulator.wait_for_blocking(RequestKind::CreateFolders, 1, LONG).unwrap();
            while simulator.faults_applied()[&rule] == 0 || simulator.snapshot().len() < folders {
                std::thread::yield_now();
            }
            let held = (simulator.snapshot().len(), simulator.counts().total.in_flight);
            simulator.release("gate");
            (waiting.join().unwrap(), held)
        });
        assert_eq!(held, (folders, 1), "{at:?}");
        assert_eq!(created["status"], "OK");
        simulator.clear_faults();
        simulator.close_gate("gate");
        simulator.mutate("new", icloud_simulator::Mutation::Erase).unwrap();
    }

    let url = content_url(&simulator, &client);
    let action = FaultAction::Hold { gate: String::from("gate"), at: HoldAt::Body(4) };
    simulator.add_fault(FaultRule::new(RequestKind::ContentGet, action));
    simulator.reset_counts();
    let mut body = client.open(&url);
    let mut bytes = [0; 4];
    body.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, simulator.counts().total.in_flight), (b"0123", 1));
    simulator.release("gate");
    assert_eq!(std::io::read_to_string(body).unwrap(), "456789");
}

#[test]
fn a_later_rule_applies_to_a_held_request_too() {
    let (simulator, client) = start();
    let hold = FaultAction::Hold { gate: String::from("open"), at: HoldAt::Arrival };
    simulator.release("open");
    simulator.add_fault(FaultRule::any(hold));
    simulator.add_fault(FaultRule::any(status(429)));
    assert_eq!(client.list_all(&[ROOT]).status, 429);
}

#[test]
fn the_maximum_number_of_requests_in_flight_is_counted() {
    let (simulator, client) = start();
    let hold = FaultAction::Hold { gate: String::from("gate"), at: HoldAt::Arrival };
    simulator.add_fault(FaultRule::new(RequestKind::List, hold));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| client.list_all(&[ROOT]).status);
        }
        simulator.wait_for_blocking(RequestKind::List, 3, LONG).unwrap();
        simulator.release("gate");
    });
    let counts = simulator.counts();
    assert_eq!((counts.total.max_in_flight, counts.total.requests), (3, 3));
    assert_eq!(counts.kinds[&RequestKind::List].max_in_flight, 3);
    simulator.reset_counts();
    assert_eq!(simulator.counts().total.requests, 0);
    assert!(simulator.requests().is_empty());
}

#[test]
fn the_journal_has_the_kind_subjects_status_and_sizes_of_a_request() {
    let (simulator, client) = start();
    let url = content_url(&simulator, &client);
    client.get(&url);
    simulator.wait_for_blocking(RequestKind::ContentGet, 1, LONG).unwrap();
    let entries = simulator.requests();
    let by_id = entries.iter().find(|entry| entry.kind == RequestKind::ById).unwrap();
    assert!(by_id.subjects.iter().any(|subject| subject == "digits"));
    let get = entries.iter().find(|entry| entry.kind == RequestKind::ContentGet).unwrap();
    assert_eq!((get.status, get.method.as_str(), get.subjects.last().unwrap().as_str()), (Some(200), "GET", "digits"));
    assert!(simulator.counts().kinds[&RequestKind::List].bytes_in > 0);
}

#[test]
fn a_wait_that_times_out_returns_the_number_of_requests_that_arrived() {
    let (simulator, _client) = start();
    let error = simulator.wait_for_blocking(RequestKind::List, 1, Duration::ZERO).unwrap_err();
    assert_eq!((error.seen, error.wanted), (0, 1));
}

#[test]
fn a_stall_lasts_until_the_client_disconnects() {
    let (simulator, client) = start();
    for at in [HoldAt::Arrival, HoldAt::Answer, HoldAt::Body(10)] {
        let fault = simulator.add_fault(FaultRule::new(RequestKind::CreateFolders, FaultAction::Stall { at }));
        let body = json!({ "destinationDrivewsId": ROOT, "folders": [{ "clientId": "x", "name": format!("{at:?}") }] });
        let patient = client.with_timeout(&simulator, Duration::from_millis(300));
        let url = format!("{DRIVE}/createFolders");
        let sent =
            patient.try_send(Method::POST, &url, &[("content-type", "application/json")], body.to_string().as_bytes());
        assert!(sent.is_err(), "{at:?}");
        assert_eq!(client.in_root(&format!("{at:?}")).is_null(), at == HoldAt::Arrival);
        simulator.remove_fault(fault);
    }
    let in_flight = || simulator.counts().kinds[&RequestKind::CreateFolders].in_flight;
    while in_flight() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn html_pages_and_empty_bodies_can_have_any_status() {
    let (simulator, client) = start();
    for status in [200, 401, 409, 503] {
        let page = simulator.add_fault(FaultRule::new(RequestKind::List, FaultAction::HtmlPage { status }).times(1));
        let reply = client.list_all(&[ROOT]);
        assert_eq!((reply.status, reply.body.starts_with(b"<!DOCTYPE html>")), (status, true));
        simulator.remove_fault(page);
        let empty = FaultAction::Status { status, body: String::new(), headers: BTreeMap::new() };
        simulator.add_fault(FaultRule::new(RequestKind::List, empty).times(1));
        let reply = client.list_all(&[ROOT]);
        assert_eq!((reply.status, reply.body.len()), (status, 0));
    }
}

#[test]
fn a_body_can_be_sent_slowly() {
    let (simulator, client) = start();
    simulator.add_fault(FaultRule::new(RequestKind::List, FaultAction::Drip { bytes_per_second: 1_000_000 }));
    assert_eq!(client.list_all(&[ROOT]).json()[0]["status"], "OK");
    simulator.put_file("a", Content::Generated { seed: 1, size: 100_000 }, 0);
    simulator.add_fault(FaultRule::new(RequestKind::ContentGet, FaultAction::Drip { bytes_per_second: 500_000 }));
    let item = client.in_root("a");
    let begun = Instant::now();
    assert_eq!(client.download(id(&item)).len(), 100_000);
    assert!(begun.elapsed() >= Duration::from_millis(190));
}

#[test]
fn listings_can_be_malformed() {
    let (simulator, client) = start();
    simulator.put_file("a/b/c.txt", b"x"[..].into(), 0);
    let a = client.in_root("a");
    let listing = |odd: OddListing| {
        let action = FaultAction::OddListing { folder: Some(String::from("a")), odd };
        simulator.add_fault(FaultRule::new(RequestKind::List, action).times(1));
        let listings = client.list_all(&[ROOT, id(&a)]).json();
        assert_eq!(listings[0]["items"].as_array().unwrap().len(), 1, "the other folder");
        listings[1].clone()
    };
    assert!(listing(OddListing::WithoutItems).get("items").is_none());
    assert_eq!(listing(OddListing::NullItems).get("items"), Some(&Value::Null));
    let cycle = listing(OddListing::Folder(String::from("a")));
    assert_eq!((&cycle["numberOfItems"], &cycle["items"][1]["drivewsid"]), (&json!(2), &a["drivewsid"]));
    assert_eq!(listing(OddListing::Folder(String::new()))["items"][1]["drivewsid"], ROOT);
    let odd = listing(OddListing::Item(json!({ "size": -1, "name": 5, "etag": null })));
    let odd = &odd["items"][1];
    assert_eq!((&odd["size"], &odd["name"], odd.get("etag")), (&json!(-1), &json!(5), None));
    assert_eq!(listing(OddListing::Item(json!("no object")))["items"][1], "no object");
}
