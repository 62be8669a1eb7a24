//! Uploads of the type `PACKAGE`: the upload host's response to an archive, and the `add_package`
//! that must repeat it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::drive::package::Package;

/// Something that the service stores for an uploaded package: one of its two manifests, or a
/// section.
struct Asset {
    checksum: [u8; 32],
    receipt: Vec<u8>,
    size: u64,
}

impl Asset {
    /// Creates an asset. `part` distinguishes the assets of one upload.
    fn new(token: &str, part: &str, size: u64) -> Self {
        let receipt = format!("{token}/{part}").into_bytes();
        Self { checksum: Sha256::digest(&receipt).into(), receipt, size }
    }

    /// The asset in the response of the upload host.
    fn in_response(&self) -> Value {
        json!({
            "hexFileChecksum": hex::encode(self.checksum),
            "hexReferenceChecksum": hex::encode(self.checksum),
            "hexWrappingKey": hex::encode(&self.checksum[..16]),
            "receiptToken": URL_SAFE_NO_PAD.encode(&self.receipt),
            "size": self.size,
        })
    }

    /// The asset in a request with `add_package`.
    fn in_request(&self) -> Value {
        json!({
            "signature": STANDARD.encode(self.checksum),
            "reference_signature": STANDARD.encode(self.checksum),
            "wrapping_key": STANDARD.encode(&self.checksum[..16]),
            "receipt": STANDARD.encode(&self.receipt),
            "size": self.size,
        })
    }
}

fn assets(token: &str, package: &Package) -> [Asset; 3] {
    let manifest = |part: &str| Asset::new(token, part, 100);
    [manifest("br"), manifest("ck"), Asset::new(token, "section", package.listed_size())]
}

/// Returns the response to the POST of a package's archive.
pub(crate) fn response(token: &str, package: &Package) -> Value {
    let [br, ck, section] = assets(token, package);
    json!({
        "hexBrSyntheticChecksum": hex::encode(package.signature()),
        "brManifest": br.in_response(),
        "ckManifest": ck.in_response(),
        "ckSectionAssets": [section.in_response()],
    })
}

/// Returns whether an `add_package` repeats everything in the upload host's response for this
/// upload.
pub(crate) fn is_repeated(update: &Value, token: &str, package: &Package) -> bool {
    let [br, ck, section] = assets(token, package);
    update["pkgSignature"] == STANDARD.encode(package.signature())
        && update["manifest"] == br.in_request()
        && update["package"] == json!({ "manifest": ck.in_request(), "sections": [section.in_request()] })
}
