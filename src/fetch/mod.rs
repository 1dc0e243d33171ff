//! Documents of others, fetched over HTTPS within bounds: key sets and client metadata.
//!
//! What a URL may point at depends on who wrote it ([`Reach`]); how long a fetch may take and how much it may bring does not. Nothing
//! here is ever fetched because of an unverified token: URLs come from the configuration and from registrations. The one exception is a
//! client that is named by the URL of its metadata, and only where the operator switched that on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::domain::{FetchUrl, strict_json};

mod address;
mod key_sets;
mod resolver;

pub use address::Reach;
pub use key_sets::{KeySets, KeySource};

use resolver::GuardedResolver;

/// Fetches JSON documents within one [`Reach`].
///
/// The HTTP client, and with it the system's trusted root certificates, is only made when the first document is asked for. Redirects
/// are not followed and proxies from the environment are not used: either would lead past the check of the address.
pub struct Fetcher {
    reach: Reach,
    client: OnceLock<Result<Client, FetchError>>,
    slots: Semaphore,
}

/// One fetched document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says: an object in which every member has a name of its own.
    pub members: Map<String, Value>,
    /// For how long its sender lets it be kept; `None` where the answer doesn't say.
    pub max_age: Option<Duration>,
}

impl Fetcher {
    /// How long a connection may take.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    /// How long a whole fetch may take, the wait for a free slot included.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// How many fetches run at the same time.
    pub const CONCURRENCY: usize = 16;

    /// A fetcher that goes no further than `reach`.
    pub fn new(reach: Reach) -> Self {
        Self { reach, client: OnceLock::new(), slots: Semaphore::new(Self::CONCURRENCY) }
    }

    /// Where it may go.
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    /// Fetches one document of at most `max_bytes`: status 200, a JSON media type, one strict JSON object.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn document(&self, url: &FetchUrl, max_bytes: usize) -> Result<Document, FetchError> {
        if !self.reach.allows_url(url) {
            return Err(FetchError::Forbidden);
        }
        let fetching = async {
            let _slot = self.slots.acquire().await.map_err(|_| FetchError::Unreachable)?;
            let response = self.client()?.get(url.as_url().clone()).header(ACCEPT, "application/json").send().await;
            read(response.map_err(|error| FetchError::of(&error))?, max_bytes).await
        };
        tokio::time::timeout(Self::TIMEOUT, fetching).await.unwrap_or(Err(FetchError::TimedOut))
    }

    fn client(&self) -> Result<&Client, FetchError> {
        self.client.get_or_init(|| build(self.reach)).as_ref().map_err(|error| *error)
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("reach", &self.reach).finish_non_exhaustive()
    }
}

fn build(reach: Reach) -> Result<Client, FetchError> {
    // An error means that a provider was chosen before, which is as good.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(GuardedResolver::new(reach)))
        .connect_timeout(Fetcher::CONNECT_TIMEOUT)
        .timeout(Fetcher::TIMEOUT)
        .pool_max_idle_per_host(0)
        .referer(false)
        .user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            tracing::error!(%error, "no HTTP client can be made; are there trusted root certificates on this machine?");
            FetchError::NoClient
        })
}

async fn read(mut response: Response, max_bytes: usize) -> Result<Document, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    if !is_json(response.headers()) {
        return Err(FetchError::ContentType);
    }
    let max_age = max_age(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::of(&error))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let members = strict_json::parse_object(&body).map_err(|_| FetchError::NotJson)?;
    Ok(Document { members, max_age })
}

/// `application/json`, or a type that ends in `+json` (RFC 6839 section 3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.strip_prefix("application/").is_some_and(|subtype| subtype.ends_with("+json"))
}

/// What `Cache-Control` says of a private cache's time (RFC 9111 section 5.2.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut age = None;
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => age = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs).or(age),
            _ => {}
        }
    }
    age
}

/// Why there is no document. Holds no URL: whoever logs it says which document was wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FetchError {
    /// The host is, or leads to, an address that is out of reach.
    #[error("the host has an address that may not be asked")]
    Forbidden,
    /// No connection, or it broke.
    #[error("the host can't be reached")]
    Unreachable,
    /// It took too long.
    #[error("the host did not answer in time")]
    TimedOut,
    /// Another status than 200; redirects are not followed.
    #[error("the answer has status {0}")]
    Status(u16),
    /// Not a JSON media type.
    #[error("the answer is not declared as JSON")]
    ContentType,
    /// Larger than it may be.
    #[error("the document is too large")]
    TooLarge,
    /// Not one JSON object in which every member has a name of its own.
    #[error("the document is not one JSON object in which every member has a name of its own")]
    NotJson,
    /// A JSON object that is not what it should be.
    #[error("the document {0}")]
    Content(&'static str),
    /// It was tried a moment ago.
    #[error("the document could not be fetched a moment ago")]
    TooSoon,
    /// There is no HTTP client.
    #[error("no HTTP client can be made on this machine")]
    NoClient,
}

impl FetchError {
    fn of(error: &reqwest::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(one) = cause {
            if one.is::<resolver::Refused>() {
                return Self::Forbidden;
            }
            cause = one.source();
        }
        if error.is_timeout() { Self::TimedOut } else { Self::Unreachable }
    }
}

#[cfg(test)]
mod tests;
