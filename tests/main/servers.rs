//! Restores of an iCloud snapshot to the servers of others: OpenSSH, Apache and, for S3, Versity's
//! gateway. A test reports that it was skipped if its server is not installed; `.ci/run` installs
//! all three.

mod killed;

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use icloud_simulator::Content;
use plakar_host::{Backup, Options, Settings, Snapshot, skipped, until};
use tempfile::TempDir;

use crate::icloud::{ICloud, MODIFIED, assert_sound, digests};

/// A server on this machine with a folder of its own.
struct Server {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Starts a server with the arguments that `configure` returns, and waits until it accepts
    /// connections. Returns none if the program is not installed.
    async fn start(program: &str, configure: impl FnOnce(&Path, u16) -> Vec<String>) -> Option<Self> {
        let Some(program) = installed(program) else {
            skipped(&format!("{program} is not installed"));
            return None;
        };
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(configure(folder.path(), port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap();
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Some(Self { process, folder, port })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprint!("--- log of the server:\n{}", fs::read_to_string(self.file("log")).unwrap_or_default());
        }
    }
}

/// Finds a program on the PATH or where Debian has servers.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.display().to_string()
}

/// Returns a drive with 1,000 files of odd names and different sizes and times.
fn with_odd_files() -> ICloud {
    let icloud = ICloud::new();
    let odd = [
        "a b",
        " lead",
        "trail ",
        "dot.",
        ".hidden",
        "100%",
        "%41",
        "#",
        "?",
        "&",
        "+",
        "=",
        ";",
        "'",
        "\"",
        "<",
        ">",
        "|",
        "*",
        ":",
        "\\",
        "~",
        "$(x)",
        "`x`",
        "[x]",
        "{x}",
        "!",
        "@",
        ",",
        "caf\u{e9}",
        "\u{65e5}\u{672c}",
        "\u{1f600}",
        "\u{202e}x",
        "\u{2028}",
        "\t",
        "\u{7f}",
        "x\r",
        "x\ny",
        "-rf",
        "CON",
    ];
    for n in 0..1_000 {
        let name = odd[n % odd.len()];
        let path = format!("from/{} {name}/{n} {name}", n / odd.len());
        let (n, time) = (n as u64, MODIFIED + n as i64 * 86_400_000);
        icloud.simulator.put_file(&path, Content::Generated { seed: n, size: n * 7 % 5_000 }, time);
    }
    icloud.simulator.make_folders("from/empty folder");
    icloud
}

/// The times of files by path, in seconds.
fn times(snapshot: &Snapshot) -> BTreeMap<&str, i64> {
    snapshot
        .files()
        .map(|(path, _)| {
            (path.strip_prefix(&snapshot.root).unwrap(), snapshot.entries[path].info.mod_time.as_ref().unwrap().seconds)
        })
        .collect()
}

/// Restores the odd files to a server and backs them up from there. Returns the lines that the last
/// restore prints.
async fn round_trip(settings: &Settings, keeps_times: bool) -> Vec<String> {
    let icloud = with_odd_files();
    let snapshot = icloud.backup("icloud:///from").await;
    assert_sound(&snapshot);
    let options = Options::default();
    let mut told = Vec::new();
    for round in 0..2 {
        let exporter = icloud.host.exporter(settings, &options).await.unwrap();
        let exported = exporter.export(&snapshot.restore("/from")).await.unwrap();
        assert_eq!(exported.errors(), BTreeMap::new());
        exported.end.unwrap();
        exporter.close().await.unwrap();
        told = exporter.connector().stderr().lines().map(str::to_owned).collect();
        exporter.into_connector().leave().await.unwrap();
        let identical = told.last().unwrap().contains("1000 there already");
        assert_eq!(identical, round == 1 && keeps_times, "{told:?}");
    }
    let restored = icloud.host.backup(settings, &options, Backup::first()).await.unwrap();
    assert_sound(&restored);
    assert_eq!(restored.errors, BTreeMap::new());
    let (there, sent) = (digests(&restored), digests(&snapshot));
    let names = |digests: &BTreeMap<String, String>| digests.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&sent));
    assert_eq!(there, sent);
    if keeps_times {
        assert_eq!(times(&restored), times(&snapshot));
    }
    told
}

/// Counts the lines with a text.
fn lines(told: &[String], text: &str) -> usize {
    told.iter().filter(|line| line.contains(text)).count()
}

