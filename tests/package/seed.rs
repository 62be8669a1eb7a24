//! The first steps of a user of rclone: the configuration that rclone prints is imported into plakar,
//! and backups, restores and klosets work.

use std::path::{Path, PathBuf};

use icloud_simulator::{Config, Content, Simulator};
use plakar_host::{Outcome, Plakar, Surroundings, skipped};
use tempfile::TempDir;

use crate::{on_path, package, ptar, shell};

const MODIFIED: i64 = 1_700_000_000_000;

/// A user with an installed package, a configured rclone and a kloset on this machine.
struct User {
    simulator: Simulator,
    plakar: Plakar,
    kloset: String,
}

#[tokio::test]
async fn the_commands_of_a_user_of_rclone_work() {
    let (Some(plakar), Some(rclone)) = (Plakar::for_test(), on_path("rclone")) else {
        skipped("plakar or rclone is not on PATH");
        return;
    };
    let out = TempDir::new().unwrap();
    let package = ptar(&package(&out, &["--rclone-locations"]));
    let user = User::new(plakar, &rclone, &package).await;

    user.shell("rclone config show drive | plakar source import -rclone").await;
    let refused = user.plakar.run(["at", &user.kloset, "backup", "@drive"]).await.unwrap();
    assert_ne!(refused.status, Some(0), "{refused:?}");
    assert!(refused.output.contains("rclone config dump | plakar source import"), "{}", refused.output);

    user.shell("rclone config dump | plakar source import -rclone -overwrite").await;
    user.plakar.must(["at", &user.kloset, "backup", "@drive:docs"]).await.unwrap();
    user.shell("rclone config dump | plakar destination import -rclone").await;
    user.plakar.must(["at", &user.kloset, "restore", "-to", "@drive:Restored"]).await.unwrap();
    let restored = user.simulator.snapshot().into_iter().any(|item| item.path == "Restored/a.txt");
    assert!(restored, "{:?}", user.simulator.snapshot());

    user.shell("rclone config dump | plakar store import -rclone").await;
    user.plakar.must(["at", "@drive:imported", "create", "-plaintext"]).await.unwrap();
    user.plakar.must(["at", "@drive:imported", "backup", &user.plakar.path("here")]).await.unwrap();

    // The import of `config show` lacks a session, but this machine has one now.
    user.shell("rclone config show drive | plakar source import -rclone -overwrite").await;
    user.plakar.must(["at", &user.kloset, "backup", "@drive:docs"]).await.unwrap();

    user.shell("plakar-icloud config import --file \"$RCLONE_CONFIG\"").await;
    user.plakar.must(["at", "icloud://kloset", "create", "-plaintext"]).await.unwrap();
    user.plakar.must(["at", "icloud://kloset", "backup", &user.plakar.path("here")]).await.unwrap();
    user.plakar.must(["at", "icloud://kloset", "check"]).await.unwrap();
}

impl User {
    async fn new(plakar: PathBuf, rclone: &Path, package: &Path) -> Self {
        let simulator = Simulator::start(Config::default()).unwrap();
        simulator.put_file("docs/a.txt", Content::Generated { seed: 1, size: 1_000 }, MODIFIED);
        let mut surroundings = Surroundings::new().unwrap();
        let root = surroundings.root().to_owned();
        simulator.write_ca(root.join("ca.pem")).unwrap();
        let folders = [&plakar, rclone, package].map(|file| file.parent().unwrap().display().to_string());
        surroundings.set("PATH", format!("{}:/usr/bin:/bin", folders.join(":")));
        surroundings.set("HTTPS_PROXY", simulator.proxy_url());
        surroundings.set("SSL_CERT_FILE", root.join("ca.pem"));
        surroundings.set("RCLONE_CONFIG", root.join("rclone.conf"));
        std::fs::create_dir(root.join("here")).unwrap();
        std::fs::write(root.join("here/b.txt"), "b").unwrap();
        let plakar = Plakar::new(plakar, surroundings).await.unwrap();
        plakar.install(package).await.unwrap();
        let kloset = plakar.path("plain");
        plakar.must(["at", &kloset, "create", "-plaintext"]).await.unwrap();
        let user = Self { simulator, plakar, kloset };

        let session = user.simulator.mint_session();
        let obscured = user.shell(&format!("rclone obscure '{}'", session.password)).await;
        let section = format!(
            "[drive]\ntype = iclouddrive\napple_id = {}\npassword = {}\ntrust_token = {}\ncookies = {}\n",
            session.apple_id,
            obscured.output.trim(),
            session.trust_token,
            session.cookies
        );
        std::fs::write(root.join("rclone.conf"), section).unwrap();
        user
    }

    async fn shell(&self, line: &str) -> Outcome {
        shell(self.plakar.surroundings(), line).await
    }
}
