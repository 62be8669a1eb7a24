//! Starts Go's runtime with a chosen environment.

use std::{
    env,
    ffi::{CString, OsString, c_char, c_int, c_ulong},
    os::unix::ffi::OsStringExt,
    ptr,
    sync::Once,
};

use super::bindings;

unsafe extern "C" {
    /// Go's entry point for C archives, which `build.rs` moves out of `.init_array`.
    fn rclone_start_runtime(argc: c_int, argv: *const *const c_char);
}

/// Entries of the auxiliary vector that Go reads (runtime/os_linux.go): page
/// size, processor features, secure mode, random bytes, the vDSO.
const AUXILIARY: [c_ulong; 6] =
    [libc::AT_PAGESZ, libc::AT_HWCAP, libc::AT_HWCAP2, libc::AT_SECURE, libc::AT_RANDOM, libc::AT_SYSINFO_EHDR];

/// Starts Go and rclone, once in a process. Later calls only wait until both are started.
///
/// Go's environment is `environment`. Variables with a NUL cannot exist in a real environment and
/// are left out.
pub fn start(environment: impl IntoIterator<Item = (OsString, OsString)>) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let block = leak_argument_block(environment);
        // SAFETY: runs once, as a runtime can be started. `block` has the layout
        // of the stack at a program's start, which is what the entry reads: argc
        // pointers, NULL, the environment, NULL, the auxiliary vector. It is
        // leaked because Go keeps pointers into it.
        unsafe { rclone_start_runtime(1, block) };
        // SAFETY: no arguments; the export waits for the runtime by itself.
        unsafe { bindings::RcloneInitialize() };
    });
}

fn leak_argument_block(environment: impl IntoIterator<Item = (OsString, OsString)>) -> *const *const c_char {
    let mut words: Vec<*const c_char> = vec![leak(b"plakar-icloud".to_vec()), ptr::null()];
    for (name, value) in environment {
        let mut variable = name.into_vec();
        variable.push(b'=');
        variable.extend(value.into_vec());
        let variable = leak(variable);
        if !variable.is_null() {
            words.push(variable);
        }
    }
    words.push(ptr::null());
    for entry in AUXILIARY {
        // SAFETY: getauxval takes any number and returns 0 for an unknown one.
        let value = unsafe { libc::getauxval(entry) };
        if value != 0 {
            words.push(ptr::without_provenance(entry as usize));
            words.push(ptr::without_provenance(value as usize));
        }
    }
    words.extend([ptr::without_provenance(libc::AT_NULL as usize), ptr::null()]);
    Box::leak(words.into_boxed_slice()).as_ptr()
}

/// Returns a C string that lives as long as the process, or null if the bytes contain a NUL.
fn leak(bytes: Vec<u8>) -> *const c_char {
    CString::new(bytes).map_or(ptr::null(), |text| text.into_raw().cast_const())
}

/// rclone's variables that are passed on. Any other `RCLONE_*` variable would change a connector's
/// behaviour without a trace in its configuration.
const PASSED_ON: [&str; 1] = ["RCLONE_CA_CERT"];

/// Returns the environment for Go: that of the process without rclone's own variables.
/// `RCLONE_CONFIG` keeps rclone from looking for a configuration file in the home folder, for which
/// it would create a folder.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("RCLONE_") || PASSED_ON.contains(&&*name)
        })
        .chain([("RCLONE_CONFIG".into(), "/dev/null".into())])
        .chain(proxy_for_all(|name| env::var_os(name)))
}

/// Returns the variables that replace `ALL_PROXY`, which curl uses and Go ignores
/// (golang.org/x/net/http/httpproxy). A protocol that has its own variable, even an empty one, gets
/// none.
fn proxy_for_all(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let value = |names: [&str; 2]| names.into_iter().find_map(&variable);
    let Some(proxy) = value(["all_proxy", "ALL_PROXY"]) else {
        return Vec::new();
    };
    [["HTTPS_PROXY", "https_proxy"], ["HTTP_PROXY", "http_proxy"]]
        .into_iter()
        .filter(|names| value(*names).is_none())
        .map(|[name, _]| (name.into(), proxy.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_proxy_replaces_the_proxies_that_are_not_set() {
        let with = |set: &'static [(&str, &str)]| {
            proxy_for_all(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(with(&[]), []);
        let both = [("HTTPS_PROXY".into(), "socks5://p".into()), ("HTTP_PROXY".into(), "socks5://p".into())];
        assert_eq!(with(&[("ALL_PROXY", "socks5://p")]), both);
        assert_eq!(with(&[("ALL_PROXY", "socks5://p"), ("https_proxy", "")]), both[1..]);
        assert_eq!(with(&[("all_proxy", "socks5://p"), ("https_proxy", "http://q")]), both[1..]);
    }

    #[test]
    fn a_second_start_does_nothing() {
        start(environment());
        start(environment());
    }
}
