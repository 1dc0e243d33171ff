//! `keybound serve`.

use crate::cli::CliError;
use crate::cli::config::ConfigArgs;
use crate::config::{Log, LogFormat};
use crate::telemetry::logging;

/// Run the service until SIGTERM or Ctrl-C; then finish what is under way and write what a clean start needs.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let config = self.config.load()?;
        start_log(config.log)?;
        let running = crate::app::start(config).await.map_err(|error| CliError::Unusable(format!("the service can't start: {error}")))?;
        stop_asked().await?;
        tracing::info!("stopping");
        running.stop().await.map_err(|error| CliError::Unusable(format!("the service did not stop cleanly: {error}")))
    }
}

/// Writes the log to stderr, as the configuration says.
///
/// # Errors
/// Where the system gives no thread to write with.
pub(super) fn start_log(log: Log) -> Result<(), CliError> {
    let format = match log.format {
        LogFormat::Text => logging::LogFormat::Text,
        LogFormat::Json => logging::LogFormat::Json,
    };
    logging::start(format, log.level.name()).map_err(|error| CliError::Unusable(format!("the log can't be written: {error}")))
}

/// Resolves when the process is asked to stop.
pub(super) async fn stop_asked() -> Result<(), CliError> {
    let unusable = |error| CliError::Unusable(format!("signals can't be received: {error}"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate()).map_err(unusable)?, signal(SignalKind::interrupt()).map_err(unusable)?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(unusable)
}
