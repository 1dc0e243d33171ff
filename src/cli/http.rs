//! The command line's HTTP client.

use std::time::Duration;

use crate::cli::CliError;

/// Chooses the provider of TLS cryptography for this process.
pub(super) fn install_crypto() {
    // An error means that one was chosen before, which is as good.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client that follows no redirects: neither tokens nor proofs may travel to another place than they were made for.
pub(super) fn client() -> Result<reqwest::Client, CliError> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(15))
        .user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| CliError::Unusable(format!("no HTTP client can be made: {}", chain(&error))))
}

/// An error with its causes. The URL is left out: queries may hold what should not be printed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
