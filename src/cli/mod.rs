//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry::logging;

mod attack;
mod client;
mod config;
mod demo;
mod error;
mod files;
mod grant;
mod health;
mod http;
mod inspect;
mod management;
mod oauth;
mod proof;
mod serve;
mod token;

pub use error::CliError;

/// A DPoP-first (RFC 9449) sender-constrained token service.
#[derive(Debug, Parser)]
#[command(
    name = "keybound",
    version,
    about = "A DPoP-first (RFC 9449) sender-constrained token service: its tokens work only together with the key they were issued to.",
    after_help = "See it work:  keybound demo\n\nExit codes:  0 done · 1 the answer is no (refused, a check failed) · 2 wrong command line or configuration · 3 something could not be reached, read or written",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a service on this machine and watch a client use it, step by step. Needs nothing else.
    Demo(demo::Demo),
    /// Run the service.
    Serve(serve::Serve),
    /// Check a configuration, or print the default one with comments.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Register, list, show and delete clients of a running service.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Make, list and revoke grants of a running service.
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Make a DPoP proof, look into one, or print the thumbprint of a key.
    #[command(subcommand)]
    Proof(proof::ProofCommand),
    /// Use a refresh token at any service that follows RFC 9449.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Attack a server that speaks DPoP, yours or another's, with a catalogue of replays, forgeries and races, and report what it lets through.
    Attack(Box<attack::Attack>),
    /// Ask a running service whether it is ready. For container health checks.
    Health(health::Health),
}

/// Runs one command with the arguments of a process, the first of which is the program's name, and tells how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" of clap that go to stdout; a closed pipe is nobody's failure.
            let _written = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    let outcome = execute(cli.command);
    logging::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keybound: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<(), CliError> {
    http::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Unusable(format!("no threads can be started: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Demo(demo) => demo.run().await,
            Command::Serve(serve) => serve.run().await,
            Command::Config(command) => command.run(),
            Command::Client(command) => command.run().await,
            Command::Grant(command) => command.run().await,
            Command::Proof(command) => command.run(),
            Command::Token(command) => command.run().await,
            Command::Attack(attack) => attack.run().await,
            Command::Health(health) => health.run().await,
        }
    })
}

/// Prints a line to stdout. A reader that has gone away (`| head`) is nobody's failure.
fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _written = writeln!(std::io::stdout().lock(), "{line}");
}
