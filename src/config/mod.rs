//! The configuration: one TOML file, the environment over it, flags over both.
//!
//! Field names are the keys of the file. Units are in the names, every key has a default that is safe, and an unknown key is
//! an error. `keybound config default` prints all of it with comments: see `default.toml` beside this file.

use std::path::{Path, PathBuf};

use crate::domain::client::ClientMetadata;

mod base_url;
mod details_type;
mod error;
mod file;
mod listen;
mod overlay;
mod sections;
#[cfg(test)]
mod tests;
mod validate;

pub use base_url::{BaseUrl, MalformedBaseUrl};
pub use error::ConfigError;
pub use listen::{Gateway, Listen, Listener};
pub use overlay::Flags;
pub use sections::{
    AuthorizationDetailsType, Authorize, ClientMetadataDocuments, Dpop, Durability, Interaction, Keys, LedgerServers, Limits, Log,
    LogFormat, LogLevel, Management, NoncePolicy, Profile, Registration, RegistrationMode, Resource, Store, StoreKind, Tokens, Topology,
    TrustedIssuer,
};
pub use validate::trusted_keys;

/// Everything the service can be told.
///
/// A value of this type that came from [`Config::load`] is complete and consistent: secrets were read from their files, the
/// profile's rules were applied, and nothing in it is ignored.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The issuer identifier (RFC 8414 section 2) and the base of every endpoint's URL. Never taken from `Host`.
    ///
    /// Default `http://127.0.0.1:8080`, which is of use on this machine only: `http` is legal on loopback hosts alone.
    pub issuer: BaseUrl,
    /// The set of rules: `default` or `fapi2`. Default `default`.
    pub profile: Profile,
    /// Where the service listens.
    pub listen: Listen,
    /// Who may use the management API.
    pub management: Management,
    /// How API gateways show that they are ours.
    pub gateway: Gateway,
    /// Where families, clients and used proofs are kept.
    pub store: Store,
    /// The service's own keys.
    pub keys: Keys,
    /// What a proof must be like.
    pub dpop: Dpop,
    /// What is issued, and for how long it lives.
    pub tokens: Tokens,
    /// Clients that need no registration at run time. Default none.
    pub client: Vec<ClientMetadata>,
    /// Resource servers that access tokens are for. Default none: the audience is then `tokens.default_audience`.
    pub resource: Vec<Resource>,
    /// Clients that are named by the URL of their metadata.
    pub client_metadata_documents: ClientMetadataDocuments,
    /// Clients that register themselves.
    pub registration: Registration,
    /// Rules for types of authorization details (RFC 9396). Default none.
    pub authorization_details_type: Vec<AuthorizationDetailsType>,
    /// Issuers whose tokens may be exchanged (RFC 8693). Default none.
    pub trusted_issuer: Vec<TrustedIssuer>,
    /// The login application.
    pub interaction: Interaction,
    /// Rules of the authorization endpoint.
    pub authorize: Authorize,
    /// Sizes and times that bound what one request can cost.
    pub limits: Limits,
    /// What is logged and how.
    pub log: Log,
}

impl Config {
    /// The file that `keybound config default` prints: every key with its default, its unit and the reason for it.
    pub const DEFAULT_TOML: &'static str = include_str!("default.toml");

    /// Reads the configuration: the defaults, `file` over them, `env` over it, `flags` over all.
    ///
    /// `env` is the whole environment; what does not begin with `KEYBOUND__` is left alone. `KEYBOUND__DPOP__NONCE` sets
    /// `dpop.nonce`; with `_FILE` at its end the value is read from the file that the variable names, less one line end. Lists
    /// are written as TOML, as JSON or separated by commas. `KEYBOUND__RESOURCE__0__AUDIENCE` sets a key of the first entry of a list.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong. It names the key, the line, the variable or the flag, and holds no
    /// value that could be a secret.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>, flags: &Flags) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => file::read(path)?,
            None => toml::Table::new(),
        };
        overlay::environment(&mut table, env)?;
        overlay::flags(&mut table, flags)?;
        overlay::typed(table).map_err(|message| ConfigError::Invalid { key: "configuration".to_owned(), message })?.finish()
    }

    /// The directory of the service's keys: `keys.path`, or `keys` inside `store.path`.
    pub fn keys_path(&self) -> PathBuf {
        self.keys.path.clone().unwrap_or_else(|| self.store.path.join("keys"))
    }

    /// The audience of tokens that name no resource: `tokens.default_audience`, or the issuer.
    pub fn default_audience(&self) -> &str {
        self.tokens.default_audience.as_deref().unwrap_or(self.issuer.as_str())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuer: BaseUrl::loopback_default(),
            profile: Profile::default(),
            listen: Listen::default(),
            management: Management::default(),
            gateway: Gateway::default(),
            store: Store::default(),
            keys: Keys::default(),
            dpop: Dpop::default(),
            tokens: Tokens::default(),
            client: Vec::new(),
            resource: Vec::new(),
            client_metadata_documents: ClientMetadataDocuments::default(),
            registration: Registration::default(),
            authorization_details_type: Vec::new(),
            trusted_issuer: Vec::new(),
            interaction: Interaction::default(),
            authorize: Authorize::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}
