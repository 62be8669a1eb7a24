//! Advanced Data Protection, and access on the web that is off.

use plakar_host::{Backup, Options};

use super::{NOVEMBER, Photos, media};
use crate::icloud::assert_sound;

impl Photos {
    /// Returns the error with which a backup ends.
    pub(super) async fn failure(&self) -> String {
        let settings = self.icloud.settings("icloud://photos");
        let ended = self.icloud.host.backup(&settings, &Options::default(), Backup::first()).await;
        ended.expect_err("the backup succeeded").to_string()
    }
}

/// The cookies for protected data are requested when the service refuses the library without them.
#[tokio::test]
async fn protected_libraries_are_read_after_an_approval() {
    for is_locked in [false, true] {
        let mut photos = Photos::new();
        photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
        photos.icloud.simulator.rules(|rules| {
            rules.account.advanced_data_protection = true;
            rules.photos.protected_is_locked = is_locked;
        });
        let first = photos.backup().await;
        assert_sound(&first);
        assert_eq!(media(&first), photos.expected);
        photos.icloud.simulator.end_pcs();
        assert_sound(&photos.backup_after(&first).await);
    }
}

/// A library that no device has made accessible is one error with the next step, after a few requests.
#[tokio::test]
async fn the_error_of_a_protected_library_says_what_to_do() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    photos.icloud.simulator.rules(|rules| {
        rules.account.advanced_data_protection = true;
        rules.account.pcs_approval_after = 1_000;
    });
    let said = photos.failure().await;
    assert!(said.contains("Advanced Data Protection is on, and no device has approved the access"), "{said}");
    assert!(said.contains("Access iCloud Data on the Web") && said.contains("plakar-icloud login"), "{said}");
    // plakar starts two importers.
    assert!(photos.calls() <= 2, "{} calls", photos.calls());
}

#[tokio::test]
async fn the_error_of_access_that_is_off_says_what_to_do() {
    let mut photos = Photos::new();
    photos.add("/Library/2026/11/IMG_1.HEIC", NOVEMBER);
    photos.icloud.simulator.rules(|rules| rules.account.web_access = false);
    let said = photos.failure().await;
    assert!(said.contains("access to iCloud data on the web is off"), "{said}");
    assert!(!said.contains("wait for some hours"), "{said}");
    assert!(photos.calls() <= 2, "{} calls", photos.calls());
}
