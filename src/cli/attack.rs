//! `keybound attack`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keybound_attack::{Catalogue, Client, ClientAuth, Key, Options, Restart, Severity, TokenSource};
use serde_json::Value;
use url::Url;

use crate::cli::{CliError, files, say};

/// Attack a server that speaks DPoP, yours or another's, with a catalogue of replays, forgeries and races, and report what it lets through.
///
/// The suite plays the clients you give it. Attacks that need something it was not given, or the server does not have, are "not applicable",
/// never passed. Every attack has an honest twin that must be accepted in the same run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes:  0 all that applied was refused · 1 a breach at or above --fail-on, or an attack of which nothing can be said · 2 the suite could not run\n\n\
Examples:\n  \
keybound attack https://as.example.com --client-id machine --client-secret-file secret --only PRF,JWK\n  \
keybound attack http://127.0.0.1:8080 --app-client-id app --management http://127.0.0.1:8082 --management-token-file token --html report.html\n  \
keybound attack --explain RPL-020"
)]
pub(super) struct Attack {
    /// The issuer, exactly as the server's metadata says it.
    #[arg(value_name = "ISSUER", required_unless_present_any = ["list", "explain", "catalogue"])]
    issuer: Option<Url>,

    /// A confidential client that may use client_credentials.
    #[arg(long, value_name = "ID", help_heading = "Clients")]
    client_id: Option<String>,
    /// The file with its secret.
    #[arg(long, value_name = "FILE", help_heading = "Clients", requires = "client_id", conflicts_with = "client_key")]
    client_secret_file: Option<PathBuf>,
    /// The file with its private key, a JWK (P-256, Ed25519 or RSA), for private_key_jwt.
    #[arg(long, value_name = "FILE", help_heading = "Clients", requires = "client_id")]
    client_key: Option<PathBuf>,
    /// How the secret is sent.
    #[arg(long, value_name = "METHOD", help_heading = "Clients", default_value = "basic")]
    client_auth: SecretMethod,
    /// The client that users grant tokens to; public, unless it is the same as --client-id.
    #[arg(long, value_name = "ID", help_heading = "Clients")]
    app_client_id: Option<String>,
    /// Another public client, in whose hands the tokens of the first must be worth nothing.
    #[arg(long, value_name = "ID", help_heading = "Clients")]
    other_client_id: Option<String>,
    /// A redirect URI of --app-client-id.
    #[arg(long, value_name = "URI", help_heading = "Clients", default_value = "http://127.0.0.1/callback")]
    redirect_uri: String,
    /// What is asked for on behalf of a user.
    #[arg(long, value_name = "SCOPE", help_heading = "Clients", default_value = "openid")]
    scope: String,
    /// What --client-id asks for; nothing unless given.
    #[arg(long, value_name = "SCOPE", help_heading = "Clients", default_value = "")]
    client_scope: String,

    /// The management listener of Keybound, which makes grants.
    #[arg(long, value_name = "URL", help_heading = "Tokens of users", requires = "management_token_file", group = "source")]
    management: Option<Url>,
    /// The file with the management token.
    #[arg(long, value_name = "FILE", help_heading = "Tokens of users")]
    management_token_file: Option<PathBuf>,
    /// Run the code flow and fill in the forms of the sign-in pages under this name. For test servers.
    #[arg(long, value_name = "NAME", help_heading = "Tokens of users", group = "source")]
    sign_in: Option<String>,
    /// A shell command that reads a private JWK and prints the token response of a grant to that key.
    #[arg(long, value_name = "COMMAND", help_heading = "Tokens of users", group = "source")]
    token_command: Option<String>,
    /// The file with one refresh token, which is used up.
    #[arg(long, value_name = "FILE", help_heading = "Tokens of users", requires = "key", group = "source")]
    refresh_token_file: Option<PathBuf>,
    /// The file with the private key that the refresh token is bound to, a JWK.
    #[arg(long, value_name = "FILE", help_heading = "Tokens of users")]
    key: Option<PathBuf>,
    /// Print the URL of a code flow and wait for the answer on --redirect-uri, once.
    #[arg(long, help_heading = "Tokens of users", group = "source")]
    browser: bool,

