//! Log lines on standard error.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::telemetry::lines::Lines;

static LINES: OnceLock<Lines> = OnceLock::new();

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
/// `level` is a filter such as `info` or `keybound=debug`; one that can't be parsed means `info`. Lines are written a few milliseconds
/// later, by a thread of their own: [`flush`] waits for them.
///
/// # Errors
/// Where the system gives no thread.
pub fn start(format: LogFormat, level: &str) -> io::Result<()> {
    let lines = match LINES.get() {
        Some(lines) => lines.clone(),
        None => {
            let lines = Lines::start(io::stderr())?;
            LINES.get_or_init(|| lines).clone()
        }
    };
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}")).unwrap_or_else(|_| EnvFilter::new("actix_server=warn,info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(io::stderr().is_terminal());
    // A process logs in one way; whoever came first decides.
    let _already_started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Waits until every line so far has been written.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}
