//! The commands of the documents. A command that is neither executed nor has a reason not to be fails
//! the first test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use icloud_simulator::{Config, Content, NewAsset, PRIMARY_ZONE, Simulator};
use plakar_host::{Plakar, Surroundings, skipped};
use regex_lite::Regex;
use tempfile::TempDir;

use crate::{PROJECT, package, ptar, try_shell};

const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "TROUBLESHOOTING.md",
    "packaging/container/Containerfile",
    "packaging/container/compose.yaml",
];

/// What happens to a command.
enum Use {
    /// [`the_commands_of_the_documents_work`] executes it, in the order of the table. It ends with this
    /// status.
    Run(i32),
    /// Another file of the project executes it: the file contains this text.
    In(&'static str, &'static str),
    /// Nothing executes it, for this reason.
    Not(&'static str),
}
use Use::{In, Not, Run};

const ENGINE: Use = Not("needs a container engine, and images from a registry");
const SERVICE_MANAGER: Use = Not("needs the service manager of a user");
const BENCH: Use = Not("measures times, which a busy machine changes");
const NETWORK: Use = Not("needs tools or data from the network");

/// The commands, as the documents have them.
const COMMANDS: &[(&str, Use)] = &[
    ("plakar pkg add ./dist/icloud_v1.2.0_linux_amd64/icloud_v1.2.0_linux_amd64.ptar", Run(0)),
    ("install -D -t ~/.local/bin ./dist/icloud_v1.2.0_linux_amd64/plakar-icloud", Run(0)),
    ("plakar-icloud login --apple-id user@example.com --password-stdin --no-wait < password", Run(10)),
    ("plakar-icloud login --code 123456", Run(0)),
    ("plakar source add icloud icloud:// account=icloud", Run(0)),
    ("plakar source ping icloud", Run(0)),
    ("plakar source set icloud on_event='mail -s \"iCloud: $PLAKAR_ICLOUD_REASON\" me@example.com </dev/null'", Run(0)),
    ("plakar source set icloud ignore='node_modules/\n*.tmp\n!important.tmp'", Run(0)),
    ("plakar at ~/backups/icloud create", Run(0)),
    ("plakar at ~/backups/icloud backup @icloud", Run(0)),
    ("plakar at ~/backups/icloud check", Run(0)),
    ("plakar backup -dry-run", In("tests/main/plakar/backup.rs", "\"backup\", \"-dry-run\"")),
    ("plakar destination add icloud icloud:///Restored account=icloud", Run(0)),
    ("plakar at ~/backups/icloud ls", Run(0)),
    ("plakar at ~/backups/icloud restore -to @icloud SNAPSHOT", Run(0)),
    ("plakar store add icloud icloud:///Backups/kloset account=icloud", Run(0)),
    ("plakar at @icloud create", Run(0)),
    ("plakar at @icloud backup ~/Documents", Run(0)),
    ("plakar at @icloud check", Run(0)),
    ("plakar source add photos icloud://photos account=icloud", Run(0)),
    ("plakar at ~/backups/icloud backup @photos", Run(0)),
    ("plakar store add disk /mnt/disk/backups passphrase_cmd='cat ~/.passphrase'", Run(0)),
    ("plakar at @disk create", Run(0)),
    ("plakar at ~/backups/icloud sync to @disk", Run(0)),
    (
        "plakar store add vault rclone:///kloset rclone_type=crypt rclone_remote=drive:Vault rclone_password=OBSCURED \
         remote.drive.type=iclouddrive remote.drive.apple_id=user@example.com remote.drive.trust_token=…",
        Run(0),
    ),
    ("mkdir -p ~/.config/systemd/user", Run(0)),
    ("cp packaging/systemd/* ~/.config/systemd/user/", Run(0)),
    ("plakar-icloud login", In("tests/account/terminal.rs", "login")),
    ("cargo demo", In(".ci/run", "cargo demo")),
    ("cargo test", In(".ci/run", "cargo test")),
    ("cargo package-plugin", In("tests/package/main.rs", "\"package-plugin\"")),
    ("cargo package-plugin --rclone-locations", In("tests/package/seed.rs", "--rclone-locations")),
    (
        "rclone config dump | plakar source import -rclone",
        In("tests/package/seed.rs", "rclone config dump | plakar source import -rclone"),
    ),
    ("plakar at ~/backups/icloud backup @REMOTE", In("tests/package/seed.rs", "\"backup\", \"@drive:docs\"")),
    (
        "rclone config dump | plakar store import -rclone",
        In("tests/package/seed.rs", "rclone config dump | plakar store import -rclone"),
    ),
    ("plakar at @REMOTE:kloset create", In("tests/package/seed.rs", "\"@drive:imported\", \"create\"")),
    ("plakar at icloud://kloset create", In("tests/package/seed.rs", "\"icloud://kloset\", \"create\"")),
    ("systemctl --user enable --now plakar-icloud-backup.timer", SERVICE_MANAGER),
    ("loginctl enable-linger", SERVICE_MANAGER),
    ("systemctl --user start plakar-icloud-backup.service", SERVICE_MANAGER),
    ("journalctl --user -u plakar-icloud-backup", SERVICE_MANAGER),
    ("podman build -f packaging/container/Containerfile -t plakar-icloud .", ENGINE),
    ("podman compose -f packaging/container/compose.yaml run --rm backup plakar-icloud login", ENGINE),
    (
        "podman compose -f packaging/container/compose.yaml run --rm backup plakar source add icloud icloud:// \
         account=icloud",
        ENGINE,
    ),
    ("podman compose -f packaging/container/compose.yaml run --rm backup plakar at /klosets/icloud create", ENGINE),
    ("podman compose -f packaging/container/compose.yaml run --rm backup", ENGINE),
    (
        "plakar at KLOSET ls -recursive SNAPSHOT | plakar-icloud plan --snapshot - icloud:/Restored",
        In("tests/account/plan.rs", "\"ls\", \"-recursive\""),
    ),
    ("plakar ls -recursive SNAPSHOT", In("tests/account/plan.rs", "\"ls\", \"-recursive\"")),
    ("plakar restore", In("tests/main/plakar/restore.rs", "\"restore\"")),
    ("plakar at LOCATION create", In("tests/package/docs.rs", "plakar at @icloud create")),
    ("plakar backup -ignore", In("tests/main/plakar/backup.rs", "-ignore")),
    ("plakar -concurrency 16 at @icloud restore …", In("tests/main/plakar/backup.rs", "\"-concurrency\"")),
    ("plakar pkg add -allow-unsigned", In("tests/host/src/plakar.rs", "-allow-unsigned")),
    ("plakar pkg add -u", In("tests/package/upgrade.rs", "\"-u\"")),
    (
        "plakar at ptar:NAME.ptar cat :/plakar-icloud | sha256sum",
        In("tests/package/main.rs", "at ptar:{package} cat :/plakar-icloud"),
    ),
    ("plakar pkg rm icloud", In("tests/package/main.rs", "\"rm\", \"icloud\"")),
    ("plakar pkg rm rclone", In("tests/package/upgrade.rs", "\"rm\", \"rclone\"")),
    ("plakar source import", In("tests/package/seed.rs", "plakar source import -rclone")),
    ("plakar source set", In("tests/package/docs.rs", "plakar source set icloud")),
    ("plakar check", In("tests/package/docs.rs", "plakar at @icloud check")),
    ("rclone config dump", In("tests/package/seed.rs", "rclone config dump")),
    ("rclone config show REMOTE", In("tests/package/seed.rs", "rclone config show drive")),
    ("rclone cleanup REMOTE:BUCKET", Not("removes only parts that are older than a day")),
    ("rclone config reconnect REMOTE", Not("needs an account at the provider")),
    ("signify -G -n -p KEY.pub -s KEY.sec", In("tests/package/main.rs", "\"-G\", \"-n\"")),
    ("cargo build --features bindgen", In(".ci/run", "--features bindgen")),
    ("cargo deny check", NETWORK),
    ("cargo deny check licenses bans sources", NETWORK),
    ("cargo install --locked cargo-deny", NETWORK),
    ("cargo +1.95.0 check --workspace --all-targets", NETWORK),
    ("cargo bench --bench service", BENCH),
    ("cargo bench --bench kloset", BENCH),
];

/// Returns a file of the project.
fn document(name: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the command lines of the indented or fenced blocks of a document.
fn blocks(name: &str) -> Vec<String> {
    let text = document(name);
    let mut lines = Vec::new();
    let mut inside = false;
    let mut open = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if fence {
            inside = !inside && line.trim() == "```sh";
            continue;
        }
        // A comment of a container's recipe has commands, too.
        let comment = line.strip_prefix("#   ");
        let Some(line) = comment.or(inside.then_some(line)) else { continue };
        let line = line.split("   #").next().unwrap_or_default();
        match line.strip_suffix('\\') {
            Some(begun) => open.push_str(begun),
            None => open.push_str(line),
        }
        // An open quotation continues on the next line.
        if open.matches('\'').count() % 2 == 1 {
            open.push('\n');
        } else if !line.ends_with('\\') {
            lines.push(Regex::new(" {2,}").unwrap().replace_all(&std::mem::take(&mut open), " ").into_owned());
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// Returns the commands in the text of a document, between backquotes or as advice in its tables.
fn spans(name: &str) -> Vec<String> {
    let mut text = Regex::new("(?s)```.*?```").unwrap().replace_all(&document(name), "").replace('\n', " ");
    text.retain(|letter| letter != '[' && letter != ']');
    let quoted = Regex::new("`((?:cargo|plakar|plakar-icloud|rclone|signify|podman) [^`]+)`").unwrap();
    let advised = Regex::new(r"plakar-icloud (?:config )?[a-z]+(?: --[a-z-]+| [A-Z]{4,})*").unwrap();
    let quoted = quoted.captures_iter(&text).map(|found| found[1].to_owned());
    let advised = advised.find_iter(&text).map(|found| found.as_str().to_owned());
    let commands = quoted.chain(advised.filter(|_| name == "TROUBLESHOOTING.md"));
    commands.map(|command| command.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Reports whether a parser of this project accepts the arguments of a command. `--help`, which comes
/// last, keeps the command from being executed.
fn is_parsed(command: &str) -> Option<bool> {
    let (program, arguments) = command.split_once(' ')?;
    let mut parser = match (program, arguments.split(' ').next()?) {
        ("plakar-icloud", _) => Command::new(env!("CARGO_BIN_EXE_plakar-icloud")),
        ("cargo", "package-plugin" | "offline-bundle") => Command::new(env!("CARGO")),
        _ => return None,
    };
    let output = parser.args(arguments.split(' ')).arg("--help").current_dir(PROJECT).output().unwrap();
    Some(output.status.success())
}

#[test]
fn every_command_of_the_documents_is_executed_or_has_a_reason() {
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    let mut found = BTreeSet::new();
    for name in DOCUMENTS {
        let commands = blocks(name).into_iter().map(|command| (true, command));
        for (in_block, command) in commands.chain(spans(name).into_iter().map(|command| (false, command))) {
            if !known.contains(&*command) {
                let parsed = if in_block { None } else { is_parsed(&command) };
                assert_eq!(parsed, Some(true), "{name} has the command {command:?}, which no test executes");
            }
            found.insert(command);
        }
    }
    for (command, usage) in COMMANDS {
        assert!(found.contains(*command), "no document has {command:?} any more");
        if let In(file, text) = usage {
            assert!(document(file).contains(text), "{file} does not execute {command:?}: it has no {text:?}");
        }
        if let Not(reason) = usage {
            assert!(!reason.is_empty(), "{command:?}");
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_documents_work() {
    let Some(plakar) = Plakar::for_test() else { return };
    let out = TempDir::new().unwrap();
    let package = package(&out, &["--rclone-locations"]);
    let simulator = Simulator::start(Config::default()).unwrap();
    simulator.put_file("Documents/a.txt", Content::Generated { seed: 1, size: 1_000 }, 1_700_000_000_000);
    let photo = NewAsset::image("IMG_0001.JPG", 1_793_872_800_000, Content::Generated { seed: 2, size: 1_000 });
    simulator.photos(|photos| photos.add(PRIMARY_ZONE, photo));
    let mut surroundings = Surroundings::new().unwrap();
    let root = surroundings.root().display().to_string();
    simulator.write_ca(surroundings.root().join("ca.pem")).unwrap();
    let folders = [plakar.parent().unwrap(), &package].map(|folder| folder.display().to_string());
    surroundings.set("PATH", format!("{}:/usr/bin:/bin", folders.join(":")));
    surroundings.set("HTTPS_PROXY", simulator.proxy_url());
    surroundings.set("SSL_CERT_FILE", format!("{root}/ca.pem"));
    surroundings.set("PLAKAR_PASSPHRASE", PASSPHRASE);
    fs::create_dir_all(surroundings.home().join("Documents")).unwrap();
    fs::write(surroundings.home().join("Documents/b.txt"), "b").unwrap();
    fs::write(surroundings.home().join(".passphrase"), "correct horse battery staple 2").unwrap();
    fs::write(surroundings.cwd().join("password"), "correct horse").unwrap();
    std::os::unix::fs::symlink(Path::new(PROJECT).join("packaging"), surroundings.cwd().join("packaging")).unwrap();
    let plakar = Plakar::new(plakar, surroundings).await.unwrap();

    let token = simulator.mint_session().trust_token;
    let built = Regex::new(r"\./dist/\S+\.ptar").unwrap();
    let folder = Regex::new(r"\./dist/[^/]+").unwrap();
    let mut snapshot = String::new();
    let mut executed = 0;
    for (documented, usage) in COMMANDS {
        let Run(status) = usage else { continue };
        let line = built.replace(documented, ptar(&package).to_str().unwrap());
        let line = folder.replace(&line, package.to_str().unwrap()).replace("/mnt/disk", &format!("{root}/disk"));
        let line = line.replace("SNAPSHOT", &snapshot).replace("OBSCURED", OBSCURED).replace('…', &token);
        let outcome = try_shell(plakar.surroundings(), &line).await;
        assert_eq!(outcome.status, Some(*status), "{documented}: {}", outcome.output);
        if documented.ends_with(" ls") {
            snapshot = outcome.output.split_whitespace().nth(1).unwrap_or_default().to_owned();
        }
        executed += 1;
    }
    assert!(executed > 20, "{executed}");
    back_up_as_the_service(&plakar).await;
    let has = |path: &str| simulator.snapshot().iter().any(|item| item.path == path);
    assert!(has("Restored/Documents/a.txt") && has("Backups/kloset/CONFIG"), "{:?}", simulator.snapshot());
}

/// Runs the command of the nightly backup, which reads the passphrase from a file.
async fn back_up_as_the_service(plakar: &Plakar) {
    let unit = document("packaging/systemd/plakar-icloud-backup.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("%h", "~");
    let passphrase = format!("mkdir -p ~/.config/plakar; echo '{PASSPHRASE}' >~/.config/plakar/passphrase");
    let line = format!("unset PLAKAR_PASSPHRASE; {passphrase}; {command}");
    let outcome = try_shell(plakar.surroundings(), &line).await;
    assert_eq!(outcome.status, Some(0), "{command}: {}", outcome.output);
}

/// The passphrase of the kloset on this machine.
const PASSPHRASE: &str = "correct horse battery staple 1";
/// "secret", obscured by rclone.
const OBSCURED: &str = "H2D5a-RoBnhONFDwZlDkGiAXI3NszwApGyshKJI";

/// systemd accepts the units.
#[test]
fn the_units_are_valid() {
    if crate::on_path("systemd-analyze").is_none() {
        skipped("systemd-analyze is not on PATH");
        return;
    }
    let root = TempDir::new().unwrap();
    let units = root.path().join("units");
    fs::create_dir(&units).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no", "--recursive-errors=no"]);
    for entry in fs::read_dir(Path::new(PROJECT).join("packaging/systemd")).unwrap() {
        let entry = entry.unwrap();
        let copy = units.join(entry.file_name());
        // The programs may be missing on this machine.
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = Regex::new("(?m)^ExecStart=[^ ]+").unwrap().replace_all(&text, "ExecStart=/bin/sh").into_owned();
        fs::write(&copy, text).unwrap();
        verify.arg(copy);
    }
    let output = verify.env("XDG_RUNTIME_DIR", root.path()).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
}
