//! The sections of the configuration, one type each.

use std::path::PathBuf;
use std::time::Duration;

use keybound_proofs::{Alg, AlgSet};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::config::BaseUrl;
use crate::domain::{AuthMethod, ClientId, ClientMetadata, Scope, UpstreamAuthorization};
use crate::keys::SigningAlg;
use crate::secret::Secret;

/// The set of rules that the service holds its clients and itself to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The RFCs.
    #[default]
    Default,
    /// The FAPI 2.0 Security Profile over the RFCs.
    Fapi2,
}

/// `[management]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Management {
    /// What `/admin` asks for as a bearer token: 16 characters at least. Default none: `/admin` is then closed.
    pub token: Option<Secret<String>>,
    /// A file that holds the token, instead of `token`. After [`Config::load`](crate::config::Config::load) the token is in `token`.
    pub token_file: Option<PathBuf>,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Default `embedded`: one node, no other server needed.
    pub kind: StoreKind,
    /// The directory of the embedded store, and of the keys where `keys.path` is not set. Default `keybound-data` in the working directory.
    pub path: PathBuf,
    /// Redis servers, sentinels, or members of a cluster, as
    /// `redis://[[user]:password@]host[:port][/database]`, the same with `rediss` for TLS, or `unix:///path`. Default `["redis://127.0.0.1:6379"]`.
    pub urls: Vec<Secret<String>>,
    /// How the Redis servers stand to each other. Default `standalone`.
    pub topology: Topology,
    /// The name of the primary that Sentinel watches. Default none.
    pub sentinel_master: Option<String>,
    /// What an acknowledged write survives in Redis. Default `standard`.
    pub durability: Durability,
    /// Replicas that `strict` waits for. Default 1.
    pub min_replicas: u32,
    /// Used proofs that the embedded ledger holds at once, at 64 bytes each or less. Default 4,000,000 (about 50,000 requests a second
    /// for as long as a proof is remembered). A full ledger refuses with 503; it forgets nothing.
    pub ledger_capacity: usize,
    /// What every Redis key begins with, so that several services can share one Redis. Default empty.
    pub key_prefix: String,
    /// Redis servers of their own for used proofs. Default none: they are with everything else.
    pub ledger: Option<LedgerServers>,
}

/// `[store.ledger]`: where used proofs are kept, if not with everything else. Used client assertions stay with the rest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerServers {
    /// As `store.urls`.
    pub urls: Vec<Secret<String>>,
    /// As `store.topology`. Default `standalone`.
    #[serde(default = "standalone")]
    pub topology: Topology,
    /// As `store.sentinel_master`. Default none.
    #[serde(default)]
    pub sentinel_master: Option<String>,
    /// As `store.key_prefix`. Default empty.
    #[serde(default)]
    pub key_prefix: String,
}

const fn standalone() -> Topology {
    Topology::Standalone
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            path: PathBuf::from("keybound-data"),
            urls: vec![Secret::new("redis://127.0.0.1:6379".to_owned())],
            topology: Topology::Standalone,
            sentinel_master: None,
            durability: Durability::Standard,
            min_replicas: 1,
            ledger_capacity: 4_000_000,
            key_prefix: String::new(),
            ledger: None,
        }
    }
}

/// The backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A database file in the service's own directory.
    Embedded,
    /// A Redis or Valkey server, shared by all nodes.
    Redis,
}

/// How Redis servers stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One server.
    Standalone,
    /// A primary that Sentinel chooses.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

/// What an acknowledged write survives in Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// What the server's own persistence gives.
    Standard,
    /// The loss of the primary: replicas acknowledged it too.
    Strict,
}

/// `[keys]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The directory of the service's own keys, made at the first start with mode 0700. Default `keys` inside `store.path`. Nodes
    /// of one service share its content.
    pub path: Option<PathBuf>,
}

