//! `keybound demo`: the service and a client of it in one process, talking over real HTTP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use keybound_proofs::jose::encode_base64url;
use keybound_proofs::{Alg, Entropy as _, ProofKey};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::app::Running;
use crate::cli::{CliError, files, say, serve};
use crate::clock::OsEntropy;
use crate::config::{BaseUrl, Config, Listener, LogLevel};
use crate::domain::client::{ClientMetadata, GrantType};
use crate::domain::{ClientId, Scope};
use crate::secret::Secret;

mod story;

use story::Story;

/// Start a service on this machine and watch a client use it, step by step. Needs nothing else.
///
/// The service runs on loopback with the embedded store in a temporary directory. Every request of the client is a real HTTP request, and
/// every step is checked: the demo exits with 1 if the service does anything else than the text says.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Stop after the steps instead of serving on until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// The port of the service. Default: a free one.
    #[arg(long)]
    port: Option<u16>,
}

/// The demo's client, as it is configured.
const CLIENT_ID: &str = "demo-app";
const SCOPE: &str = "accounts openid";

impl Demo {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let unusable = |error: std::io::Error| CliError::Unusable(format!("no temporary directory can be made: {error}"));
        let directory = tempfile::Builder::new().prefix("keybound-demo-").tempdir().map_err(unusable)?;
        let token = random_token();
        let config = self.config(directory.path(), &token)?;
        let issuer = config.issuer.clone();
        let mut log = config.log;
        log.level = LogLevel::Warn;
        serve::start_log(log)?;
        let running = crate::app::start(config).await.map_err(|error| CliError::Unusable(format!("the service can't start: {error}")))?;

        let told = self.tell(&issuer, &running, &token, directory.path()).await;
        let stopped = running.stop().await.map_err(|error| CliError::Unusable(format!("the service did not stop cleanly: {error}")));
        told.and(stopped)
    }

    async fn tell(&self, issuer: &BaseUrl, running: &Running, token: &str, directory: &Path) -> Result<(), CliError> {
        let management = format!("http://{}", running.management);
        let story = Story::new(issuer, &management, token)?;
        story.tell().await?;
        if self.once {
            say("All steps did what they say. Run `keybound demo` without --once to try it yourself.");
            return Ok(());
        }
        let mine = Leftovers::make(&story, directory, token).await?;
        say(mine.next_steps(issuer, &management));
        serve::stop_asked().await?;
        say("\nStopped. The temporary directory is gone, and with it every key and token.");
        Ok(())
    }

    fn config(&self, directory: &Path, token: &str) -> Result<Config, CliError> {
        let port = match self.port {
            Some(port) => port,
            None => free_port()?,
        };
        let issuer =
            BaseUrl::parse(&format!("http://127.0.0.1:{port}")).map_err(|error| CliError::Usage(format!("--port {port}: {error}")))?;
        let mut config = Config { issuer, ..Config::default() };
        config.listen.public = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.listen.management = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.listen.gateway = Some(Listener::Off);
        config.management.token = Some(Secret::new(token.to_owned()));
        config.store.path = directory.join("data");
        config.dpop.algs = keybound_proofs::AlgSet::all();
        // A ledger for a handful of requests.
        config.store.ledger_capacity = 10_000;
        config.client.push(ClientMetadata {
            client_id: ClientId::new(CLIENT_ID).ok(),
            grant_types: Some(vec![GrantType::RefreshToken]),
            scope: Scope::parse(SCOPE).unwrap_or_default(),
            ..ClientMetadata::default()
        });
        Ok(config)
    }
}

/// A key and a grant in files, for the reader to go on with.
struct Leftovers {
    key: PathBuf,
    refresh_token: PathBuf,
    management_token: PathBuf,
}

impl Leftovers {
    async fn make(story: &Story, directory: &Path, token: &str) -> Result<Self, CliError> {
        let mine = Self {
            key: directory.join("client-key.json"),
            refresh_token: directory.join("refresh-token"),
            management_token: directory.join("management-token"),
        };
        let key: ProofKey = files::create_key(&mine.key, Alg::Es256)?;
        let granted: Value = story.grant(&key).await?;
        files::replace_secret(&mine.refresh_token, granted["refresh_token"].as_str().unwrap_or_default(), "refresh token")?;
        files::replace_secret(&mine.management_token, token, "management token")?;
        Ok(mine)
    }

    fn next_steps(&self, issuer: &BaseUrl, management: &str) -> String {
        let program = std::env::current_exe().map_or_else(|_| "keybound".to_owned(), |path| path.display().to_string());
        let (key, refresh_token, management_token) = (self.key.display(), self.refresh_token.display(), self.management_token.display());
        format!(
            "\
Now you. The service keeps running at {issuer} until Ctrl-C; in another terminal:

  # what it offers
  curl -s {issuer}/.well-known/oauth-authorization-server
  curl -s {issuer}/oauth/jwks

  # a refresh, again and again: the file always holds the newest token
  {program} token refresh --issuer {issuer} --client-id {CLIENT_ID} --key {key} --refresh-token-file {refresh_token}

  # the same with curl (the answer holds the next refresh token)
  curl -s {issuer}/oauth/refresh \\
    -H \"DPoP: $({program} proof make --key {key} --method POST --url {issuer}/oauth/refresh)\" \\
    -d client_id={CLIENT_ID} --data-urlencode refresh_token@{refresh_token}

  # what the operator sees
  {program} grant list --management {management} --token-file {management_token}
"
        )
    }
}

/// A port that nothing listens on at the moment.
fn free_port() -> Result<u16, CliError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| CliError::Unusable(format!("there is no free port: {error}")))
}

fn random_token() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsEntropy.fill(bytes.as_mut_slice());
    Zeroizing::new(encode_base64url(bytes.as_slice()))
}
