//! The executable. [`plakar_icloud::program`] has the program.

use std::process::ExitCode;

/// musl's own allocator is slow if one thread frees the memory of another, as happens with content
/// that passes through gRPC. That of glibc is fast, and keeps less memory than mimalloc with many
/// threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plakar_icloud::program::main()
}