/// `[dpop]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dpop {
    /// The algorithms that proofs may be signed with. Default all five; under `fapi2` all but ES384.
    #[serde(deserialize_with = "some_algs")]
    pub algs: AlgSet,
    /// How old a proof may be, in seconds, 1 to 3600. Default 60: room for slow networks, and a short life for a stolen proof.
    pub proof_max_age_s: u32,
    /// How far ahead of this clock a proof's `iat` may lie, in seconds, 0 to 60. Default 10, as FAPI 2.0 asks.
    pub clock_skew_s: u32,
    /// When a proof needs a nonce. Default `off`.
    pub nonce: NoncePolicy,
    /// The length of a nonce's time step, in seconds, 10 to 3600; a nonce lives one to two steps. Default 300: longer than an
    /// access token, so that a client that refreshes in time rarely needs a second request.
    pub nonce_step_s: u32,
    /// The region of this node, 1 to 32 characters of `A-Z a-z 0-9 . _ -`, where several regions share keys but not the ledger. A nonce
    /// is then good only where it was minted, and every proof must have one. Default none: there is one ledger.
    pub region: Option<String>,
    /// The longest proof that is looked at, in bytes, 1024 to 16384. Default 4096: an RSA-4096 proof is half of it.
    pub max_proof_bytes: usize,
    /// Whether a valid nonce stands in for an exact `iat` (clients with wrong clocks). Default false; never under `fapi2`.
    pub trust_nonce_time: bool,
    /// Whether a public client may move a grant to another key, at a refresh with proofs of both. Default false: it lets whoever holds
    /// the old key take the grant away from others who hold it too.
    pub key_change: bool,
}

impl Dpop {
    /// `proof_max_age_s` as a duration.
    pub const fn proof_max_age(&self) -> Duration {
        Duration::from_secs(self.proof_max_age_s as u64)
    }

    /// `clock_skew_s` as a duration.
    pub const fn clock_skew(&self) -> Duration {
        Duration::from_secs(self.clock_skew_s as u64)
    }

    /// `nonce_step_s` as a duration.
    pub const fn nonce_step(&self) -> Duration {
        Duration::from_secs(self.nonce_step_s as u64)
    }
}

impl Default for Dpop {
    fn default() -> Self {
        Self {
            // The default depends on the profile, and is filled in when the whole configuration is known.
            algs: AlgSet::empty(),
            proof_max_age_s: 60,
            clock_skew_s: 10,
            nonce: NoncePolicy::Off,
            nonce_step_s: 300,
            region: None,
            max_proof_bytes: 4096,
            trust_nonce_time: false,
            key_change: false,
        }
    }
}

/// When a proof needs a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoncePolicy {
    /// Only after a change of the replay epoch, until proofs from before it are too old.
    Off,
    /// Always.
    Required,
}

/// `[tokens]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// How long an access token lives, in seconds, 10 to 86400. Default 300: a revocation reaches every API within five minutes.
    pub access_token_lifetime_s: u32,
    /// The algorithm that tokens are signed with. Default ES256.
    pub access_token_alg: SigningAlg,
    /// The `aud` of access tokens that name no resource. Default: the issuer.
    pub default_audience: Option<String>,
    /// How long an unused refresh token lives, in seconds. Default 2592000 (30 days).
    pub refresh_idle_s: u32,
    /// How long a grant can be refreshed in all, in seconds, up to 315360000 (ten years). Default 31536000 (one year).
    pub refresh_absolute_s: u32,
}

impl Tokens {
    /// `access_token_lifetime_s` as a duration.
    pub const fn access_token_lifetime(&self) -> Duration {
        Duration::from_secs(self.access_token_lifetime_s as u64)
    }

    /// `refresh_idle_s` as a duration.
    pub const fn refresh_idle(&self) -> Duration {
        Duration::from_secs(self.refresh_idle_s as u64)
    }

    /// `refresh_absolute_s` as a duration.
    pub const fn refresh_absolute(&self) -> Duration {
        Duration::from_secs(self.refresh_absolute_s as u64)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_token_lifetime_s: 300,
            access_token_alg: SigningAlg::Es256,
            default_audience: None,
            refresh_idle_s: 2_592_000,
            refresh_absolute_s: 31_536_000,
        }
    }
}

