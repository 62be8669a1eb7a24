//! The state of the simulator, behind one mutex, and the routing of a request to its service.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::account::{Account, setup, signin};
use crate::clock::Clock;
use crate::drive::content::Content;
use crate::drive::tree::{TRASH_DRIVE_ID, TRASH_ID};
use crate::drive::{Drive, content_host, docws, drivews, upload};
use crate::faults::Faults;
use crate::journal::Journal;
use crate::kinds::RequestKind;
use crate::latency::{Factors, Latency};
use crate::photos::{self, Photos};
use crate::rules::Rules;
use crate::throttle::Throttle;
use crate::transport::link::Link;
use crate::transport::message::{Message, Response};

pub(crate) struct State {
    pub(crate) rules: Rules,
    pub(crate) clock: Clock,
    pub(crate) account: Account,
    pub(crate) drive: Drive,
    pub(crate) photos: Photos,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) open_gates: HashSet<String>,
    pub(crate) link: Link,
    latency: Latency,
    throttle: Throttle,
    /// The zones of the writes in progress, by the number of the request.
    writing: HashMap<u64, String>,
}

impl State {
    pub(crate) fn new(rules: Rules, seed: u64) -> Self {
        let clock = Clock::default();
        let drive = Drive::new(seed, clock.now_ms());
        let mut state = Self {
            rules,
            drive,
            photos: Photos::default(),
            clock,
            account: Account::new(seed),
            faults: Faults::new(seed),
            journal: Journal::default(),
            open_gates: HashSet::new(),
            link: Link::default(),
            latency: Latency::default(),
            throttle: Throttle::default(),
            writing: HashMap::new(),
        };
        state.settle_rules();
        state
    }

    /// Adapts the stored items to changed rules.
    pub(crate) fn settle_rules(&mut self) {
        self.drive.tree.match_names(self.rules.drive.name_matching);
    }

    /// Opens a write to a zone. Returns false if another write locks the zone.
    pub(crate) fn open_write(&mut self, number: u64, message: &Message) -> bool {
        if !message.kind.writes() {
            return true;
        }
        let zone = message.zone();
        if self.rules.drive.zone_lock && self.writing.values().any(|writing| *writing == zone) {
            return false;
        }
        self.writing.insert(number, zone);
        true
    }

    /// Returns the latency of the response to a request.
    pub(crate) fn latency(&mut self, message: &Message) -> Duration {
        let (mut listed, mut trash) = (Vec::new(), false);
        if message.kind == RequestKind::List {
            for id in message.subjects() {
                trash |= id == TRASH_ID || id == TRASH_DRIVE_ID;
                listed.extend(self.drive.tree.by_drive_id(&id));
            }
        }
        let factors = Factors { kind: message.kind, listed: &listed, trash };
        self.latency.of(&self.rules.transport, &factors, Instant::now())
    }

    /// Refuses a request of a client that sends too many.
    pub(crate) fn throttle(&mut self, kind: RequestKind) -> Result<(), Response> {
        if !kind.needs_session() {
            return Ok(());
        }
        self.throttle.admit(&self.rules.transport.throttle, Instant::now())
    }

    /// Records the end of a request.
    pub(crate) fn finish(&mut self, number: u64, kind: RequestKind, bytes_out: u64) {
        self.writing.remove(&number);
        self.journal.finish(number, kind, bytes_out);
    }

    /// Performs a request and returns the response. `posted` is the file of a content upload.
    pub(crate) fn respond(&mut self, message: &Message, posted: Option<Content>) -> Response {
        self.drive.written.clear();
        let response = self.route(message, posted);
        for folder in self.drive.written.drain(..) {
            self.latency.written(folder);
        }
        if message.is_to_china() { response.in_china() } else { response }
    }

