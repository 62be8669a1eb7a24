//! The C boundary: safe functions around rclone, which is linked as a C archive.
//!
//! Pointers and `unsafe` occur only in this module and its children. Text (JSON, opaque here),
//! numbers that stand for values on the Go side, and memory that is lent for one blocking call
//! cross the boundary.
//!
//! Every call blocks its thread. No call may be made before [`start`] has returned: Go's exports
//! would wait for a runtime that never starts.

#![expect(unsafe_code, reason = "this is the layer that calls C")]

mod allocator;
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

pub use allocator::limit_arenas;
pub use start::{environment, start};

/// A string that the Go side has allocated.
pub struct GoString(NonNull<c_char>);

impl GoString {
    fn new(pointer: *mut c_char) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    /// Returns the bytes without the terminating NUL.
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

/// Returns the text from Go, which is empty if there is none.
fn text_of(pointer: *mut c_char) -> String {
    GoString::new(pointer).map(GoString::into_text).unwrap_or_default()
}

/// Calls a method of this program's Go side. Returns JSON, or none if Go returned nothing.
///
/// # Errors
/// Fails if the input contains a NUL, which C cannot pass.
pub fn call(method: &str, input: &str) -> Result<Option<GoString>, NulError> {
    let (method, input) = (CString::new(method)?, CString::new(input)?);
    // SAFETY: both are NUL-terminated and outlive the call, which copies them
    // (C.GoString) and does not write to them.
    let result = unsafe { bindings::RcloneCall(method.as_ptr().cast_mut(), input.as_ptr().cast_mut()) };
    Ok(GoString::new(result))
}

/// Calls an rc method of rclone's own. Returns its status (200 if the call was made) and JSON.
///
/// # Errors
/// Fails if the input contains a NUL, which C cannot pass.
pub fn rpc(method: &str, input: &str) -> Result<(i32, String), NulError> {
    let (method, input) = (CString::new(method)?, CString::new(input)?);
    // SAFETY: both are NUL-terminated and outlive the call, which copies them
    // (C.GoString) and does not write to them.
    let result = unsafe { bindings::RcloneRPC(method.as_ptr().cast_mut(), input.as_ptr().cast_mut()) };
    Ok((result.Status, text_of(result.Output)))
}

/// Stores content at the path that the JSON input names. Returns JSON.
///
/// # Errors
/// Fails if the input contains a NUL, which C cannot pass.
pub fn upload(input: &str, content: &[u8]) -> Result<String, NulError> {
    let input = CString::new(input)?;
    // SAFETY: `content` is borrowed for the call. The export reads it through a
    // region that it takes back before it returns (vendor/librclone/remote/
    // upload.go), and never writes to it.
    let result =
        unsafe { bindings::RcloneUpload(input.as_ptr().cast_mut(), or_null(content).cast_mut(), content.len()) };
    Ok(text_of(result))
}

/// Returns the address of a slice, or null for an empty one. In Rust, the pointer of an empty slice
/// is dangling, but Go treats every pointer except nil as one into memory.
fn or_null(slice: &[u8]) -> *const u8 {
    if slice.is_empty() { ptr::null() } else { slice.as_ptr() }
}

/// A scope on the Go side. Calls made under it are cancelled when it is dropped.
#[derive(Debug)]
pub struct Scope(u64);

impl Scope {
    /// Opens a scope.
    pub fn new() -> Self {
        // SAFETY: no arguments; the export only makes a context.
        Self(unsafe { bindings::RcloneScopeBegin() })
    }

    /// Returns the number that identifies the scope in the input of a call.
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

/// A listed file that the Go side holds until this is dropped.
#[derive(Debug)]
pub struct Object(u64);

impl Object {
    /// Takes ownership of a number that a method returned; 0 stands for none.
    pub fn adopt(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// Returns the number that identifies the object in the input of a call.
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
    /// Takes ownership of a number that `object/open` returned.
    pub fn adopt(id: u64) -> Self {
        Self(id)
    }

    /// Appends content to `buffer`, up to its spare capacity, and returns the number of bytes,
    /// which is smaller than the capacity only at the end.
    ///
    /// # Errors
    /// Returns the JSON of the failure. The bytes before it are in the buffer.
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

/// Sends rclone's log to [`log`]: all of it, or only warnings and errors.
pub fn set_log(complete: bool) {
    // SAFETY: the sink is a function of this program and lives as long as it.
    unsafe { bindings::RcloneSetLog(complete, Some(log_line)) }
}

/// Called by Go from any of its threads.
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
