//! Clients that are named by the URL of their metadata (draft-ietf-oauth-client-id-metadata-document).

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use serde_json::{Map, Value};

use crate::clock::OsEntropy;
use crate::domain::client::{AuthMethod, Client, GrantType, InvalidClientMetadata, Provenance, self_described};
use crate::domain::{ClientId, FetchUrl, Scope};
use crate::fetch::{Document, FetchError, Fetcher, Reach};

/// Finds clients by the URL that is their `client_id`.
///
/// The document is kept for as long as its sender says, between [`ClientDocuments::MIN_KEPT`] and [`ClientDocuments::MAX_KEPT`]; that
/// there is none, for [`ClientDocuments::FAILURE_KEPT`]. While its host can't be reached, the last good document goes on to count, for
/// [`ClientDocuments::STALE_KEPT`] at most. Requests for the same document share one fetch.
pub struct ClientDocuments {
    fetcher: Fetcher,
    /// What a client that asks for nothing in particular may ask for.
    default_scope: Scope,
    fapi2: bool,
    found: Cache<ClientId, Found>,
    good: Cache<ClientId, Arc<Client>>,
}

#[derive(Clone)]
struct Found {
    client: Option<Arc<Client>>,
    kept: Duration,
}

/// Each entry says itself how long it is kept.
struct ByEntry;

impl Expiry<ClientId, Found> for ByEntry {
    fn expire_after_create(&self, _: &ClientId, found: &Found, _: Instant) -> Option<Duration> {
        Some(found.kept)
    }
}

impl ClientDocuments {
    /// The shortest time for which a document is kept.
    pub const MIN_KEPT: Duration = Duration::from_secs(60);

    /// The longest time for which a document is kept.
    pub const MAX_KEPT: Duration = Duration::from_secs(3600);

    /// The time for which a document is kept whose sender says nothing.
    pub const DEFAULT_KEPT: Duration = Duration::from_secs(300);

    /// The time for which a failure is kept.
    pub const FAILURE_KEPT: Duration = Duration::from_secs(10);

    /// The longest time for which a document counts that can't be fetched again.
    pub const STALE_KEPT: Duration = Duration::from_secs(24 * 3600);

    /// The largest document, in bytes: three times what the draft suggests as the least.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// How many documents are kept.
    pub const CAPACITY: u64 = 10_000;

    /// Knows no document yet. `reach` says whether documents may be on this machine.
    pub fn new(reach: Reach, default_scope: Scope, fapi2: bool) -> Self {
        Self {
            fetcher: Fetcher::new(reach),
            default_scope,
            fapi2,
            found: Cache::builder().max_capacity(Self::CAPACITY).expire_after(ByEntry).build(),
            good: Cache::builder().max_capacity(Self::CAPACITY).time_to_live(Self::STALE_KEPT).build(),
        }
    }

    /// The client whose metadata is at `id`; `None` where `id` is no such URL, or there is no good document at it.
    pub async fn find(&self, id: &ClientId) -> Option<Arc<Client>> {
        let url = document_url(id)?;
        self.found.get_with_by_ref(id, self.look_up(id, &url)).await.client
    }

    async fn look_up(&self, id: &ClientId, url: &FetchUrl) -> Found {
        let error = match self.fetcher.document(url, Self::MAX_BYTES).await {
            Ok(document) => match self.read(id, &document) {
                Ok(client) => {
                    let client = Arc::new(client);
                    self.good.insert(id.clone(), Arc::clone(&client)).await;
                    let kept = document.max_age.unwrap_or(Self::DEFAULT_KEPT).clamp(Self::MIN_KEPT, Self::MAX_KEPT);
                    return Found { client: Some(client), kept };
                }
                Err(error) => {
                    tracing::info!(%error, client_id = id.as_str(), "a client metadata document is not good");
                    self.good.invalidate(id).await;
                    return Found { client: None, kept: Self::FAILURE_KEPT };
                }
            },
            Err(error) => error,
        };
        tracing::info!(%error, client_id = id.as_str(), "a client metadata document could not be fetched");
        if is_outage(error)
            && let Some(client) = self.good.get(id).await
        {
            return Found { client: Some(client), kept: Self::MIN_KEPT };
        }
        self.good.invalidate(id).await;
        Found { client: None, kept: Self::FAILURE_KEPT }
    }

    fn read(&self, id: &ClientId, document: &Document) -> Result<Client, InvalidClientMetadata> {
        read(id, &document.members, &self.default_scope, self.fapi2)
    }
}

impl std::fmt::Debug for ClientDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientDocuments").field("fetcher", &self.fetcher).field("kept", &self.found.entry_count()).finish_non_exhaustive()
    }
}

/// The URL that a `client_id` is, where it is that of a document: with a path, and in normal form, so that comparing texts is comparing
/// URLs.
fn document_url(id: &ClientId) -> Option<FetchUrl> {
    // Before the work of parsing: every other client_id comes by here too.
    if !id.as_str().starts_with("http") {
        return None;
    }
    FetchUrl::parse(id.as_str()).ok().filter(|url| url.path() != "/")
}

