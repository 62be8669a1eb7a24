//! The proxy: the hosts it accepts, the protocols it supports, and its limits.

mod client;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Client, ROOT};
use icloud_simulator::{Config, Content, LatencyProfile, RequestKind, Simulator, ThrottleRules};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Sends a CONNECT, and returns the status line and the tunnel.
fn connect(simulator: &Simulator, host: &str) -> (String, BufReader<TcpStream>) {
    let address = simulator.proxy_url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    (status.trim().to_owned(), reader)
}

/// Returns the protocol that the simulator chooses for a host if a client offers both.
fn protocol(simulator: &Simulator, host: &'static str) -> String {
    let (_, reader) = connect(simulator, host);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(simulator.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(host).unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, reader.into_inner());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    String::from_utf8(stream.conn.alpn_protocol().unwrap_or_default().to_vec()).unwrap()
}

#[test]
fn only_apples_hosts_are_accepted() {
    let simulator = Simulator::start(Config::default()).unwrap();
    for host in ["idmsa.apple.com", "setup.icloud.com", "icloud.com", "cvws.icloud-content.com", "setup.icloud.com.cn"]
    {
        assert_eq!(connect(&simulator, host).0, "HTTP/1.1 200 OK", "{host}");
    }
    let refused = ["example.com", "notapple.com", "apple.com.example.com", "setup.icloud.com.cn.cn"];
    for host in refused {
        assert_eq!(connect(&simulator, host).0, "HTTP/1.1 403 Forbidden", "{host}");
    }
    assert_eq!(simulator.counts().of(RequestKind::RefusedHost), 4);
    let hosts: Vec<String> = simulator.requests().into_iter().map(|entry| entry.host).collect();
    assert_eq!(hosts, refused);
}

#[test]
fn http2_is_supported_except_for_uploads() {
    let simulator = Simulator::start(Config::default()).unwrap();
    assert_eq!(protocol(&simulator, "p123-drivews.icloud.com"), "h2");
    assert_eq!(protocol(&simulator, "p123-contentws.icloud.com"), "http/1.1");
    let config = Config { http1_hosts: vec![String::new()], ..Config::default() };
    let simulator = Simulator::start(config).unwrap();
    assert_eq!(protocol(&simulator, "p123-drivews.icloud.com"), "http/1.1");
}

#[test]
fn an_unknown_request_gets_404_and_is_counted() {
    let simulator = Simulator::start(Config::default()).unwrap();
    assert_eq!(Client::signed_in(&simulator).get("https://p123-drivews.icloud.com/nothing").status, 404);
    assert_eq!(simulator.counts().of(RequestKind::Unknown), 1);
}

#[test]
fn a_dropped_simulator_stops_serving() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let client = Client::signed_in(&simulator);
    assert_eq!(client.list_all(&[ROOT]).status, 200);
    drop(simulator);
    let url = "https://p123-drivews.icloud.com/retrieveItemDetailsInFolders";
    assert!(client.try_send(ureq::http::Method::POST, url, &[], b"[]").is_err());
}

#[test]
fn two_simulators_do_not_share_anything() {
    let first = Simulator::start(Config::default()).unwrap();
    let second = Simulator::start(Config { seed: 2, ..Config::default() }).unwrap();
    first.make_folders("a");
    let mut client = Client::signed_in(&second);
    assert!(client.list(ROOT).is_empty());
    client.cookies = first.mint_session().cookies;
    assert_eq!(client.list_all(&[ROOT]).status, 421);
}

#[test]
fn the_first_listing_after_a_write_is_slow_in_the_measured_profile() {
    let (simulator, client) = client::start();
    simulator.make_folders("a");
    simulator.rules(|rules| {
        rules.transport.latency_profile = LatencyProfile::Measured;
        rules.transport.latency_scale = 0.01;
    });
    let timed = |id: &str| {
        let begun = Instant::now();
        assert_eq!(client.list_all(&[id]).status, 200);
        begun.elapsed()
    };
    let folder = client.in_root("a");
    client.create_folder(client::id(&folder), "b");
    assert!(timed(client::id(&folder)) >= Duration::from_millis(300), "a listing after a write");
    assert!(timed("TRASH_ROOT") >= Duration::from_millis(300));
}

#[test]
fn a_connection_is_limited_to_its_own_rate() {
    let (simulator, client) = client::start();
    simulator.put_file("a", Content::Generated { seed: 1, size: 1 << 20 }, 0);
    let url = client.content_url(client::id(&client.in_root("a"))).json()["data_token"]["url"].clone();
    simulator.rules(|rules| rules.transport.content_rate_per_connection = 4 << 20);
    let begun = Instant::now();
    assert_eq!(client.get(url.as_str().unwrap()).body.len(), 1 << 20);
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_client_that_sends_too_many_requests_is_refused() {
    let (simulator, client) = client::start();
    simulator.rules(|rules| {
        rules.transport.throttle = ThrottleRules {
            calls_per_second: 1,
            burst: 2,
            penalty_ms: 3_600_000,
            status: 503,
            retry_after_seconds: Some(7),
        }
    });
    let statuses = || client.list_all(&[client::ROOT]);
    assert_eq!([statuses().status, statuses().status], [200, 200]);
    let refused = statuses();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "7"));
    assert_eq!(refused.json()["serverErrorCode"], "THROTTLED");
    assert_eq!(client.get(&format!("{}/validate", client::SETUP)).status, 200, "other hosts");
}
