//! The numbers of items in photo libraries, as the commands `scan` and `status` show them.

use serde_json::{Map, Value, json};

use crate::{rclone::Collection, report::Bytes};

/// Returns the libraries as JSON objects.
pub fn values(libraries: &[Collection]) -> Vec<Value> {
    let value = |found: &Collection| {
        let counts: Map<String, Value> =
            found.counts.iter().map(|count| (count.kind.clone(), json!(count.number))).collect();
        json!({ "path": format!("/{}", found.name), "counts": counts, "bytes": found.bytes })
    };
    libraries.iter().map(value).collect()
}

/// Returns a line for each library.
pub fn lines(libraries: &[Collection]) -> impl Iterator<Item = String> {
    libraries.iter().map(|found| {
        let counts = found.counts.iter().map(|count| format!("{} {}", count.kind, count.number));
        let counts = counts.chain([Bytes(found.bytes).to_string()]).collect::<Vec<_>>().join(", ");
        format!("/{}: {counts}", found.name)
    })
}