    fn route(&mut self, message: &Message, posted: Option<Content>) -> Response {
        let (now_ms, now) = (self.clock.now_ms(), self.clock.now_seconds());
        let Self { rules, account, drive, photos, .. } = self;
        if message.kind.needs_session()
            && let Err(refused) = account.admit(message, rules, now)
        {
            return refused;
        }
        let drive_rules = &rules.drive;
        let outcome = match message.kind {
            RequestKind::Authorize
            | RequestKind::Federate
            | RequestKind::SigninInit
            | RequestKind::SigninComplete
            | RequestKind::RepairComplete
            | RequestKind::AuthState
            | RequestKind::PushCode
            | RequestKind::VerifyCode
            | RequestKind::SendSms
            | RequestKind::VerifySms
            | RequestKind::Trust => Ok(signin::respond(account, &rules.account, &rules.session, now, message)),
            RequestKind::AccountLogin
            | RequestKind::Validate
            | RequestKind::RequestPcs
            | RequestKind::WebAccessState
            | RequestKind::DeviceConsent
            | RequestKind::StorageUsage => Ok(setup::respond(account, rules, drive.tree.stored_bytes(), now, message)),
            RequestKind::List => drivews::list(drive, drive_rules, message),
            RequestKind::ListDetails => drivews::details(drive, drive_rules, message),
            RequestKind::CreateFolders => drivews::create_folders(drive, drive_rules, now_ms, message),
            RequestKind::Rename => drivews::rename(drive, drive_rules, message),
            RequestKind::Move => drivews::move_items(drive, drive_rules, message),
            RequestKind::Trash => drivews::trash(drive, drive_rules, message),
            RequestKind::PutBack => drivews::put_back(drive, drive_rules, message),
            RequestKind::Delete => drivews::delete(drive, drive_rules, message),
            RequestKind::LookupByPath => docws::lookup_by_path(drive, message),
            RequestKind::LookupById => docws::lookup_by_id(drive, message),
            RequestKind::Item => docws::item(drive, message),
            RequestKind::Enumerate => docws::enumerate(drive, message),
            RequestKind::Copy => docws::copy(drive, drive_rules, now_ms, message),
            RequestKind::ById => docws::by_id(drive, drive_rules, now, message),
            RequestKind::DownloadBatch => docws::batch(drive, drive_rules, now, message),
            RequestKind::Download => docws::download(drive, drive_rules, now, message),
            RequestKind::UploadWeb => upload::upload_web(drive, drive_rules, message),
            RequestKind::UpdateDocuments => upload::update_documents(drive, drive_rules, now_ms, message),
            RequestKind::PhotosQuery
            | RequestKind::PhotosLookup
            | RequestKind::PhotosCount
            | RequestKind::PhotosZones
            | RequestKind::PhotosChanges => photos::respond(photos, &rules.photos, now, message),
            RequestKind::SharedAlbums | RequestKind::SharedAlbumPhotos | RequestKind::SharedAlbumCount => {
                photos::shared::respond(photos, &rules.photos, now, message)
            }
            RequestKind::ContentGet => Ok(content_host::get(drive, photos, drive_rules, now, message)),
            RequestKind::ContentPost => Ok(posted.map_or_else(
                || Response::service_error(400, "Bad Request"),
                |file| content_host::post(drive, message, file),
            )),
            RequestKind::RefusedHost | RequestKind::Unknown => Err(Response::service_error(404, "Not Found")),
        };
        outcome.unwrap_or_else(|refused| refused)
    }

    /// Returns the subjects of a request, including the paths of the items that it names.
    pub(crate) fn subjects(&self, message: &Message) -> Vec<String> {
        let mut subjects = message.subjects();
        let tree = &self.drive.tree;
        let zone = if message.segment(0) == "ws" { message.segment(1) } else { "" };
        let paths: Vec<String> = subjects
            .iter()
            .filter_map(|subject| tree.by_drive_id(subject).or_else(|| tree.by_any_id(zone, subject)))
            .map(|id| tree.path(id))
            .filter(|path| !path.is_empty())
            .collect();
        subjects.extend(paths);
        subjects.extend(content_host::subject(&self.drive, message));
        if message.kind.is_of_photos()
            && let Ok(body) = message.json()
        {
            photos::subjects(&body, &mut subjects);
            subjects.push(message.segment(4).to_owned()); // the area of the database
        }
        subjects.extend(photos::content_of(&self.photos, message).map(|(_, _, name)| name));
        subjects
    }
}

/// The state, shared by the connections and the simulator's methods.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), changed: watch::Sender::new(()) })
    }

    /// Locks the state. A poisoned lock is accepted, so that a test that panics while it holds the
    /// lock fails with its own message.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tasks that wait for a change of the state.
    pub(crate) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Waits until the state satisfies `condition`.
    pub(crate) async fn until(&self, condition: impl Fn(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            if condition(&self.lock()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
