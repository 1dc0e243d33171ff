//! Log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for this process; a second call changes nothing.
///
/// `level` is a filter such as `info` or `keybound=debug`; one that can't be parsed means `info`.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}")).unwrap_or_else(|_| EnvFilter::new("actix_server=warn,info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A process logs in one way; whoever came first decides.
    let _already_started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
