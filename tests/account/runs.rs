//! The last runs of an account.

use icloud_simulator::Content;
use plakar_host::{Backup, Options, Settings};

use crate::person::Person;

#[tokio::test]
async fn the_last_runs_are_shown() {
    let person = Person::signed_in();
    let none = person.run(&["last"]).ends(0);
    assert!(none.stderr.contains("No run"), "{none:?}");
    assert_eq!(person.run(&["last", "--json"]).ends(0).json(), serde_json::json!([]));
    person.simulator.put_file("a.txt", Content::from(&b"hello"[..]), 1_700_000_000_000);
    let host = person.host();
    let first = host.backup(&Settings::new("icloud://"), &Options::default(), Backup::first()).await.unwrap();
    host.backup(&Settings::new("icloud://"), &Options::default(), Backup::after(&first)).await.unwrap();
    let exported = host.restore(&Settings::new("icloud:///to"), &Options::default(), &first.restore("/")).await;
    exported.unwrap().end.unwrap();
    host.backup(&Settings::new("icloud:///missing"), &Options::default(), Backup::first()).await.unwrap_err();
    let runs = person.run(&["last", "--json"]).ends(0).json();
    let of = |name: &str| runs.as_array().unwrap().iter().map(|run| run[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["backup", "backup", "restore", "backup"]);
    assert_eq!(of("result"), ["complete", "complete", "complete", "failed"]);
    assert_eq!(of("unchanged"), [0, 1, 0, 0]);
    assert_eq!(of("account"), ["icloud"; 4]);
    let shown = person.run(&["last", "-n", "2"]).ends(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(matches!(lines[..], [restore, failed]
        if restore.contains("restore complete /to: 1 file and ") && failed.contains("failed") && failed.contains("/missing")));
    person.run(&["logout"]).ends(0);
    assert!(!person.state().join("runs").read_dir().is_ok_and(|mut left| left.next().is_some()));
}
