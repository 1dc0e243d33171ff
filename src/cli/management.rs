//! Talking to the management listener of a running service.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::{CliError, files, http};

/// Where the running service is, and the token for it.
#[derive(Debug, clap::Args)]
pub(super) struct ManagementArgs {
    /// The management listener of the service.
    #[arg(long, value_name = "URL", env = "KEYBOUND_MANAGEMENT", default_value = "http://127.0.0.1:8082")]
    management: String,
    /// A file that holds the management token. Without it the token is taken from KEYBOUND_MANAGEMENT_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ManagementArgs {
    pub(super) fn connect(&self) -> Result<ManagementClient, CliError> {
        let token = match &self.token_file {
            Some(path) => files::read_secret(path, "token")?,
            None => Zeroizing::new(std::env::var("KEYBOUND_MANAGEMENT_TOKEN").map_err(|_| {
                CliError::Usage("the management token is needed: set KEYBOUND_MANAGEMENT_TOKEN or give --token-file".to_owned())
            })?),
        };
        Ok(ManagementClient { http: http::client()?, base: self.management.trim_end_matches('/').to_owned(), token })
    }
}

/// A caller of the management API.
pub(super) struct ManagementClient {
    http: reqwest::Client,
    base: String,
    token: Zeroizing<String>,
}

impl ManagementClient {
    pub(super) fn new(base: String, token: &str) -> Result<Self, CliError> {
        Ok(Self { http: http::client()?, base, token: Zeroizing::new(token.to_owned()) })
    }

    /// Sends one request and returns the JSON of a success; `Null` where it has no body.
    pub(super) async fn send(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Value, CliError> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| CliError::Usage(format!("--management {}: {error}", self.base)))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).bearer_auth(self.token.as_str());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(error))?;
        let json = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        if status.is_success() { Ok(json) } else { Err(self.refused(status, &json)) }
    }

    fn unreachable(&self, error: reqwest::Error) -> CliError {
        let reason = http::chain(&error.without_url());
        CliError::Unusable(format!("no answer from {}: {reason}\nIs the service running, and is this its listen.management?", self.base))
    }

    fn refused(&self, status: StatusCode, json: &Value) -> CliError {
        let described = json["error_description"].as_str().or(json["error"].as_str()).unwrap_or("no reason given");
        CliError::Refused(match status {
            StatusCode::UNAUTHORIZED => {
                format!("{} refused the management token; it must be the service's management.token", self.base)
            }
            StatusCode::SERVICE_UNAVAILABLE => format!("the service can't tell at the moment, try again: {described}"),
            _ => format!("refused with {}: {described}", status.as_u16()),
        })
    }
}

/// Percent-encodes one segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
