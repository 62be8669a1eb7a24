//! The kinds of request, and how the kind of a request is recognised.

use hyper::Method;
use serde::{Deserialize, Serialize};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// `GET authorize/signin`: starts a sign-in.
    Authorize,
    /// `POST federate`.
    Federate,
    /// `POST signin/init`: the first half of SRP.
    SigninInit,
    /// `POST signin/complete`: the second half of SRP.
    SigninComplete,
    /// `POST repair/complete`.
    RepairComplete,
    /// `GET auth`: phones, devices, security keys.
    AuthState,
    /// `PUT verify/trusteddevice/securitycode`: requests a push to the devices.
    PushCode,
    /// `POST verify/trusteddevice/securitycode`: a code from a device.
    VerifyCode,
    /// `PUT verify/phone`: requests a code by phone.
    SendSms,
    /// `POST verify/phone/securitycode`: a code from a phone.
    VerifySms,
    /// `GET 2sv/trust`: requests a trust token.
    Trust,
    /// `accountLogin`: starts a web session.
    AccountLogin,
    /// `validate`: checks whether a web session is live.
    Validate,
    /// `requestPCS`: requests PCS cookies.
    RequestPcs,
    /// `requestWebAccessState`.
    WebAccessState,
    /// `enableDeviceConsentForPCS`: makes the devices prompt for consent.
    DeviceConsent,
    /// `storageUsageInfo`: the quota and its use.
    StorageUsage,
    /// `retrieveItemDetailsInFolders`.
    List,
    /// `retrieveItemDetails`.
    ListDetails,
    /// `createFolders`.
    CreateFolders,
    /// `renameItems`.
    Rename,
    /// `moveItems`.
    Move,
    /// `moveItemsToTrash`.
    Trash,
    /// `putBackItemsFromTrash`.
    PutBack,
    /// `deleteItems`.
    Delete,
    /// `list/lookup_by_path`.
    LookupByPath,
    /// `list/lookup_by_id`.
    LookupById,
    /// `/v1/item`.
    Item,
    /// `/v1/enumerate`.
    Enumerate,
    /// `/v1/item/copy`.
    Copy,
    /// `download/by_id`: requests a content URL.
    ById,
    /// `download/batch`: requests several content URLs.
    DownloadBatch,
    /// `/v1/download`: the same for a shared file.
    Download,
    /// `upload/web`: requests an upload URL.
    UploadWeb,
    /// `update/documents`: turns an upload into a document.
    UpdateDocuments,
    /// `records/query`: a page of an index of Photos.
    PhotosQuery,
    /// `records/lookup` of Photos.
    PhotosLookup,
    /// `internal/records/query/batch`: counts of Photos.
    PhotosCount,
    /// `changes/database` or `zones/list`: the zones of Photos.
    PhotosZones,
    /// `changes/zone`: the changes in zones of Photos.
    PhotosChanges,
    /// `webgetalbumslist`: the shared albums.
    SharedAlbums,
    /// `webgetassets`: photos of a shared album.
    SharedAlbumPhotos,
    /// `webgetassetcount`: how many photos a shared album has.
    SharedAlbumCount,
    /// Bytes from a content host.
    ContentGet,
    /// Bytes to an upload host.
    ContentPost,
    /// A CONNECT to a host that is not Apple's.
    RefusedHost,
    /// A request to an Apple host, but of no kind that the simulator supports.
    Unknown,
}

impl RequestKind {
    pub(crate) fn of(host: &str, method: &Method, path: &str) -> Self {
        let host = host.trim_end_matches(".cn");
        match host {
            "idmsa.apple.com" => of_signin(method, path),
            "setup.icloud.com" => of_setup(path),
            _ if host.ends_with("-drivews.icloud.com") => of_drivews(path),
            _ if host.ends_with("-docws.icloud.com") => of_docws(path),
            _ if host.ends_with("-ckdatabasews.icloud.com") => of_photos(path),
            _ if host.ends_with("-sharedstreams.icloud.com") => of_shared_albums(path),
            _ if host.ends_with(".icloud-content.com") || host.ends_with("-contentws.icloud.com") => {
                if method == Method::POST { Self::ContentPost } else { Self::ContentGet }
            }
            _ => Self::Unknown,
        }
    }

    /// Returns whether the request changes the items in a zone.
    pub(crate) fn writes(self) -> bool {
        matches!(
            self,
            Self::CreateFolders
                | Self::Rename
                | Self::Move
                | Self::Trash
                | Self::PutBack
                | Self::Delete
                | Self::Copy
                | Self::UpdateDocuments
        )
    }

    /// Returns whether the request goes to a host of Photos.
    pub(crate) fn is_of_photos(self) -> bool {
        self.is_of_photos_database() || self.is_of_shared_albums()
    }

    /// Reports whether the request is to the database of Photos.
    pub(crate) fn is_of_photos_database(self) -> bool {
        matches!(
            self,
            Self::PhotosQuery | Self::PhotosLookup | Self::PhotosCount | Self::PhotosZones | Self::PhotosChanges
        )
    }