    /// A protected resource that takes the tokens. Default: userinfo.
    #[arg(long, value_name = "URL", help_heading = "The server")]
    resource: Option<Url>,
    /// Another endpoint that refreshes, beside the token endpoint.
    #[arg(long, value_name = "URL", help_heading = "The server")]
    refresh_endpoint: Option<Url>,
    /// A second node of the same server.
    #[arg(long, value_name = "URL", help_heading = "The server")]
    peer: Option<Url>,
    /// A shell command that restarts the server and ends once it is ready again.
    #[arg(long, value_name = "COMMAND", help_heading = "The server")]
    restart_command: Option<String>,
    /// Another place of the metadata than the well-known ones.
    #[arg(long, value_name = "URL", help_heading = "The server")]
    metadata_url: Option<Url>,
    /// How long after its iat the server accepts a proof, in seconds.
    #[arg(long, value_name = "SECONDS", help_heading = "The server", default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=3600))]
    window_s: i64,
    /// How far ahead the server lets the iat of a proof lie, in seconds.
    #[arg(long, value_name = "SECONDS", help_heading = "The server", default_value_t = 10, value_parser = clap::value_parser!(i64).range(0..=3600))]
    skew_s: i64,
    /// How long the server accepts a nonce at most, in seconds; for --slow.
    #[arg(long, value_name = "SECONDS", help_heading = "The server", value_parser = clap::value_parser!(u32).range(1..=86400))]
    nonce_life_s: Option<u32>,
    /// Trust anchors beside the public ones, in PEM.
    #[arg(long, value_name = "FILE", help_heading = "The server")]
    ca_file: Option<PathBuf>,
    /// The server is yours: attack its time and memory even though it is not on this machine.
    #[arg(long, help_heading = "The server")]
    i_own_this_server: bool,

    /// Only these attacks: IDs, families (RPL) or patterns (RFR-0*), separated by commas.
    #[arg(long, value_name = "IDS", help_heading = "What runs", value_delimiter = ',')]
    only: Vec<String>,
    /// Also what waits for time to pass: minutes instead of seconds.
    #[arg(long, help_heading = "What runs")]
    slow: bool,
    /// The stories start from here; the same seed draws the same stories.
    #[arg(long, value_name = "NUMBER", help_heading = "What runs", default_value_t = 0)]
    seed: u64,
    /// How many stories are drawn.
    #[arg(long, value_name = "NUMBER", help_heading = "What runs", default_value_t = 24)]
    stories: u32,
    /// The mildest breach that makes the exit code 1.
    #[arg(long, value_name = "SEVERITY", help_heading = "What runs", default_value = "low")]
    fail_on: FailOn,

    /// List the attacks with their sections.
    #[arg(long, help_heading = "Reports")]
    list: bool,
    /// Explain one attack: what is sent, how it is judged, what a breach means.
    #[arg(long, value_name = "ID", help_heading = "Reports")]
    explain: Option<String>,
    /// Print the catalogue as JSON, for other suites.
    #[arg(long, help_heading = "Reports")]
    catalogue: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    json: Option<PathBuf>,
    /// Write the report as JUnit XML.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    junit: Option<PathBuf>,
    /// Write the report as SARIF 2.1.0.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    sarif: Option<PathBuf>,
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    html: Option<PathBuf>,
}

/// How a client secret is sent.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SecretMethod {
    /// In the Authorization header.
    Basic,
    /// In the form.
    Post,
}

