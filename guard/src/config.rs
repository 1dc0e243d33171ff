//! What a guard must know.

use std::time::Duration;

use keybound_proofs::{AlgSet, MalformedUri, ProofPolicy, TargetUri};

/// The rules of one API.
///
/// The defaults are those of Keybound: all five algorithms, proofs of up to 60 s, nonces only after the ledger may have forgotten
/// something.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    pub(crate) issuer: String,
    pub(crate) bases: Vec<String>,
    pub(crate) audience: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) policy: ProofPolicy,
    pub(crate) token_algs: AlgSet,
    pub(crate) nonces_required: bool,
    pub(crate) nonce_step: Duration,
    pub(crate) resource_metadata: Option<String>,
    pub(crate) cached_tokens: u64,
    pub(crate) key_refresh: Duration,
    pub(crate) key_retry: Duration,
    pub(crate) key_stale_limit: Duration,
}

impl GuardConfig {
    /// Tokens of `issuer`, for an API whose path `/` appears to clients at `base_url`. The audience is `base_url` as it is written, until
    /// [`audience`](Self::audience) says otherwise.
    pub fn new(issuer: impl Into<String>, base_url: impl Into<String>) -> Self {
        let base_url = base_url.into();
        Self {
            issuer: issuer.into(),
            audience: base_url.clone(),
            bases: vec![base_url],
            scopes: Vec::new(),
            policy: ProofPolicy::default(),
            token_algs: AlgSet::all(),
            nonces_required: false,
            nonce_step: Duration::from_secs(300),
            resource_metadata: None,
            cached_tokens: 20_000,
            key_refresh: Duration::from_secs(600),
            key_retry: Duration::from_secs(10),
            key_stale_limit: Duration::from_secs(24 * 3600),
        }
    }

    /// What `aud` of a token must name.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Another public URL at which the path `/` of this server appears.
    #[must_use]
    pub fn alias(mut self, base_url: impl Into<String>) -> Self {
        self.bases.push(base_url.into());
        self
    }

    /// What every request needs. Finer rules are for the application: [`Guard::demand_scope`](crate::Guard::demand_scope).
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// How proofs are judged: algorithms, sizes, times.
    #[must_use]
    pub fn proofs(mut self, policy: ProofPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The algorithms that the issuer may sign tokens with.
    #[must_use]
    pub fn token_algs(mut self, algs: AlgSet) -> Self {
        self.token_algs = algs;
        self
    }

    /// Demands a nonce of every proof, at all times (RFC 9449 section 9).
    #[must_use]
    pub fn require_nonces(mut self) -> Self {
        self.nonces_required = true;
        self
    }

    /// How long a nonce is handed out; it is accepted for one to two of these.
    #[must_use]
    pub fn nonce_step(mut self, step: Duration) -> Self {
        self.nonce_step = step;
        self
    }

    /// The URL of the API's metadata (RFC 9728), for challenges.
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// How many verified tokens are remembered, so that a token's signature is checked once. One is about a kilobyte.
    #[must_use]
    pub fn cached_tokens(mut self, count: u64) -> Self {
        self.cached_tokens = count;
        self
    }

    /// When the issuer's keys are fetched again: in the background `refresh` after the last time, and for a key that is not known at most
    /// once in `retry`. Where that fails the last good keys count until they are `stale_limit` old.
    #[must_use]
    pub fn key_times(mut self, refresh: Duration, retry: Duration, stale_limit: Duration) -> Self {
        (self.key_refresh, self.key_retry, self.key_stale_limit) = (refresh, retry, stale_limit);
        self
    }

    /// Checks what can be checked before the first request, and brings the base URLs into normal form, without a slash at the end.
    pub(crate) fn settle(mut self) -> Result<Self, UnusableConfig> {
        require_safe_url(&self.issuer)?;
        for base in &mut self.bases {
            require_safe_url(base)?;
            if base.contains(['?', '#']) {
                return Err(UnusableConfig::Query);
            }
            let normal = TargetUri::parse(base)?;
            *base = normal.as_str().trim_end_matches('/').to_owned();
        }
        if self.audience.is_empty() {
            return Err(UnusableConfig::Audience);
        }
        if self.policy.algs.is_empty() || self.token_algs.is_empty() {
            return Err(UnusableConfig::NoAlgorithm);
        }
        Ok(self)
    }
}

/// `https`, or `http` to this machine.
fn require_safe_url(url: &str) -> Result<(), UnusableConfig> {
    let normal = TargetUri::parse(url)?;
    let Some(rest) = normal.as_str().strip_prefix("http://") else { return Ok(()) };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = if authority.starts_with('[') { authority.split_inclusive(']').next() } else { authority.split(':').next() };
    match host {
        Some("localhost" | "[::1]") => Ok(()),
        Some(host) if host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()) => Ok(()),
        _ => Err(UnusableConfig::Plain),
    }
}

/// Why a configuration can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnusableConfig {
    /// The issuer or a base URL.
    #[error("the issuer and the base URLs are {0}")]
    Url(#[from] MalformedUri),
    /// `http` to another machine.
    #[error("http is for this machine alone: the issuer and the base URLs of everything else begin with https://")]
    Plain,
    /// A base URL with a query or a fragment.
    #[error("a base URL has no query and no fragment")]
    Query,
    /// No audience.
    #[error("the audience is empty: every token would be for another API")]
    Audience,
    /// An empty list of algorithms.
    #[error("no algorithm is allowed")]
    NoAlgorithm,
    /// No client for the issuer's keys.
    #[error("no HTTP client can be made for the keys of the issuer")]
    Http,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(issuer: &str, base: &str) -> Result<GuardConfig, UnusableConfig> {
        GuardConfig::new(issuer, base).settle()
    }

    /// DPOP-4-02
    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for good in ["https://a.example", "http://127.0.0.1:8080", "http://localhost/", "http://[::1]:8080/api", "http://127.9.9.9"] {
            assert!(settle(good, good).is_ok(), "{good}");
        }
        for bad in ["http://a.example", "http://localhost.example", "http://127.0.0.1.example", "http://128.0.0.1", "http://[::2]"] {
            assert_eq!(settle(bad, "https://a.example").err(), Some(UnusableConfig::Plain), "{bad}");
            assert_eq!(settle("https://a.example", bad).err(), Some(UnusableConfig::Plain), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_the_start() {
        assert!(matches!(settle("as.example.com", "https://a.example").err(), Some(UnusableConfig::Url(_))));
        assert!(matches!(settle("https://a.example", "/api").err(), Some(UnusableConfig::Url(_))));
        assert_eq!(settle("https://a.example", "https://a.example?x").err(), Some(UnusableConfig::Query));
        let config = GuardConfig::new("https://a.example", "https://a.example");
        assert_eq!(config.clone().audience("").settle().err(), Some(UnusableConfig::Audience));
        assert_eq!(config.token_algs(AlgSet::empty()).settle().err(), Some(UnusableConfig::NoAlgorithm));
        assert_eq!(
            settle("https://a.example", "HTTPS://A.example:443/v1/").map(|config| config.bases).ok(),
            Some(vec!["https://a.example/v1".into()])
        );
    }
}
