//! The `keybound` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    keybound::cli::run(std::env::args_os())
}
