//! Pings to monitors, and metrics for Prometheus.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use icloud_simulator::RequestKind;
use plakar_host::{Backup, Options, Settings, until};
use tokio::net::TcpListener;

use crate::icloud::ICloud;

/// A monitor on this machine, which records the paths and texts of its pings.
struct Monitor {
    url: String,
    pings: Arc<Mutex<Vec<(String, String)>>>,
}

impl Monitor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/check", listener.local_addr().unwrap());
        let pings = Arc::<Mutex<Vec<(String, String)>>>::default();
        let received = Arc::clone(&pings);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let received = Arc::clone(&received);
                let service = service_fn(move |request: Request<Incoming>| {
                    let received = Arc::clone(&received);
                    async move {
                        let path = request.uri().path().to_owned();
                        let text = request.into_body().collect().await.unwrap().to_bytes();
                        received.lock().unwrap().push((path, String::from_utf8(text.to_vec()).unwrap()));
                        Ok::<_, Infallible>(Response::new(String::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        Self { url, pings }
    }

    /// Waits for a number of pings, and returns them in the order of their paths.
    async fn pings(&self, count: usize) -> Vec<(String, String)> {
        until(|| self.pings.lock().unwrap().len() >= count).await;
        let mut pings = std::mem::take(&mut *self.pings.lock().unwrap());
        pings.sort();
        pings
    }
}

/// Returns settings with a monitor and a file of metrics, whose path is returned as well.
fn monitored(icloud: &ICloud, monitor: &Monitor, location: &str) -> (Settings, std::path::PathBuf) {
    let file = icloud.host.surroundings().root().join("plakar.prom");
    let settings = icloud.settings(location).with("ping_url", &monitor.url);
    (settings.with("metrics_file", file.to_string_lossy()), file)
}

#[tokio::test]
async fn a_monitor_is_informed_of_the_start_and_the_end_of_a_run() {
    // Requests to addresses of this machine do not pass the proxy of the simulator.
    let (icloud, monitor) = (ICloud::new(), Monitor::start().await);
    icloud.furnish();
    let (settings, file) = monitored(&icloud, &monitor, "icloud:///docs");
    icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    let pings = monitor.pings(2).await;
    assert_eq!(pings.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/check", "/check/start"]);
    assert!(pings[0].1.starts_with("backup: 5 files"), "{pings:?}");
    let metrics = std::fs::read_to_string(&file).unwrap();
    let labels = r#"{kind="backup",account="user@example.com",location="/docs"}"#;
    for line in [format!("plakar_icloud_last_run_files{labels} 5"), format!("plakar_icloud_last_run_success{labels} 1")]
    {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    let last_success = |metrics: &str| {
        metrics.lines().find(|line| line.starts_with("plakar_icloud_last_success_time_seconds{")).map(str::to_owned)
    };

    icloud.fail_content("docs/b.txt", 404);
    icloud.simulator.reset_counts();
    icloud.host.backup(&settings, &Options::default(), Backup::first()).await.unwrap();
    let pings = monitor.pings(2).await;
    assert_eq!(pings.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/check/fail", "/check/start"]);
    assert!(pings[0].1.contains("1 failed"), "{pings:?}");
    let after = std::fs::read_to_string(&file).unwrap();
    assert!(after.contains(&format!("plakar_icloud_last_run_failed{labels} 1")), "{after}");
    assert!(last_success(&metrics).is_some() && last_success(&after) == last_success(&metrics), "{after}");
    assert!(icloud.count(RequestKind::List) > 0);
}

/// The monitor gets the reason of a failure, and the address stays out of all messages.
#[tokio::test]
async fn a_monitor_is_informed_why_a_run_failed() {
    let (icloud, monitor) = (ICloud::new(), Monitor::start().await);
    icloud.simulator.end_sessions(421);
    icloud.simulator.end_trust();
    let (settings, _) = monitored(&icloud, &monitor, "icloud:///docs");
    let importer = icloud.host.importer(&settings, &Options::default()).await.unwrap();
    let error = importer.import(Backup::first()).await.unwrap_err().to_string();
    assert!(!error.contains(&monitor.url), "{error}");
    let pings = monitor.pings(2).await;
    assert_eq!(pings.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/check/fail", "/check/start"]);
    assert!(pings[0].1.contains("sign in again"), "{pings:?}");
    assert!(!importer.connector().stderr().contains(&monitor.url));
}
