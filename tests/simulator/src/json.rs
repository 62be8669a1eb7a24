//! Merging of JSON documents.

use serde_json::Value;

/// Merges as RFC 7396 specifies: null removes a member.
pub(crate) fn merge_removing(target: &mut Value, patch: &Value) {
    if let (Value::Object(members), Value::Object(patch)) = (&mut *target, patch) {
        members.retain(|key, _| patch.get(key).is_none_or(|value| !value.is_null()));
        for (key, value) in patch.iter().filter(|(_, value)| !value.is_null()) {
            merge_removing(members.entry(key.clone()).or_insert(Value::Null), value);
        }
    } else {
        *target = patch.clone();
    }
}

/// Merges as RFC 7396 specifies, except that null is an ordinary value.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    if let (Value::Object(members), Value::Object(patch)) = (&mut *target, patch) {
        for (key, value) in patch {
            merge(members.entry(key.clone()).or_insert(Value::Null), value);
        }
    } else {
        *target = patch.clone();
    }
}