/// A severity on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FailOn {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Attack {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let catalogue = Catalogue::new();
        if self.list {
            list(&catalogue, &self.only);
            return Ok(());
        }
        if let Some(id) = &self.explain {
            let text = catalogue.explain(id).ok_or_else(|| CliError::Usage(format!("no attack is called {id}; --list shows them")))?;
            say(text.trim_end());
            return Ok(());
        }
        if self.catalogue {
            say(format_args!("{:#}", catalogue.export()));
            return Ok(());
        }
        let options = self.options().map_err(|error| CliError::Usage(error.to_string()))?;
        let report =
            keybound_attack::run(options, &keybound_attack::progress_line).await.map_err(|error| CliError::Usage(error.to_string()))?;
        say(report.table(std::io::stdout().is_terminal()));
        let json = |value: &Value| format!("{value:#}\n");
        if let Some(path) = &self.json {
            write(path, &json(&report.json()))?;
        }
        if let Some(path) = &self.junit {
            write(path, &report.junit())?;
        }
        if let Some(path) = &self.sarif {
            write(path, &json(&report.sarif()))?;
        }
        if let Some(path) = &self.html {
            write(path, &report.html())?;
        }
        let fail_on = self.fail_on.severity();
        if report.fails(fail_on) {
            let counts = report.counts();
            return Err(CliError::Refused(format!(
                "{} breaches, {} inconclusive; breaches count from {} on",
                counts.breach,
                counts.inconclusive,
                fail_on.name()
            )));
        }
        Ok(())
    }

    fn options(&self) -> Result<Options, CliError> {
        let issuer = self.issuer.clone().ok_or_else(|| CliError::Usage("an ISSUER is needed".to_owned()))?;
        let machine = self.machine()?;
        let app = match (&self.app_client_id, &machine) {
            (Some(id), Some(machine)) if *id == machine.id => Some(machine.clone()),
            (Some(id), _) => Some(Client::public(id)),
            (None, _) => None,
        };
        Ok(Options {
            metadata_url: self.metadata_url.clone(),
            app,
            other: self.other_client_id.clone().map(Client::public),
            machine,
            scope: self.scope.clone(),
            machine_scope: self.client_scope.clone(),
            redirect_uri: self.redirect_uri.clone(),
            tokens: self.tokens()?,
            resource: self.resource.clone(),
            refresh_endpoint: self.refresh_endpoint.clone(),
            peer: self.peer.clone(),
            restart: self.restart_command.clone().map(Restart::command),
            window_s: self.window_s,
            skew_s: self.skew_s,
            nonce_life_s: self.nonce_life_s,
            ca_file: self.ca_file.clone(),
            timeout: Duration::from_secs(10),
            own_server: self.i_own_this_server,
            slow: self.slow,
            only: self.only.clone(),
            seed: self.seed,
            stories: self.stories,
            ..Options::new(issuer)
        })
    }

    fn machine(&self) -> Result<Option<Client>, CliError> {
        let Some(id) = self.client_id.clone() else { return Ok(None) };
        let auth = if let Some(path) = &self.client_secret_file {
            let secret = files::read_secret(path, "client secret")?.to_string();
            match self.client_auth {
                SecretMethod::Basic => ClientAuth::Basic(secret),
                SecretMethod::Post => ClientAuth::Post(secret),
            }
        } else if let Some(path) = &self.client_key {
            let (key, kid) = read_jwk(path)?;
            ClientAuth::Assertion(key, kid)
        } else {
            return Err(CliError::Usage(
                "--client-id needs --client-secret-file or --client-key; a public client is given as --app-client-id".to_owned(),
            ));
        };
        Ok(Some(Client { id, auth }))
    }

    fn tokens(&self) -> Result<TokenSource, CliError> {
        Ok(match self {
            Self { management: Some(url), management_token_file: Some(path), .. } => {
                TokenSource::Management { url: url.clone(), token: files::read_secret(path, "management token")?.to_string() }
            }
            Self { sign_in: Some(name), .. } => TokenSource::SignIn(name.clone()),
            Self { token_command: Some(command), .. } => TokenSource::Command(command.clone()),
            Self { refresh_token_file: Some(path), key: Some(key), .. } => {
                TokenSource::Given { refresh_token: files::read_secret(path, "refresh token")?.to_string(), key: read_jwk(key)?.0 }
            }
            Self { browser: true, .. } => TokenSource::Browser,
            _ => TokenSource::None,
        })
    }
}

impl FailOn {
    const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }
}

fn list(catalogue: &Catalogue, only: &[String]) {
    let mut family = None;
    for attack in catalogue.selected(only) {
        if family != Some(attack.family) {
            family = Some(attack.family);
            say(format_args!("\n{}", attack.family.title()));
        }
        let slow = if attack.slow { "  (slow)" } else { "" };
        say(format_args!("  {}  {:<9}{}{slow}\n           {}", attack.id, attack.severity.name(), attack.title, attack.section));
    }
}

fn read_jwk(path: &Path) -> Result<(Key, Option<String>), CliError> {
    let text = files::read_secret(path, "key")?;
    let jwk: Value = serde_json::from_str(&text).map_err(|_| CliError::Usage(format!("{}: not a JWK", path.display())))?;
    let key = Key::from_jwk(&jwk).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    Ok((key, jwk["kid"].as_str().map(str::to_owned)))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text).map_err(|error| CliError::Unusable(format!("{}: {error}", path.display())))
}
