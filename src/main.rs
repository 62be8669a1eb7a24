//! The executable. [`plakar_icloud::program`] has the program.

use std::process::ExitCode;

/// musl's own allocator is slow if one thread frees the memory of another, as happens with content
/// that passes through gRPC. This allocator is fast with any libc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plakar_icloud::program::main()
}
