//! Early warnings that a sign-in will be needed.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use icloud_simulator::{Content, RequestKind};
use plakar_host::{Backup, Host, Importer, Options, PATIENCE, Settings};

use crate::person::Person;

const DAY: i64 = 24 * 60 * 60;

/// Returns the RFC 3339 time this many days ago.
fn days_ago(days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = format!("@{}", i64::try_from(now).unwrap() - days * DAY);
    let date = Command::new("date").args(["-u", "-d", &then, "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// A monitor reads the first word and the exit code.
#[test]
fn a_monitor_gets_one_line() {
    let monitored = |person: &Person, more: &[&str], code, begins: &str| {
        let ran = person.run(&[&["status", "--check"], more].concat()).ends(code);
        assert!(ran.stdout.starts_with(begins) && ran.stdout.lines().count() == 1, "{ran:?}");
    };
    monitored(&Person::new(), &[], 1, "critical: not signed in");
    let person = Person::signed_in();
    monitored(&person, &[], 0, "ok: account icloud: 30 days of trust left");
    monitored(&person, &["--offline"], 0, "ok: account icloud: 30 days of trust left");
    person.change_session(|session| session["trusted_at"] = days_ago(25).into());
    monitored(&person, &[], 11, "warning: account icloud: 5 days of trust left. Next: run plakar-icloud login icloud");
    monitored(&person, &["--warn-days", "2"], 0, "ok: ");
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    monitored(&person, &[], 10, "critical: account icloud: Apple no longer trusts this machine");
    monitored(&person, &["--offline"], 10, "critical: account icloud: Apple no longer trusts this machine");
}

/// Instead of the clock of the machine, the test changes the start of the trust and the clock of the
/// simulator, so that its sessions end.
#[tokio::test]
async fn a_month_of_daily_backups_needs_no_code() {
    let person = Person::signed_in();
    person.simulator.put_file("a.txt", Content::from(&b"a"[..]), 1_700_000_000_000);
    let host = person.host();
    let mut told = Vec::new();
    for day in 0..30 {
        person.change_session(|session| session["trusted_at"] = days_ago(day).into());
        let importer = importer(&host, "true").await;
        let snapshot = importer.import(Backup::first()).await.unwrap();
        assert_eq!((snapshot.contents().len(), snapshot.errors.len()), (1, 0), "day {day}");
        let mut connector = importer.into_connector();
        connector.hang_up();
        connector.wait(PATIENCE).await.unwrap();
        let stderr = connector.stderr();
        // The last line is the summary of the backup.
        let (forecast, summary): (Vec<&str>, Vec<&str>) =
            stderr.lines().partition(|line| line.contains("run plakar-icloud login icloud"));
        assert_eq!(summary.len(), 1, "day {day}: {stderr}");
        assert!(forecast.len() <= 1, "day {day}: {stderr}");
        if !forecast.is_empty() {
            told.push(day);
        }
        let status = person.run(&["status", "--json"]);
        // On day 23, slightly less than seven days are left.
        let (code, state) = if day < 23 { (0, "ok") } else { (11, "expires-soon") };
        assert_eq!(status.code, code, "day {day}: {status:?}");
        assert_eq!(status.json()["state"], state, "day {day}");
        person.simulator.advance_clock(DAY);
    }
    assert_eq!(told, (23..30).collect::<Vec<_>>(), "one line a day, from day 23 on");
    assert_eq!(person.count(RequestKind::PushCode) + person.count(RequestKind::VerifyCode), 0);
    assert!(person.count(RequestKind::AccountLogin) >= 20, "the sessions of a day were renewed");
    person.change_session(|session| session["trusted_at"] = days_ago(30).into());
    person.run(&["status"]).ends(10);
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

async fn importer(host: &Host, on_event: &str) -> Importer {
    let settings = Settings::new("icloud://").with("account", "icloud").with("on_event", on_event);
    host.importer(&settings, &Options::default()).await.unwrap()
}

fn recorder(person: &Person) -> (String, PathBuf) {
    let record = person.file("events");
    let line = "$PLAKAR_ICLOUD_EVENT $PLAKAR_ICLOUD_ACCOUNT $PLAKAR_ICLOUD_DAYS_LEFT";
    (format!("echo \"{line}\" >> {}", record.display()), record)
}

#[test]
fn notify_test_runs_the_command() {
    let person = Person::new();
    let (command, record) = recorder(&person);
    person.run(&["notify-test", &command, "--account", "icloud"]).ends(0);
    assert_eq!(fs::read_to_string(record).unwrap(), "test icloud \n");
    person.run(&["notify-test", "exit 3"]).ends(1);
}

#[tokio::test]
async fn the_command_runs_once_in_an_episode() {
    let person = Person::signed_in();
    person.change_session(|session| session["trusted_at"] = days_ago(26).into());
    let (command, record) = recorder(&person);
    // The connector does not wait for the command, but a reader of a pipe does.
    Command::new("mkfifo").arg(&record).status().unwrap();
    let events = thread::spawn(move || fs::read_to_string(record).unwrap());
    let host = person.host();
    for _ in 0..3 {
        let importer = importer(&host, &command).await;
        importer.ping().await.unwrap();
        importer.close().await.unwrap();
    }
    let marks = || fs::read_dir(person.state().join("marks")).map_or(0, Iterator::count);
    assert_eq!(marks(), 2, "one for the line of the day, one for the command");
    person.sign_in();
    assert_eq!(marks(), 0, "a login ends the episode");
    assert_eq!(events.join().unwrap(), "trust-expires icloud 4\n");
}

/// A child that held plakar's stderr would keep `plakar ... 2>&1 | tee` open.
#[tokio::test]
async fn the_command_of_an_event_does_not_hold_stderr() {
    let person = Person::signed_in();
    person.change_session(|session| session["trusted_at"] = days_ago(26).into());
    let gate = person.file("gate");
    Command::new("mkfifo").arg(&gate).status().unwrap();
    let record = person.file("record");
    Command::new("mkfifo").arg(&record).status().unwrap();
    let command = format!("echo said >&2; read line < {}; echo $line > {}", gate.display(), record.display());
    let host = person.host();
    let importer = importer(&host, &command).await;
    importer.ping().await.unwrap();
    // Ends only when all holders of its stderr have closed it.
    importer.into_connector().leave().await.unwrap();
    fs::write(&gate, "opened\n").unwrap();
    assert_eq!(fs::read_to_string(&record).unwrap(), "opened\n");
    assert_eq!(fs::read_to_string(person.state().join("on_event.log")).unwrap(), "said\n");
}

#[tokio::test]
async fn the_command_runs_once_if_a_login_is_needed() {
    let person = Person::signed_in();
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    let (command, record) = recorder(&person);
    Command::new("mkfifo").arg(&record).status().unwrap();
    let events = thread::spawn(move || fs::read_to_string(record).unwrap());
    let host = person.host();
    for _ in 0..2 {
        let importer = importer(&host, &command).await;
        let error = importer.ping().await.unwrap_err().to_string();
        assert!(error.contains("plakar-icloud login"), "{error}");
        importer.into_connector().leave().await.unwrap();
    }
    assert_eq!(events.join().unwrap(), "needs-login icloud 0\n");
    assert_eq!(person.count(RequestKind::PushCode), 0);
}

/// For the first connector of an imported configuration, there is no session file yet. The time
/// when the trust began is never known.
#[tokio::test]
async fn the_command_runs_each_time_an_imported_session_ends() {
    let person = Person::new();
    let minted = person.simulator.mint_session();
    let settings = Settings::new("icloud://")
        .with("apple_id", &minted.apple_id)
        .with("password", &minted.password)
        .with("trust_token", &minted.trust_token)
        .with("cookies", &minted.cookies)
        .with("on_event", "true");
    let host = person.host();
    let run = async |works: bool| {
        let importer = host.importer(&settings, &Options::default()).await.unwrap();
        assert_eq!(importer.ping().await.is_ok(), works);
        importer.into_connector().leave().await.unwrap();
    };
    let marks = || fs::read_dir(person.state().join("marks")).map_or(0, Iterator::count);
    run(true).await;
    assert_eq!(marks(), 0, "nothing has happened");
    let works = person.session();
    person.simulator.end_sessions(421);
    person.simulator.end_trust();
    run(false).await;
    run(false).await;
    assert_eq!(marks(), 1, "the command ran once");
    person.change_session(|session| {
        *session = works;
        session["renewed_at"] = days_ago(0).into();
    });
    run(false).await;
    assert_eq!(marks(), 2, "another session, another end");
}
