//! Uploads of the type `PACKAGE`: what the upload host answers to an archive, and the `add_package` that takes it back.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::drive::package::Package;

/// What the service stores of an uploaded package: two manifests and its sections.
struct Asset {
    checksum: [u8; 32],
    receipt: Vec<u8>,
    size: u64,
}

impl Asset {
    /// `part` tells the assets of one upload apart.
    fn new(token: &str, part: &str, size: u64) -> Self {
        let receipt = format!("{token}/{part}").into_bytes();
        Self { checksum: Sha256::digest(&receipt).into(), receipt, size }
    }

    /// The form in which the upload host answers it.
    fn answered(&self) -> Value {
        json!({
            "hexFileChecksum": hex(&self.checksum),
            "hexReferenceChecksum": hex(&self.checksum),
            "hexWrappingKey": hex(&self.checksum[..16]),
            "receiptToken": URL_SAFE_NO_PAD.encode(&self.receipt),
            "size": self.size,
        })
    }

    /// The form in which `add_package` takes it back.
    fn taken(&self) -> Value {
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

/// The answer to the POST of a package's archive.
pub(crate) fn answer(token: &str, package: &Package) -> Value {
    let [br, ck, section] = assets(token, package);
    json!({
        "hexBrSyntheticChecksum": hex(&package.signature()),
        "brManifest": br.answered(),
        "ckManifest": ck.answered(),
        "ckSectionAssets": [section.answered()],
    })
}

/// Reports whether an `add_package` takes back all that the upload host answered for this upload.
pub(crate) fn is_taken_back(update: &Value, token: &str, package: &Package) -> bool {
    let [br, ck, section] = assets(token, package);
    update["pkgSignature"] == STANDARD.encode(package.signature())
        && update["manifest"] == br.taken()
        && update["package"] == json!({ "manifest": ck.taken(), "sections": [section.taken()] })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
