//! Where the issuer's keys come from.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use keybound_proofs::jose::{self, Json};
use reqwest::Client;
use reqwest::redirect::Policy;

use crate::config::UnusableConfig;
use crate::keys::{KeySet, KeySetError};

/// Fetches the issuer's keys. Whoever implements this sees to it that an answer comes within seconds, or none.
pub trait KeySource: Send + Sync {
    /// The keys as they are published now.
    fn fetch(&self) -> KeyFetch<'_>;
}

/// What [`KeySource::fetch`] returns.
pub type KeyFetch<'a> = Pin<Box<dyn Future<Output = Result<KeySet, KeyFetchError>> + Send + 'a>>;

/// Keys that never change: for tests, and for issuers that are configured with their keys.
#[derive(Clone, Debug)]
pub struct FixedKeys(pub KeySet);

impl KeySource for FixedKeys {
    fn fetch(&self) -> KeyFetch<'_> {
        let keys = self.0.clone();
        Box::pin(async move { Ok(keys) })
    }
}

/// The keys that the issuer's metadata (RFC 8414) points at.
///
/// Metadata must name the issuer exactly, and a `jwks_uri` that is `https`, or `http` where the issuer itself is. No redirect is
/// followed. A document is 256 KiB long at most; each request takes five seconds at most.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    http: Client,
    issuer: String,
}

impl IssuerKeys {
    /// The longest document, in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// The keys of `issuer`.
    ///
    /// # Errors
    /// [`UnusableConfig::Http`] where this machine offers no certificates to verify the issuer's with.
    pub fn new(issuer: impl Into<String>) -> Result<Self, UnusableConfig> {
        // reqwest takes the provider of the process; an error means that one was chosen before, which is as good.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(5))
            .user_agent(concat!("keybound-guard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| UnusableConfig::Http)?;
        Ok(Self { http, issuer: issuer.into() })
    }

    async fn discover(&self) -> Result<KeySet, KeyFetchError> {
        let metadata = self.get(&metadata_url(&self.issuer)).await?;
        let [issuer, jwks_uri] = jose::members(&metadata, ["issuer", "jwks_uri"]).map_err(|_| KeyFetchError::Metadata)?;
        let (Some(Json::Text(issuer)), Some(Json::Text(jwks_uri))) = (issuer, jwks_uri) else { return Err(KeyFetchError::Metadata) };
        if issuer != self.issuer {
            return Err(KeyFetchError::OtherIssuer);
        }
        let plain = self.issuer.starts_with("http://") && jwks_uri.starts_with("http://");
        if !plain && !jwks_uri.starts_with("https://") {
            return Err(KeyFetchError::Metadata);
        }
        Ok(KeySet::parse(&self.get(&jwks_uri).await?)?)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, KeyFetchError> {
        let mut answer = self.http.get(url).header("accept", "application/json").send().await.map_err(|_| KeyFetchError::Unreachable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(KeyFetchError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| KeyFetchError::Unreachable)? {
            if body.len() + part.len() > Self::MAX_BYTES {
                return Err(KeyFetchError::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

impl KeySource for IssuerKeys {
    fn fetch(&self) -> KeyFetch<'_> {
        Box::pin(self.discover())
    }
}

/// The well-known part stands between host and path (RFC 8414 section 3.1).
fn metadata_url(issuer: &str) -> String {
    let origin_end = issuer.find("://").and_then(|at| issuer[at + 3..].find('/').map(|slash| at + 3 + slash)).unwrap_or(issuer.len());
    let (origin, path) = issuer.split_at(origin_end);
    format!("{origin}/.well-known/oauth-authorization-server{}", path.trim_end_matches('/'))
}

/// Why the issuer's keys could not be fetched. Names no URL: those may be long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFetchError {
    /// No connection, or no whole answer in time.
    #[error("the issuer can't be reached")]
    Unreachable,
    /// Another status than 200.
    #[error("the issuer answered {0} where metadata or keys are expected")]
    Status(u16),
    /// A document that is too long.
    #[error("a document of the issuer is longer than 256 KiB")]
    TooLarge,
    /// Metadata without an issuer or a fit `jwks_uri`.
    #[error("the metadata of the issuer is not what RFC 8414 asks for")]
    Metadata,
    /// Metadata of someone else (RFC 8414 section 3.3).
    #[error("the metadata names another issuer")]
    OtherIssuer,
    /// No set of keys.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    /// It failed a moment ago, or for so long that the last good keys don't count any more.
    #[error("the keys of the issuer are not known")]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// META-8414
    #[test]
    fn the_well_known_part_stands_between_host_and_path() {
        for (issuer, url) in [
            ("https://as.example.com", "https://as.example.com/.well-known/oauth-authorization-server"),
            ("https://as.example.com/tenant", "https://as.example.com/.well-known/oauth-authorization-server/tenant"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/.well-known/oauth-authorization-server"),
        ] {
            assert_eq!(metadata_url(issuer), url);
        }
    }
}
