//! The `keybound` program.

use std::process::ExitCode;

/// A request makes some hundred short-lived allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keybound::cli::run(std::env::args_os())
}