/// Whether the document may be as it was, and only can't be seen.
const fn is_outage(error: FetchError) -> bool {
    match error {
        FetchError::Unreachable | FetchError::TimedOut | FetchError::NoClient | FetchError::TooSoon => true,
        FetchError::Status(status) => status >= 500 || status == 429,
        FetchError::Forbidden | FetchError::ContentType | FetchError::TooLarge | FetchError::NotJson | FetchError::Content(_) => false,
    }
}

/// The client that a document describes.
fn read(id: &ClientId, members: &Map<String, Value>, default_scope: &Scope, fapi2: bool) -> Result<Client, InvalidClientMetadata> {
    let wrong = |member, problem| Err(InvalidClientMetadata::Malformed { member, problem });
    match members.get("client_id") {
        None => return Err(InvalidClientMetadata::Missing { member: "client_id" }),
        Some(named) if named.as_str() != Some(id.as_str()) => return wrong("client_id", "is not the URL of the document"),
        Some(_) => {}
    }
    if members.contains_key("client_secret") || members.contains_key("client_secret_expires_at") {
        return wrong("client_secret", "can't be in a document that everyone may read");
    }
    // The end user stands behind these two, and behind no other.
    let mut metadata = self_described(members, &[GrantType::AuthorizationCode, GrantType::RefreshToken])?;
    if metadata.token_endpoint_auth_method.is_some_and(AuthMethod::uses_secret) {
        return wrong("token_endpoint_auth_method", "must be none or private_key_jwt");
    }
    if metadata.redirect_uris.is_empty() {
        return Err(InvalidClientMetadata::Missing { member: "redirect_uris" });
    }
    metadata.client_id = Some(id.clone());
    if metadata.scope.is_empty() {
        metadata.scope = default_scope.clone();
    }
    Ok(metadata.validate(fapi2, &mut OsEntropy)?.with_provenance(Provenance::MetadataDocument))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URL: &str = "https://client.example/app.json";

    fn id(text: &str) -> ClientId {
        ClientId::new(text).unwrap()
    }

    fn document() -> Value {
        json!({"client_id": URL, "client_name": "App", "redirect_uris": ["https://client.example/cb"]})
    }

    fn read_with(name: &str, value: Value) -> Result<Client, InvalidClientMetadata> {
        let mut document = document();
        document[name] = value;
        read(&id(URL), document.as_object().unwrap(), &Scope::parse("accounts openid").unwrap(), false)
    }

    #[test]
    fn a_client_id_is_a_document_only_where_it_is_a_url_with_a_path() {
        for good in [URL, "https://client.example/a/b", "https://client.example:8443/app.json", "http://localhost:3000/app.json"] {
            assert!(document_url(&id(good)).is_some(), "{good}");
        }
        for other in [
            "app",
            "https://client.example",
            "https://client.example/",
            "http://client.example/app.json",
            "https://client.example/app.json#x",
            "https://user@client.example/app.json",
            "https://client.example/a/../app.json",
            "https://client.example/%2e/app.json",
            "https://CLIENT.example/app.json",
        ] {
            assert!(document_url(&id(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn a_document_describes_a_public_client_by_default() {
        let client = read_with("client_name", json!("App")).unwrap();
        assert!(client.is_public() && client.dpop_bound_access_tokens());
        assert_eq!(client.provenance(), Provenance::MetadataDocument);
        assert_eq!(client.scope().to_string(), "accounts openid");
        assert_eq!(read_with("scope", json!("openid")).unwrap().scope().to_string(), "openid");
        assert!(!read_with("dpop_bound_access_tokens", json!(true)).unwrap().allows_grant(GrantType::ClientCredentials));
    }

    #[test]
    fn a_document_that_claims_another_name_or_holds_a_secret_is_refused() {
        for (name, value) in [
            ("client_id", json!("https://client.example/other.json")),
            ("client_id", json!("https://client.example/app.json/")),
            ("client_id", json!(1)),
            ("client_secret", json!("0123456789abcdef")),
            ("client_secret_expires_at", json!(0)),
            ("token_endpoint_auth_method", json!("client_secret_basic")),
            ("token_endpoint_auth_method", json!("client_secret_post")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!(["http://client.example/cb"])),
            ("grant_types", json!(["client_credentials"])),
        ] {
            assert!(read_with(name, value.clone()).is_err(), "{name} {value}");
        }
        let published = json!("https://client.example/jwks.json");
        assert_eq!(read_with("jwks_uri", published).unwrap().auth_method(), AuthMethod::PrivateKeyJwt);
    }

    #[test]
    fn an_outage_is_told_from_an_answer() {
        for outage in [FetchError::Unreachable, FetchError::TimedOut, FetchError::Status(503), FetchError::Status(429)] {
            assert!(is_outage(outage), "{outage}");
        }
        for answer in [FetchError::Status(404), FetchError::Status(302), FetchError::NotJson, FetchError::TooLarge, FetchError::Forbidden] {
            assert!(!is_outage(answer), "{answer}");
        }
    }
}