/// A `[[resource]]`: an API that access tokens are for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its name in this configuration: letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Its public base URL, which clients may name as `resource` (RFC 8707).
    pub url: BaseUrl,
    /// Other base URLs under which it is reached; a proof names the one that its request went to (HTU-09). Default none.
    #[serde(default)]
    pub aliases: Vec<BaseUrl>,
    /// The `aud` of its access tokens. Default `tokens.default_audience`.
    #[serde(default)]
    pub audience: Option<String>,
    /// The scopes that belong to it: a token with one of them is for this resource, and at the gateway a token needs one. Default none.
    #[serde(default, deserialize_with = "scopes")]
    pub scopes: Scope,
    /// When a proof at this resource needs a nonce. Default `dpop.nonce`.
    #[serde(default)]
    pub nonce: Option<NoncePolicy>,
    /// How old a proof at this resource may be, in seconds, 1 to 3600. Default `dpop.proof_max_age_s`.
    #[serde(default)]
    pub proof_max_age_s: Option<u32>,
    /// What the gateway sends on in `Authorization`. Default `keep`.
    #[serde(default)]
    pub upstream_authorization: UpstreamAuthorization,
    /// The secret with which the resource asks for introspection. Default none.
    #[serde(default)]
    pub client_secret: Option<Secret<String>>,
    /// The keys with which the resource asks for introspection. Default none.
    #[serde(default)]
    pub jwks: Option<toml::Table>,
}

impl Resource {
    /// What the resource authenticates with when it asks about tokens, as a registration to be checked; `None` where it has nothing.
    pub(crate) fn credentials(&self) -> Option<ClientMetadata> {
        let token_endpoint_auth_method = match (&self.client_secret, &self.jwks) {
            (None, None) => return None,
            (Some(_), _) => AuthMethod::ClientSecretBasic,
            (None, Some(_)) => AuthMethod::PrivateKeyJwt,
        };
        Some(ClientMetadata {
            client_id: ClientId::new(self.id.as_str()).ok(),
            token_endpoint_auth_method: Some(token_endpoint_auth_method),
            grant_types: Some(Vec::new()),
            client_secret: self.client_secret.clone(),
            jwks: self.jwks.clone().and_then(|jwks| serde_json::to_value(jwks).ok()),
            ..ClientMetadata::default()
        })
    }
}

/// `[client_metadata_documents]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientMetadataDocuments {
    /// Whether a `client_id` may be the URL of the client's metadata. Default false.
    pub enabled: bool,
    /// Whether that URL may be on this machine. Default false.
    pub allow_loopback: bool,
}

/// `[registration]`: clients that register themselves (RFC 7591).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// Who may register. Default `off`.
    pub mode: RegistrationMode,
    /// The initial access token that `mode = "token"` asks for: 16 characters at least. Default none.
    pub token: Option<Secret<String>>,
    /// A file that holds the token, instead of `token`. After [`Config::load`](crate::config::Config::load) the token is in `token`.
    pub token_file: Option<PathBuf>,
    /// How many clients may have registered themselves, 1 to 100000. Default 1000.
    pub max_clients: usize,
    /// How many clients one node registers in a minute, 1 to 10000. Default 30.
    pub max_per_minute: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self { mode: RegistrationMode::Off, token: None, token_file: None, max_clients: 1000, max_per_minute: 30 }
    }
}

/// Who may register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Nobody: there is no registration endpoint.
    #[default]
    Off,
    /// Whoever has the initial access token.
    Token,
    /// Everybody. Such a client can't act on its own behalf.
    Open,
}

/// An `[[authorization_details_type]]` (RFC 9396).
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetailsType {
    /// The `type`.
    #[serde(rename = "type")]
    pub name: String,
    /// A JSON Schema: a table, JSON text, the name of a file, or `"builtin"` for one that comes with Keybound. Default none: any
    /// members are allowed.
    #[serde(default)]
    pub schema: Option<toml::Value>,
    /// How each member may be narrowed: `equal`, `subset` (arrays), `at_most` (amounts) or a table of these for the members of an
    /// object. Default `equal` for each; for a built-in type, its own rules.
    #[serde(default)]
    pub narrow: toml::Table,
    /// Whether an access token carries only the entries whose `locations` are served by its audience. Default false.
    #[serde(default)]
    pub filter_by_locations: bool,
}