    /// Reports whether the request is to the service of shared albums.
    pub(crate) fn is_of_shared_albums(self) -> bool {
        matches!(self, Self::SharedAlbums | Self::SharedAlbumPhotos | Self::SharedAlbumCount)
    }

    /// Returns whether the request needs a web session (a cookie). Content hosts need none.
    pub(crate) fn needs_session(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::ListDetails
                | Self::CreateFolders
                | Self::Rename
                | Self::Move
                | Self::Trash
                | Self::PutBack
                | Self::Delete
                | Self::LookupByPath
                | Self::LookupById
                | Self::Item
                | Self::Enumerate
                | Self::Copy
                | Self::ById
                | Self::DownloadBatch
                | Self::Download
                | Self::UploadWeb
                | Self::UpdateDocuments
        ) || self.is_of_photos()
    }
}

fn of_signin(method: &Method, path: &str) -> RequestKind {
    let put = method == Method::PUT;
    match path.strip_prefix("/appleauth/auth").map(|rest| rest.trim_end_matches('/')) {
        Some("") => RequestKind::AuthState,
        Some("/authorize/signin") => RequestKind::Authorize,
        Some("/federate") => RequestKind::Federate,
        Some("/signin/init") => RequestKind::SigninInit,
        Some("/signin/complete") => RequestKind::SigninComplete,
        Some("/repair/complete") => RequestKind::RepairComplete,
        Some("/verify/trusteddevice/securitycode") if put => RequestKind::PushCode,
        Some("/verify/trusteddevice/securitycode") => RequestKind::VerifyCode,
        Some("/verify/phone") => RequestKind::SendSms,
        Some("/verify/phone/securitycode") => RequestKind::VerifySms,
        Some("/2sv/trust") => RequestKind::Trust,
        _ => RequestKind::Unknown,
    }
}

fn of_shared_albums(path: &str) -> RequestKind {
    match path.rsplit_once("/sharedstreams/").map(|(_, operation)| operation) {
        Some("webgetalbumslist") => RequestKind::SharedAlbums,
        Some("webgetassets") => RequestKind::SharedAlbumPhotos,
        Some("webgetassetcount") => RequestKind::SharedAlbumCount,
        _ => RequestKind::Unknown,
    }
}

fn of_setup(path: &str) -> RequestKind {
    match path.strip_prefix("/setup/ws/1") {
        Some("/accountLogin") => RequestKind::AccountLogin,
        Some("/validate") => RequestKind::Validate,
        Some("/requestPCS") => RequestKind::RequestPcs,
        Some("/requestWebAccessState") => RequestKind::WebAccessState,
        Some("/enableDeviceConsentForPCS") => RequestKind::DeviceConsent,
        Some("/storageUsageInfo") => RequestKind::StorageUsage,
        _ => RequestKind::Unknown,
    }
}

fn of_drivews(path: &str) -> RequestKind {
    match path {
        "/retrieveItemDetailsInFolders" => RequestKind::List,
        "/retrieveItemDetails" => RequestKind::ListDetails,
        "/createFolders" => RequestKind::CreateFolders,
        "/renameItems" => RequestKind::Rename,
        "/moveItems" => RequestKind::Move,
        "/moveItemsToTrash" => RequestKind::Trash,
        "/putBackItemsFromTrash" => RequestKind::PutBack,
        "/deleteItems" => RequestKind::Delete,
        _ => RequestKind::Unknown,
    }
}

fn of_photos(path: &str) -> RequestKind {
    let Some(rest) = path.strip_prefix("/database/1/com.apple.photos.cloud/production/") else {
        return RequestKind::Unknown;
    };
    match rest.split_once('/').map(|(_, operation)| operation) {
        Some("records/query") => RequestKind::PhotosQuery,
        Some("records/lookup") => RequestKind::PhotosLookup,
        Some("internal/records/query/batch") => RequestKind::PhotosCount,
        Some("changes/database" | "zones/list") => RequestKind::PhotosZones,
        Some("changes/zone") => RequestKind::PhotosChanges,
        _ => RequestKind::Unknown,
    }
}

fn of_docws(path: &str) -> RequestKind {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["ws", _, "list", "lookup_by_path"] => RequestKind::LookupByPath,
        ["ws", _, "list", "lookup_by_id"] => RequestKind::LookupById,
        ["ws", _, "download", "by_id"] => RequestKind::ById,
        ["ws", _, "download", "batch"] => RequestKind::DownloadBatch,
        ["ws", _, "upload", "web"] => RequestKind::UploadWeb,
        ["ws", _, "update", "documents"] => RequestKind::UpdateDocuments,
        ["v1", "item", "copy", _] => RequestKind::Copy,
        ["v1", "item", _] => RequestKind::Item,
        ["v1", "enumerate", _] => RequestKind::Enumerate,
        ["v1", "download", _] => RequestKind::Download,
        _ => RequestKind::Unknown,
    }
}
