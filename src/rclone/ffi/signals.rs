//! Signal handlers that may run on a goroutine's stack.

use std::{ffi::c_int, io, mem, ptr};

/// Makes the handler of a signal run on the alternate stack of the thread.
///
/// A handler without `SA_ONSTACK`, as tokio installs it, runs on the current stack of the
/// interrupted thread. The stack of a goroutine has a few kilobytes, and the handler would
/// overwrite the memory below it (os/signal, "Non-Go programs that call Go code"). Must be called
/// after the handler was installed.
///
/// # Errors
/// Fails if the signal cannot have a handler.
pub fn use_alternate_stack(signal: c_int) -> io::Result<()> {
    // SAFETY: sigaction is a C struct for which all zeros is a valid value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: reads the present action into a struct of ours.
    if unsafe { libc::sigaction(signal, ptr::null(), &mut action) } != 0 {
        return Err(io::Error::last_os_error());
    }
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: puts back the same handler and mask with one more flag.
    if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
