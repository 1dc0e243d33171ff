//! The client's side of a refresh: one proof, one request, one answer.

use keybound_proofs::{ProofKey, SignError};
use reqwest::StatusCode;
use serde_json::Value;

use crate::cli::{CliError, http};
use crate::clock::{Clock, OsEntropy, SystemClock};

/// A public client with its key.
pub(super) struct OAuthClient {
    http: reqwest::Client,
    clock: SystemClock,
    /// The URL of the refresh endpoint: where requests go, and what proofs are made for.
    pub(super) endpoint: String,
    pub(super) client_id: String,
}

/// What a token endpoint answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The `DPoP-Nonce` that came along.
    pub(super) nonce: Option<String>,
    /// Seconds of `Retry-After`.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    pub(super) fn wants_nonce(&self) -> bool {
        self.text("error") == "use_dpop_nonce"
    }
}

impl OAuthClient {
    pub(super) fn new(endpoint: String, client_id: String) -> Result<Self, CliError> {
        Ok(Self { http: http::client()?, clock: SystemClock::new(), endpoint, client_id })
    }

    /// A fresh proof for a POST to `url`.
    pub(super) fn proof(&self, key: &ProofKey, url: &str, nonce: Option<&str>) -> Result<String, CliError> {
        let proof = key.proof("POST", url);
        let proof = nonce.map_or(proof, |nonce| proof.nonce(nonce));
        proof.sign(self.clock.now(), &mut OsEntropy).map_err(|error: SignError| CliError::Unusable(error.to_string()))
    }

    /// Presents a refresh token with a proof.
    pub(super) async fn refresh(&self, refresh_token: &str, proof: &str, more: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", &self.client_id)];
        form.extend(more);
        let answer = self.http.post(&self.endpoint).header("DPoP", proof).form(&form).send().await.map_err(reqwest::Error::without_url)?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (nonce, retry_after) = (header("dpop-nonce"), header("retry-after").and_then(|seconds| seconds.parse().ok()));
        let status = answer.status();
        let body = answer.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(Answer { status, nonce, retry_after, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}