/// A `[[trusted_issuer]]`: its tokens may be exchanged (RFC 8693), and its access tokens for a `[[resource]]` count at the gateway.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are: an https URL in normal form (http on loopback only). Either this or `jwks`.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Its keys, as a JWK Set.
    #[serde(default)]
    pub jwks: Option<toml::Table>,
    /// The `aud` that its tokens must have. Default: this service's issuer.
    #[serde(default)]
    pub audience: Option<String>,
    /// The claim that names the subject. Default `sub`.
    #[serde(default)]
    pub subject_claim: Option<String>,
    /// The clients that may exchange its tokens, by `client_id`. Default none.
    #[serde(default)]
    pub clients: Vec<String>,
    /// The scope of its tokens that have no `scope` and no `scp` claim. Default none: what comes out of them has no scope either.
    #[serde(default, deserialize_with = "scopes")]
    pub scopes: Scope,
    /// Whether its tokens that are bound to a key may be exchanged without a proof of that key. Default false. Needed for tokens that
    /// are bound to a client certificate, which can't be shown here.
    #[serde(default)]
    pub bound_subject_without_proof: bool,
}

/// `[interaction]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interaction {
    /// Where the login application is. Default none.
    pub url: Option<String>,
    /// Whether the built-in sign-in page is used: loopback issuers only. Default true for those without `url`, else false.
    pub builtin: Option<bool>,
}

/// `[authorize]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorize {
    /// Whether authorization requests must be pushed first (RFC 9126). Default false; always so under `fapi2`.
    pub require_par: bool,
    /// For how long a pushed request can be used, in seconds, 1 to 599. Default 90.
    pub request_uri_lifetime_s: u32,
    /// For how long a code can be used, in seconds, 1 to 60. Default 60.
    pub code_lifetime_s: u32,
}

impl Authorize {
    /// `request_uri_lifetime_s` as a duration.
    pub const fn request_uri_lifetime(&self) -> Duration {
        Duration::from_secs(self.request_uri_lifetime_s as u64)
    }

    /// `code_lifetime_s` as a duration.
    pub const fn code_lifetime(&self) -> Duration {
        Duration::from_secs(self.code_lifetime_s as u64)
    }
}

impl Default for Authorize {
    fn default() -> Self {
        Self { require_par: false, request_uri_lifetime_s: 90, code_lifetime_s: 60 }
    }
}

/// `[limits]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request body, in bytes, 1024 to 1048576. Default 16384: a token request is a tenth of it.
    pub max_body_bytes: usize,
    /// The longest wait for a request's head, in milliseconds, 100 to 60000. Default 5000.
    pub head_timeout_ms: u32,
    /// The longest time from a request's head to its answer, in milliseconds, 100 to 60000. Default 5000; a store that does not
    /// answer is given up within one second of its own.
    pub request_timeout_ms: u32,
    /// How long an idle connection is kept, in seconds, 1 to 3600. Default 15.
    pub keep_alive_s: u32,
    /// Connections that one worker thread holds at once, 1 to 1000000. Default 5000.
    pub max_connections: usize,
    /// How long running requests may take to finish when the service stops, in seconds, 0 to 300. Default 10.
    pub shutdown_timeout_s: u32,
}

impl Limits {
    /// `head_timeout_ms` as a duration.
    pub const fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms as u64)
    }

    /// `request_timeout_ms` as a duration.
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms as u64)
    }

    /// `keep_alive_s` as a duration.
    pub const fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s as u64)
    }

    /// `shutdown_timeout_s` as a duration.
    pub const fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout_s as u64)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 16_384,
            head_timeout_ms: 5_000,
            request_timeout_ms: 5_000,
            keep_alive_s: 15,
            max_connections: 5_000,
            shutdown_timeout_s: 10,
        }
    }
}

/// `[log]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` (one object a line) for machines. Default `text`.
    pub format: LogFormat,
    /// The least important level that is written. Default `info`.
    pub level: LogLevel,
}

/// The form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A level of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What someone must act on.
    Error,
    /// What someone should look at.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name, as in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn some_algs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AlgSet, D::Error> {
    let algs: AlgSet = Vec::<Alg>::deserialize(deserializer)?.into_iter().collect();
    if algs.is_empty() { Err(D::Error::custom("the list must name at least one algorithm")) } else { Ok(algs) }
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    Scope::parse(&Vec::<String>::deserialize(deserializer)?.join(" ")).map_err(D::Error::custom)
}
