//! Early warnings that a sign-in will be needed.

use std::path::Path;

use super::{
    Access, StateFolder,
    event::{Event, OnEvent},
};
use crate::rclone::{Rclone, account::Description};

/// When to warn, and the command to run in addition to the message on stderr.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The days of trust below which the user is warned.
    pub warn_days: u64,
    /// The command to run, at most once for each event.
    pub on_event: OnEvent,
}

/// Returns the event for the state of a session, if there is one.
fn event_of(described: &Description, warn_days: u64) -> Option<Event> {
    let days_left = described.days_left();
    if described.needs_login {
        return Some(Event { name: "needs-login", reason: described.reason.clone(), days_left, counts: None });
    }
    let days = days_left.filter(|_| described.ends_within(warn_days))?;
    let reason = match days {
        0 => "Apple's trust in this device is due to end now".to_owned(),
        1 => "Apple's trust in this device ends within a day".to_owned(),
        days => format!("Apple's trust in this device ends in {days} days"),
    };
    Some(Event { name: "trust-expires", reason, days_left, counts: None })
}

impl Forecast {
    /// Examines the session of an account and warns the user if necessary: on stderr once a day,
    /// and by the command once per episode, which lasts until the next sign-in. Uses no network.
    /// Errors of the examination are ignored here, because the operations that need the session
    /// report them.
    pub async fn warn(&self, access: &Access) {
        if access.config_has_session && !access.session_file.exists() {
            return;
        }
        let Ok(described) = Rclone::start().describe(&access.session_file).await else {
            return;
        };
        if let (true, Some(until)) = (described.protected, &described.consent_until)
            && access.state.mark(&format!("{}-consent-{until}", mark_key(&access.session_file)))
        {
            log::warn!(
                "Advanced Data Protection is on, and a device has consented to the access only until {until}: later \
                 runs can fail until the next sign-in"
            );
        }
        let Some(event) = event_of(&described, self.warn_days) else {
            return;
        };
        let account = access.name.as_deref().unwrap_or_default();
        // For an imported session, the time when the trust began is unknown.
        let of_session =
            || format!("{:?}-{}", described.cause(), described.renewed_at.as_deref().unwrap_or("never renewed"));
        let episode = described.trusted_at.clone().unwrap_or_else(of_session);
        let key = mark_key(&access.session_file);
        // One line a day, because a backup has several processes.
        if event.name != "needs-login"
            && access.state.mark(&format!("{key}-{}-{episode}-{:?}", event.name, event.days_left))
        {
            log::warn!("{}: run plakar-icloud login {account}", event.reason);
        }
        if self.on_event.is_set() && access.state.mark(&format!("{key}-{}-{episode}", event.name)) {
            self.on_event.spawn(&event);
        }
    }
}

fn mark_key(session_file: &Path) -> String {
    session_file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

impl StateFolder {
    /// Ends the episodes of a session, so that the next event is reported again.
    pub fn remove_marks_of(&self, session_file: &Path) {
        let key = mark_key(session_file) + "-";
        let marks = std::fs::read_dir(self.path().join("marks")).into_iter().flatten().flatten();
        for mark in marks.filter(|mark| mark.file_name().to_string_lossy().starts_with(&key)) {
            // A mark that cannot be removed has no effect: it names a trust that has ended.
            let _ = std::fs::remove_file(mark.path());
        }
    }
}
