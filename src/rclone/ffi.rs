//! The C boundary: rclone as a C archive behind safe functions.
//!
//! Pointers and `unsafe` live in this module and its children, nowhere else.
//! What crosses is text (JSON, opaque here), numbers that stand for values on
//! the Go side, and memory that is lent for the length of one blocking call.
//!
//! Every call blocks its thread. None may be made before [`start`] returned:
//! Go's exports wait for a runtime that would never come up.

#![expect(unsafe_code, reason = "this is the layer that talks to C")]

#[expect(dead_code, non_snake_case, reason = "generated from the exports, names and all")]
mod bindings;
pub mod region;
pub mod signals;
mod start;

use std::{
    ffi::{CStr, CString, NulError, c_char, c_int},
    ptr::{self, NonNull},
};

use bytes::BytesMut;

pub use start::{environment, start};

/// A string that the Go side allocated.
pub struct GoString(NonNull<c_char>);

impl GoString {
    fn new(pointer: *mut c_char) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    /// Its bytes, without the NUL that ends it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: an export made this pointer with C.CString or C.CBytes, ended the
        // text with a NUL, and gave it to us; it is freed in Drop, after the borrow.
        unsafe { CStr::from_ptr(self.0.as_ptr()) }.to_bytes()
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl Drop for GoString {
    fn drop(&mut self) {
        // SAFETY: the pointer came from an export (see `new`) and is freed once,
        // by the allocator that made it.
        unsafe { bindings::RcloneFreeString(self.0.as_ptr()) }
    }
}

/// Text from Go, empty if there is none.
fn text_of(pointer: *mut c_char) -> String {
    GoString::new(pointer).map(GoString::into_text).unwrap_or_default()
}

/// Calls a method of ours. Returns JSON; none if Go returned nothing.
///
/// # Errors
/// If the input holds a NUL, which C cannot pass.
pub fn call(method: &str, input: &str) -> Result<Option<GoString>, NulError> {
    let (method, input) = (CString::new(method)?, CString::new(input)?);
    // SAFETY: both are NUL-terminated and outlive the call, which copies them
    // (C.GoString) and does not write to them.
    let answer = unsafe { bindings::RcloneCall(method.as_ptr().cast_mut(), input.as_ptr().cast_mut()) };
    Ok(GoString::new(answer))
}

/// Calls an rc method of rclone's own. Returns its status (200 if the call was made)
/// and JSON.
///
/// # Errors
/// If the input holds a NUL, which C cannot pass.
pub fn rpc(method: &str, input: &str) -> Result<(i32, String), NulError> {
    let (method, input) = (CString::new(method)?, CString::new(input)?);
    // SAFETY: both are NUL-terminated and outlive the call, which copies them
    // (C.GoString) and does not write to them.
    let result = unsafe { bindings::RcloneRPC(method.as_ptr().cast_mut(), input.as_ptr().cast_mut()) };
    Ok((result.Status, text_of(result.Output)))
}

/// Stores content under the path that the JSON input names; answers JSON.
///
/// # Errors
/// If the input holds a NUL, which C cannot pass.
pub fn upload(input: &str, content: &[u8]) -> Result<String, NulError> {
    let input = CString::new(input)?;
    // SAFETY: `content` is borrowed for the call. The export reads it through a
    // region that it takes back before it returns (vendor/librclone/remote/
    // upload.go), and never writes to it.
    let answer =
        unsafe { bindings::RcloneUpload(input.as_ptr().cast_mut(), or_null(content).cast_mut(), content.len()) };
    Ok(text_of(answer))
}

/// Returns where a slice is, or null for an empty one: Rust's pointer of an empty
/// slice points nowhere, and Go takes every pointer but nil for one into memory.
fn or_null(slice: &[u8]) -> *const u8 {
    if slice.is_empty() { ptr::null() } else { slice.as_ptr() }
}

/// A scope on the Go side: calls made under it are cancelled when it is dropped.
#[derive(Debug)]
pub struct Scope(u64);

impl Scope {
    /// Opens a scope.
    pub fn new() -> Self {
        // SAFETY: no arguments; the export only makes a context.
        Self(unsafe { bindings::RcloneScopeBegin() })
    }

    /// The number that a call's input names it by.
    pub fn id(&self) -> u64 {
        self.0
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: takes a number; an unknown one does nothing.
        unsafe { bindings::RcloneScopeEnd(self.0) }
    }
}

/// A listed file that the Go side keeps until this is dropped.
#[derive(Debug)]
pub struct Object(u64);

impl Object {
    /// Takes over a number that a method's answer gave; 0 stands for none.
    pub fn adopt(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The number that a call's input names it by.
    pub fn id(&self) -> u64 {
        self.0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: takes a number; an unknown one does nothing.
        unsafe { bindings::RcloneObjectRelease(self.0) }
    }
}

/// Opened content on the Go side, closed on drop.
#[derive(Debug)]
pub struct Reader(u64);

impl Reader {
    /// Takes over a number that `object/open` answered.
    pub fn adopt(id: u64) -> Self {
        Self(id)
    }

    /// Appends what follows to `buffer`, up to its spare capacity, and tells how
    /// many bytes that were: fewer than the capacity only at the end.
    ///
    /// # Errors
    /// The JSON of the failure; what was read before it is in the buffer.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, String> {
        let spare = buffer.spare_capacity_mut();
        let start = if spare.is_empty() { ptr::null_mut() } else { spare.as_mut_ptr() };
        // SAFETY: the spare capacity is ours alone during the call, may be
        // written to, and needs no initial value since the export only writes.
        let result = unsafe { bindings::RcloneRead(self.0, start.cast(), spare.len()) };
        let count = result.Count.min(spare.len());
        // SAFETY: the export wrote `count` bytes, no more than the capacity.
        unsafe { buffer.set_len(buffer.len() + count) };
        match GoString::new(result.Failure) {
            Some(failure) => Err(failure.into_text()),
            None => Ok(count),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: takes a number; an unknown one does nothing.
        unsafe { bindings::RcloneReaderClose(self.0) }
    }
}

/// Sends rclone's log to [`log`], complete or warnings and errors only.
pub fn set_log(complete: bool) {
    // SAFETY: the sink is a function of this program and lives as long as it.
    unsafe { bindings::RcloneSetLog(complete, Some(log_line)) }
}

/// Called by Go, from any of its threads.
unsafe extern "C" fn log_line(level: c_int, text: *const c_char) {
    // SAFETY: the export passes a NUL-terminated text that it frees only after
    // this returns (vendor/librclone/main.go).
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // The levels are those of Go's slog, see exports.h.
    let level = match level {
        ..0 => log::Level::Debug,
        0..4 => log::Level::Info,
        4..8 => log::Level::Warn,
        8.. => log::Level::Error,
    };
    log::log!(target: "rclone", level, "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slice_is_null_for_go() {
        assert!(or_null(&[]).is_null());
        assert!(!or_null(b"a").is_null());
    }
}
