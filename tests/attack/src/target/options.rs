//! What the suite is told.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Client;
use crate::jose::Key;

/// Everything the suite has to know. [`Options::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The issuer, exactly as its metadata says it.
    pub issuer: Url,
    /// Another place of the metadata than the two that follow from the issuer.
    pub metadata_url: Option<Url>,
    /// A confidential client that may use `client_credentials`.
    pub machine: Option<Client>,
    /// The client that refresh tokens and codes are given to, usually a public one.
    pub app: Option<Client>,
    /// Another client, in whose hands tokens of the first must be worth nothing.
    pub other: Option<Client>,
    /// What is asked for on behalf of a user.
    pub scope: String,
    /// What the machine asks for; nothing where empty.
    pub machine_scope: String,
    /// A registered redirect URI of [`Options::app`].
    pub redirect_uri: String,
    /// Where tokens of a user come from.
    pub tokens: TokenSource,
    /// A protected resource that takes the tokens; userinfo where there is none.
    pub resource: Option<Url>,
    /// Another endpoint that refreshes, beside the token endpoint.
    pub refresh_endpoint: Option<Url>,
    /// A second node of the same server.
    pub peer: Option<Url>,
    /// What restarts the server.
    pub restart: Option<Restart>,
    /// How long a proof may be used after its `iat`, in seconds.
    pub window_s: i64,
    /// How far the `iat` of a proof may lie ahead, in seconds.
    pub skew_s: i64,
    /// How long a nonce is accepted at most, in seconds; unknown where `None`.
    pub nonce_life_s: Option<u32>,
    /// Trust anchors beside the public ones, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether attacks on resources may go to a server that is not on this machine.
    pub own_server: bool,
    /// Whether attacks that wait for time to pass run too.
    pub slow: bool,
    /// Globs of IDs; all where empty.
    pub only: Vec<String>,
    /// Where the stories start from; the same seed draws the same stories.
    pub seed: u64,
    /// How many stories are drawn.
    pub stories: u32,
}

/// What restarts the server, and ends once it is ready again.
#[derive(Clone)]
pub struct Restart(Arc<Restarter>);

type Restarter = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

impl Restart {
    /// Calls this.
    pub fn new<F, R>(restart: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(restart())))
    }

    /// Runs this shell command.
    pub fn command(command: impl Into<String>) -> Self {
        let command: Arc<str> = command.into().into();
        Self::new(move || {
            let command = Arc::clone(&command);
            async move {
                let status = tokio::process::Command::new("sh").args(["-c", &*command]).stdout(Stdio::null()).status().await;
                match status {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(format!("the command ended with {status}")),
                    Err(error) => Err(format!("the command can't be run: {error}")),
                }
            }
        })
    }

    pub(crate) async fn restart(&self) -> Result<(), String> {
        (self.0)().await
    }
}

impl std::fmt::Debug for Restart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Restart")
    }
}

/// Where tokens of a user come from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Nowhere: what needs them does not apply.
    None,
    /// The management API of Keybound makes grants.
    Management {
        /// The address of the management listener.
        url: Url,
        /// Its bearer token.
        token: String,
    },
    /// The authorization code flow, with the forms of the sign-in pages filled in under this user name. For test servers.
    SignIn(String),
    /// A shell command that reads a private JWK and prints the token response of a grant to that key.
    Command(String),
    /// A refresh token and the key it is bound to. It lasts for one session.
    Given {
        /// The refresh token.
        refresh_token: String,
        /// The key.
        key: Key,
    },
    /// The authorization code flow in the browser of a person, once.
    Browser,
}

impl Options {
    /// The defaults for an issuer.
    pub fn new(issuer: Url) -> Self {
        Self {
            issuer,
            metadata_url: None,
            machine: None,
            app: None,
            other: None,
            scope: "openid".to_owned(),
            machine_scope: String::new(),
            redirect_uri: "http://127.0.0.1/callback".to_owned(),
            tokens: TokenSource::None,
            resource: None,
            refresh_endpoint: None,
            peer: None,
            restart: None,
            window_s: 60,
            skew_s: 10,
            nonce_life_s: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
            own_server: false,
            slow: false,
            only: Vec::new(),
            seed: 0,
            stories: 24,
        }
    }

    /// What a report says of these options. No secret is among it.
    pub(crate) fn summary(&self) -> Value {
        let id = |client: &Option<Client>| client.as_ref().map(|client| client.id.clone());
        serde_json::json!({
            "issuer": self.issuer.as_str(),
            "machine_client": id(&self.machine),
            "app_client": id(&self.app),
            "other_client": id(&self.other),
            "scope": self.scope,
            "tokens": self.tokens.name(),
            "resource": self.resource.as_ref().map(Url::as_str),
            "peer": self.peer.as_ref().map(Url::as_str),
            "restart": self.restart.is_some(),
            "window_s": self.window_s,
            "skew_s": self.skew_s,
            "nonce_life_s": self.nonce_life_s,
            "slow": self.slow,
            "only": self.only,
            "seed": self.seed,
            "stories": self.stories,
        })
    }
}

impl TokenSource {
    /// Its name in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Management { .. } => "management",
            Self::SignIn(_) => "sign-in",
            Self::Command(_) => "token command",
            Self::Given { .. } => "given refresh token",
            Self::Browser => "browser",
        }
    }
}
