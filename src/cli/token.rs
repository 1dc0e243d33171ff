//! `keybound token refresh`.

use std::path::PathBuf;
use std::time::Duration;

use keybound_proofs::ProofKey;

use crate::cli::client::print_json;
use crate::cli::oauth::{Answer, OAuthClient};
use crate::cli::{CliError, files, http};

/// Use tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Refresh: print a new access token, and write the rotated refresh token back into its file.
    Refresh(Refresh),
}

#[derive(Debug, clap::Args)]
pub(super) struct Refresh {
    /// The issuer; the request goes to ISSUER/oauth/refresh.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// Another refresh or token endpoint than ISSUER/oauth/refresh.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The client's identifier. The client is public: its key is what it is known by.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The private key that the refresh token is bound to, as a JWK file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file that holds the refresh token. It is replaced in one step when the token was rotated.
    #[arg(long, value_name = "FILE")]
    refresh_token_file: PathBuf,
    /// Ask for less than what was granted, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// The resource that the access token is for; may be given more than once.
    #[arg(long, value_name = "URI")]
    resource: Vec<String>,
}

impl TokenCommand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let Self::Refresh(refresh) = self;
        refresh.run().await
    }
}

impl Refresh {
    async fn run(self) -> Result<(), CliError> {
        let key = files::read_key(&self.key)?;
        let refresh_token = files::read_secret(&self.refresh_token_file, "refresh token")?;
        let endpoint = self.endpoint.clone().unwrap_or_else(|| format!("{}/oauth/refresh", self.issuer));
        let client = OAuthClient::new(endpoint, self.client_id.clone())?;
        let mut answer = self.ask(&client, &key, &refresh_token).await?;
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        // First the file, then anything else: the answer may be the only place where the new token is.
        let rotated = answer.body.as_object_mut().and_then(|body| body.remove("refresh_token"));
        if let Some(rotated) = rotated.as_ref().and_then(serde_json::Value::as_str).filter(|token| *token != refresh_token.as_str()) {
            files::replace_secret(&self.refresh_token_file, rotated, "refresh token")?;
        }
        print_json(&answer.body);
        Ok(())
    }

    /// Asks until there is an answer that another try would not change: a nonce is answered, a lost or 503 answer is asked for again,
    /// each time with a fresh proof. Presenting the same refresh token again is safe: the service gives the same successor.
    async fn ask(&self, client: &OAuthClient, key: &ProofKey, refresh_token: &str) -> Result<Answer, CliError> {
        let mut more: Vec<(&str, &str)> = self.resource.iter().map(|resource| ("resource", resource.as_str())).collect();
        more.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let mut nonce: Option<String> = None;
        let mut last = CliError::Unusable(format!("no answer from {}", client.endpoint));
        for _ in 0..TRIES {
            let proof = client.proof(key, &client.endpoint, nonce.as_deref())?;
            match client.refresh(refresh_token, &proof, &more).await {
                Ok(answer) if answer.wants_nonce() && answer.nonce.is_some() => {
                    last = refused(&answer);
                    nonce = answer.nonce;
                }
                Ok(answer) if answer.status == reqwest::StatusCode::SERVICE_UNAVAILABLE => {
                    last =
                        CliError::Unusable(format!("{} can't tell at the moment (503); the refresh token is still good", client.endpoint));
                    tokio::time::sleep(Duration::from_secs(answer.retry_after.unwrap_or(1).min(MAX_WAIT_S))).await;
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_builder() => return Err(CliError::Usage(format!("{}: {}", client.endpoint, http::chain(&error)))),
                Err(error) => last = CliError::Unusable(format!("no answer from {}: {}", client.endpoint, http::chain(&error))),
            }
        }
        Err(last)
    }
}

/// How often one command asks: once, once more for a nonce, and twice for lost answers.
const TRIES: usize = 4;
/// The longest wait that a server is granted between two tries, in seconds.
const MAX_WAIT_S: u64 = 5;

fn refused(answer: &Answer) -> CliError {
    let what_next = match answer.text("error") {
        "invalid_grant" => "\nThe refresh token is spent, revoked or bound to another key: a new grant is needed.",
        "invalid_dpop_proof" => "\nIs this machine's clock right, and is the URL exactly the issuer's?",
        _ => "",
    };
    CliError::Refused(format!(
        "refused with {} {}: {}{what_next}",
        answer.status.as_u16(),
        answer.text("error"),
        answer.text("error_description")
    ))
}
