//! What the types alone can't hold: ranges, contradictions and the rules of the profile.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use keybound_proofs::{AlgSet, Entropy};

use crate::config::overlay::read_value;
use crate::config::{
    Config, ConfigError, Gateway, Interaction, LedgerServers, Listener, NoncePolicy, Profile, RegistrationMode, Resource, Store, StoreKind,
    Topology,
};
use crate::domain::client::{ClientKey, is_web_uri, parse_key_set};
use crate::domain::{ClientId, DetailsTypes, FetchUrl};
use crate::fetch::KeySets;
use crate::keys::SigningAlg;
use crate::secret::Secret;

impl Config {
    /// The shortest management token, in characters: too long to guess over the network.
    pub const MIN_TOKEN_LEN: usize = 16;

    /// Reads the secrets that are in files, fills in what depends on the profile, and checks the whole.
    pub(super) fn finish(mut self) -> Result<Self, ConfigError> {
        self.read_management_token()?;
        self.read_registration_token()?;
        self.read_gateway_key()?;
        self.apply_profile()?;
        self.check_ranges()?;
        self.check_management()?;
        self.check_gateway()?;
        self.check_store()?;
        self.check_region()?;
        self.check_clients()?;
        self.check_resources()?;
        self.check_interaction()?;
        self.check_details_types()?;
        self.check_registration()?;
        self.check_trusted_issuers()?;
        Ok(self)
    }

    fn read_management_token(&mut self) -> Result<(), ConfigError> {
        let Some(path) = &self.management.token_file else { return Ok(()) };
        if self.management.token.is_some() {
            return Err(invalid("management.token_file", "give either `token` or `token_file`"));
        }
        self.management.token = Some(Secret::new(read_value(path, "management.token_file")?));
        Ok(())
    }

    fn read_registration_token(&mut self) -> Result<(), ConfigError> {
        let Some(path) = &self.registration.token_file else { return Ok(()) };
        if self.registration.token.is_some() {
            return Err(invalid("registration.token_file", "give either `token` or `token_file`"));
        }
        self.registration.token = Some(Secret::new(read_value(path, "registration.token_file")?));
        Ok(())
    }

    fn read_gateway_key(&mut self) -> Result<(), ConfigError> {
        let Some(path) = &self.gateway.key_file else { return Ok(()) };
        if self.gateway.key.is_some() {
            return Err(invalid("gateway.key_file", "give either `key` or `key_file`"));
        }
        self.gateway.key = Some(Secret::new(read_value(path, "gateway.key_file")?));
        Ok(())
    }

    fn apply_profile(&mut self) -> Result<(), ConfigError> {
        let fapi2 = self.profile == Profile::Fapi2;
        if self.dpop.algs.is_empty() {
            self.dpop.algs = if fapi2 { AlgSet::fapi2() } else { AlgSet::all() };
        }
        if !fapi2 {
            return Ok(());
        }
        if self.dpop.algs.intersection(AlgSet::fapi2()) != self.dpop.algs {
            return Err(invalid("dpop.algs", "the fapi2 profile allows PS256, ES256, EdDSA and Ed25519 only"));
        }
        if self.tokens.access_token_alg == SigningAlg::Es384 {
            return Err(invalid("tokens.access_token_alg", "the fapi2 profile allows PS256, ES256 and EdDSA only"));
        }
        if self.dpop.trust_nonce_time {
            return Err(invalid("dpop.trust_nonce_time", "the fapi2 profile does not allow it"));
        }
        if self.dpop.key_change {
            return Err(invalid("dpop.key_change", "is for public clients, which the fapi2 profile does not allow"));
        }
        if self.dpop.clock_skew_s < 10 {
            return Err(invalid("dpop.clock_skew_s", "the fapi2 profile asks for at least 10"));
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        let Self { dpop, tokens, limits, store, .. } = self;
        within("dpop.proof_max_age_s", dpop.proof_max_age_s, 1..=3600)?;
        within("dpop.clock_skew_s", dpop.clock_skew_s, 0..=60)?;
        within("dpop.nonce_step_s", dpop.nonce_step_s, 10..=3600)?;
        within("dpop.max_proof_bytes", dpop.max_proof_bytes, 1024..=16_384)?;
        within("tokens.access_token_lifetime_s", tokens.access_token_lifetime_s, 10..=86_400)?;
        within("tokens.refresh_absolute_s", tokens.refresh_absolute_s, 60..=315_360_000)?;
        within("tokens.refresh_idle_s", tokens.refresh_idle_s, 60..=tokens.refresh_absolute_s)?;
        within("limits.max_body_bytes", limits.max_body_bytes, 1024..=1_048_576)?;
        within("limits.head_timeout_ms", limits.head_timeout_ms, 100..=60_000)?;
        within("limits.request_timeout_ms", limits.request_timeout_ms, 100..=60_000)?;
        within("limits.keep_alive_s", limits.keep_alive_s, 1..=3600)?;
        within("limits.max_connections", limits.max_connections, 1..=1_000_000)?;
        within("limits.shutdown_timeout_s", limits.shutdown_timeout_s, 0..=300)?;
        within("store.ledger_capacity", store.ledger_capacity, 64..=1_000_000_000)?;
        within("store.min_replicas", store.min_replicas, 1..=16)?;
        within("authorize.request_uri_lifetime_s", self.authorize.request_uri_lifetime_s, 1..=599)?;
        within("authorize.code_lifetime_s", self.authorize.code_lifetime_s, 1..=60)?;
        match &tokens.default_audience {
            Some(audience) if audience.is_empty() => Err(invalid("tokens.default_audience", "must not be empty")),
            _ => Ok(()),
        }
    }

    fn check_management(&self) -> Result<(), ConfigError> {
        match &self.management.token {
            None if !self.listen.management.ip().is_loopback() => {
                Err(invalid("management.token", "a management listener that others can reach needs a token (or token_file)"))
            }
            Some(token) if token.expose().chars().count() < Self::MIN_TOKEN_LEN => {
                Err(invalid("management.token", format!("must have at least {} characters", Self::MIN_TOKEN_LEN)))
            }
            // It travels in a header.
            Some(token) if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(invalid("management.token", "must consist of visible ASCII characters without spaces"))
            }
            _ if self.listen.management == self.listen.public && self.listen.public.port() != 0 => {
                Err(invalid("listen.management", "must be another address than listen.public"))
            }
            _ => Ok(()),
        }
    }