/// Starts OpenSSH. Returns it with the settings for one of its folders, or none if it is not
/// installed.
async fn openssh(folder: &str) -> Option<(Server, Settings)> {
    let keygen = |file: &Path| {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file);
        assert!(command.status().unwrap().success());
    };
    let server = Server::start("sshd", |folder, port| {
        keygen(&folder.join("host"));
        keygen(&folder.join("user"));
        let _ = fs::create_dir("/run/sshd"); // sshd needs it if it runs as root
        let lines = [
            format!("ListenAddress 127.0.0.1:{port}"),
            format!("HostKey {}", folder.join("host").display()),
            format!("AuthorizedKeysFile {}", folder.join("user.pub").display()),
            "PidFile none".to_owned(),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "MaxStartups 200".to_owned(),
            "MaxSessions 200".to_owned(),
            "Subsystem sftp internal-sftp".to_owned(),
        ];
        vec!["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), write(&folder.join("config"), &lines.join("\n"))]
    })
    .await;
    let server = server?;
    fs::set_permissions(server.file("user"), fs::Permissions::from_mode(0o600)).unwrap();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let settings = Settings::new(&format!("rclone://{}", server.file(folder)))
        .with("rclone_type", "sftp")
        .with("rclone_host", "127.0.0.1")
        .with("rclone_port", server.port.to_string())
        .with("rclone_user", String::from_utf8(user).unwrap().trim())
        .with("rclone_key_file", server.file("user"));
    Some((server, settings))
}

#[tokio::test]
async fn odd_files_go_to_openssh_and_back() {
    let Some((server, settings)) = openssh("files/to").await else { return };
    let told = round_trip(&settings, true).await;
    assert_eq!(lines(&told, "does not"), 0, "{told:?}");
    assert!(Path::new(&server.file("files/to/empty folder")).is_dir());
}

#[tokio::test]
async fn odd_files_go_to_apache_and_back() {
    let server = Server::start("apache2", |folder, port| {
        // If Apache runs as root, its workers are another user.
        for folder in [folder, &folder.join("files")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let modules = ["mpm_event", "authz_core", "dav", "dav_fs"]
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"));
        let (root, files) = (folder, folder.join("files").display().to_string());
        let folder = folder.display();
        let lines = [
            format!("ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}"),
            format!("PidFile {folder}/pid\nErrorLog {folder}/errors\nDavLockDB {folder}/locks"),
            "User nobody\nGroup nogroup\nAllowEncodedSlashes On".to_owned(),
            format!("DocumentRoot {files}\n<Directory {files}>\nDav On\nRequire all granted\n</Directory>"),
        ];
        let config = [&modules[..], &lines].concat().join("\n");
        // One process, so that killing it leaves no workers.
        vec!["-X".to_owned(), "-f".to_owned(), write(&root.join("config"), &config)]
    })
    .await;
    let Some(server) = server else { return };
    let url = format!("http://127.0.0.1:{}/", server.port);
    let settings = Settings::new("rclone:///to").with("rclone_type", "webdav").with("rclone_url", &url);
    let told = round_trip(&settings, false).await;
    assert_eq!(lines(&told, "the destination does not store modification times"), 1, "{told:?}");
    assert!(Path::new(&server.file("files/to/empty folder")).is_dir());
}

/// S3 has no folders, so an empty one cannot be stored. rclone stores the time of a file beside it.
#[tokio::test]
async fn odd_files_go_to_versitygw_and_back() {
    let server = Server::start("versitygw", |folder, port| {
        let files = folder.join("files").display().to_string();
        let address = format!("127.0.0.1:{port}");
        let arguments = ["--port", &address, "--access", "user", "--secret", "password", "--quiet", "posix", &files];
        arguments.map(str::to_owned).to_vec()
    })
    .await;
    let Some(server) = server else { return };
    let settings = Settings::new("rclone:///bucket/to")
        .with("rclone_type", "s3")
        .with("rclone_provider", "Other")
        .with("rclone_endpoint", format!("http://127.0.0.1:{}", server.port))
        .with("rclone_access_key_id", "user")
        .with("rclone_secret_access_key", "password");
    let told = round_trip(&settings, true).await;
    assert_eq!(lines(&told, "the destination does not store 1 empty folder"), 1, "{told:?}");
    assert_eq!(lines(&told, "does not store"), 1, "{told:?}");
}
