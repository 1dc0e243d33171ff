//! `keybound health`.

use std::time::Duration;

use crate::cli::{CliError, http};

/// Ask a running service whether it is ready. Exits with 0 if it is.
#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// The management listener of the service.
    #[arg(long, value_name = "URL", env = "KEYBOUND_MANAGEMENT", default_value = "http://127.0.0.1:8082")]
    management: String,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let url = format!("{}/readyz", self.management.trim_end_matches('/'));
        let answer = http::client()?.get(&url).timeout(Duration::from_secs(3)).send().await;
        let answer = answer.map_err(|error| CliError::Unusable(format!("{url} does not answer: {}", http::chain(&error.without_url()))))?;
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        if status.is_success() {
            super::say(body);
            return Ok(());
        }
        Err(CliError::Refused(format!("not ready: {status} {body}")))
    }
}