    fn check_gateway(&self) -> Result<(), ConfigError> {
        let Gateway { key, tls_cert, tls_key, client_ca, .. } = &self.gateway;
        if let Some(key) = key {
            if key.expose().chars().count() < Self::MIN_TOKEN_LEN {
                return Err(invalid("gateway.key", format!("must have at least {} characters", Self::MIN_TOKEN_LEN)));
            }
            if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid("gateway.key", "must consist of visible ASCII characters without spaces"));
            }
        }
        if tls_cert.is_some() != tls_key.is_some() {
            return Err(invalid("gateway.tls_key", "`tls_cert` and `tls_key` belong together"));
        }
        if client_ca.is_some() && tls_cert.is_none() {
            return Err(invalid("gateway.client_ca", "has a meaning with `tls_cert` and `tls_key` only"));
        }
        // Where nothing is set, a taken address is no error.
        let gateway = self.listen.gateway.as_ref().unwrap_or(&Listener::Off);
        let mut taken = vec![Listener::Tcp(self.listen.public), Listener::Tcp(self.listen.management)];
        for (name, listener) in [("listen.gateway", gateway), ("listen.gateway_grpc", &self.listen.gateway_grpc)] {
            let free = matches!(listener, Listener::Off) || matches!(listener, Listener::Tcp(address) if address.port() == 0);
            if !free && taken.contains(listener) {
                return Err(invalid(name, "must be another address than those of the other listeners"));
            }
            taken.push(listener.clone());
        }
        Ok(())
    }

    fn check_store(&self) -> Result<(), ConfigError> {
        if self.store.path.as_os_str().is_empty() {
            return Err(invalid("store.path", "must not be empty"));
        }
        if self.store.kind == StoreKind::Embedded {
            return match self.store.ledger {
                Some(_) => Err(invalid("store.ledger", "has a meaning with `kind = \"redis\"` only")),
                None => Ok(()),
            };
        }
        let Store { urls, topology, sentinel_master, key_prefix, .. } = &self.store;
        check_servers("store", urls, *topology, sentinel_master.as_deref(), key_prefix)?;
        match &self.store.ledger {
            None => Ok(()),
            Some(LedgerServers { urls, topology, sentinel_master, key_prefix }) => {
                check_servers("store.ledger", urls, *topology, sentinel_master.as_deref(), key_prefix)
            }
        }
    }

    /// Where regions have ledgers of their own, only a nonce keeps a proof of one region out of another.
    fn check_region(&self) -> Result<(), ConfigError> {
        let Some(region) = &self.dpop.region else { return Ok(()) };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if region.is_empty() || region.len() > 32 || !region.bytes().all(plain) {
            return Err(invalid("dpop.region", "must be 1 to 32 letters, digits and `.`, `_`, `-`"));
        }
        if self.dpop.nonce != NoncePolicy::Required {
            return Err(invalid("dpop.region", "needs `nonce = \"required\"`: without a nonce a proof would be good in every region"));
        }
        match self.resource.iter().position(|resource| resource.nonce == Some(NoncePolicy::Off)) {
            Some(position) => Err(invalid(format!("resource.{position}.nonce"), "must be \"required\" where `dpop.region` is set")),
            None => Ok(()),
        }
    }

    fn check_clients(&self) -> Result<(), ConfigError> {
        let mut ids = BTreeSet::new();
        for (position, client) in self.client.iter().enumerate() {
            let key = |member: &str| format!("client.{position}.{member}");
            let client = client
                .clone()
                .validate(self.profile == Profile::Fapi2, &mut NoEntropy)
                .map_err(|error| invalid(key(error.member()), error.to_string()))?;
            if !ids.insert(client.id().clone()) {
                return Err(invalid(key("client_id"), "is used by another client too"));
            }
        }
        Ok(())
    }

    fn check_resources(&self) -> Result<(), ConfigError> {
        let (mut ids, mut urls) = (BTreeSet::new(), BTreeSet::new());
        for (position, resource) in self.resource.iter().enumerate() {
            let key = |name: &str| format!("resource.{position}.{name}");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if resource.id.is_empty() || !resource.id.bytes().all(plain) {
                return Err(invalid(key("id"), "must consist of letters, digits, `.`, `_` and `-`"));
            }
            if !ids.insert(&resource.id) {
                return Err(invalid(key("id"), "is used by another resource too"));
            }
            if !urls.insert(resource.url.as_str()) {
                return Err(invalid(key("url"), "is used by another resource too"));
            }
            if !resource.aliases.iter().all(|alias| urls.insert(alias.as_str())) {
                return Err(invalid(key("aliases"), "name a URL that is used already"));
            }
            if let Some(seconds) = resource.proof_max_age_s {
                within(&key("proof_max_age_s"), seconds, 1..=3600)?;
            }
            if resource.audience.as_ref().is_some_and(String::is_empty) {
                return Err(invalid(key("audience"), "must not be empty"));
            }
            self.check_credentials(resource, key)?;
        }
        Ok(())
    }

    fn check_interaction(&self) -> Result<(), ConfigError> {
        let Interaction { url, builtin } = &self.interaction;
        if *builtin == Some(true) && !self.issuer.is_loopback() {
            return Err(invalid("interaction.builtin", "lets anyone sign in under any name: the issuer must be on a loopback host"));
        }
        if *builtin == Some(true) && url.is_some() {
            return Err(invalid("interaction.builtin", "give either `url` or `builtin = true`"));
        }
        match url {
            Some(url) if !is_web_uri(url) => {
                Err(invalid("interaction.url", "must be an https URL without a fragment (http on loopback only)"))
            }
            _ => Ok(()),
        }
    }

    fn check_details_types(&self) -> Result<(), ConfigError> {
        let mut types = Vec::new();
        for (position, one) in self.authorization_details_type.iter().enumerate() {
            let key = |name: &str| format!("authorization_details_type.{position}.{name}");
            types.push(one.build().map_err(|(name, message)| invalid(key(name), message))?);
        }
        DetailsTypes::new(types).map(drop).map_err(|error| invalid("authorization_details_type", error.to_string()))
    }

    /// A resource that asks about tokens authenticates under its `id`, which must then be nobody else's name.
    fn check_credentials(&self, resource: &Resource, key: impl Fn(&str) -> String) -> Result<(), ConfigError> {
        let Some(credentials) = resource.credentials() else { return Ok(()) };
        if resource.client_secret.is_some() && resource.jwks.is_some() {
            return Err(invalid(key("client_secret"), "give either `client_secret` or `jwks`"));
        }
        if self.client.iter().any(|client| client.client_id == credentials.client_id) {
            return Err(invalid(key("id"), "is the client_id of a client too: a resource with credentials needs a name of its own"));
        }
        // The rules of the profile are for clients: a resource server gets no tokens.
        match credentials.validate(false, &mut NoEntropy) {
            Ok(_) => Ok(()),
            Err(error) => Err(invalid(key(error.member()), error.to_string())),
        }
    }

    fn check_registration(&self) -> Result<(), ConfigError> {
        let registration = &self.registration;
        within("registration.max_clients", registration.max_clients, 1..=100_000)?;
        within("registration.max_per_minute", registration.max_per_minute, 1..=10_000)?;
        if self.client_metadata_documents.allow_loopback && !self.client_metadata_documents.enabled {
            return Err(invalid("client_metadata_documents.allow_loopback", "has a meaning with `enabled = true` only"));
        }
        match (registration.mode, &registration.token) {
            (RegistrationMode::Token, None) => Err(invalid("registration.token", "is needed where `mode` is \"token\" (or token_file)")),
            (RegistrationMode::Off | RegistrationMode::Open, Some(_)) => {
                Err(invalid("registration.token", "has a meaning with `mode = \"token\"` only"))
            }
            (RegistrationMode::Token, Some(token)) if token.expose().chars().count() < Self::MIN_TOKEN_LEN => {
                Err(invalid("registration.token", format!("must have at least {} characters", Self::MIN_TOKEN_LEN)))
            }
            (RegistrationMode::Token, Some(token)) if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(invalid("registration.token", "must consist of visible ASCII characters without spaces"))
            }
            _ => Ok(()),
        }
    }

    fn check_trusted_issuers(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for (position, trusted) in self.trusted_issuer.iter().enumerate() {
            let key = |name: &str| format!("trusted_issuer.{position}.{name}");
            if trusted.issuer.is_empty() || trusted.issuer == self.issuer.as_str() {
                return Err(invalid(key("issuer"), "must be the name of another issuer"));
            }
            if !names.insert(&trusted.issuer) {
                return Err(invalid(key("issuer"), "is used by another trusted issuer too"));
            }
            if [&trusted.audience, &trusted.subject_claim].into_iter().flatten().any(String::is_empty) {
                return Err(invalid(key("audience"), "must not be empty, nor must subject_claim"));
            }
            match (&trusted.jwks_uri, &trusted.jwks) {
                (Some(url), None) => drop(FetchUrl::parse(url).map_err(|error| invalid(key("jwks_uri"), error.to_string()))?),
                (None, Some(jwks)) => drop(trusted_keys(jwks).map_err(|problem| invalid(key("jwks"), problem))?),
                _ => return Err(invalid(key("jwks_uri"), "either `jwks_uri` or `jwks` is needed")),
            }
            for client in &trusted.clients {
                ClientId::new(client.as_str()).map_err(|error| invalid(key("clients"), error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Redis servers as `section` names them.
fn check_servers(
    section: &str,
    urls: &[Secret<String>],
    topology: Topology,
    sentinel_master: Option<&str>,
    key_prefix: &str,
) -> Result<(), ConfigError> {
    let key = |name: &str| format!("{section}.{name}");
    let sentinel = topology == Topology::Sentinel;
    let begins = |url: &Secret<String>, scheme: &str| url.expose().starts_with(scheme);
    if urls.len() != 1 && topology == Topology::Standalone {
        return Err(invalid(key("urls"), "must name exactly one server for the standalone topology"));
    }
    if sentinel && (urls.is_empty() || urls.iter().any(|url| begins(url, "unix://"))) {
        return Err(invalid(key("urls"), "must name the sentinels as redis://host:port for the sentinel topology"));
    }
    if topology == Topology::Cluster {
        if urls.is_empty() || urls.iter().any(|url| begins(url, "unix://")) {
            return Err(invalid(key("urls"), "must name members as redis://host:port for the cluster topology"));
        }
        if urls.iter().any(|url| database(url.expose()).is_some_and(|number| number != "0")) {
            return Err(invalid(key("urls"), "a cluster has one database: leave the number out"));
        }
    }
    match sentinel_master {
        None if sentinel => return Err(invalid(key("sentinel_master"), "must be the name of the primary that the sentinels watch")),
        Some(_) if !sentinel => return Err(invalid(key("sentinel_master"), "belongs to the sentinel topology")),
        Some("") => return Err(invalid(key("sentinel_master"), "must not be empty")),
        _ => {}
    }
    if !urls.iter().all(|url| ["redis://", "rediss://", "unix://"].iter().any(|scheme| begins(url, scheme))) {
        return Err(invalid(key("urls"), "each must begin with redis://, rediss:// or unix://"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if !key_prefix.bytes().all(plain) || key_prefix.len() > 32 {
        return Err(invalid(key("key_prefix"), "must be up to 32 letters, digits and `.`, `_`, `:`, `-`"));
    }
    Ok(())
}

/// What stands for the database in the URL of a Redis server.
fn database(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let (_, path) = rest.rsplit_once('@').map_or(rest, |(_, host)| host).split_once('/')?;
    let number = path.split(['?', '#']).next()?;
    (!number.is_empty()).then_some(number)
}

/// The keys in a `jwks` of the configuration.
///
/// # Errors
/// What is wrong with them, as the end of a sentence.
pub fn trusted_keys(jwks: &toml::Table) -> Result<Vec<ClientKey>, &'static str> {
    match serde_json::to_value(jwks) {
        Ok(serde_json::Value::Object(members)) => parse_key_set(&members, KeySets::MAX_KEYS),
        _ => Err("must be a JWK Set"),
    }
}

/// For a client that is made to be checked and thrown away: the salt of its secret's digest is of no use to anyone.
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

fn within<T: PartialOrd + Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(key, format!("must be between {} and {}", range.start(), range.end())))
}

fn invalid(key: impl Into<String>, message: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key: key.into(), message: message.into() }
}
