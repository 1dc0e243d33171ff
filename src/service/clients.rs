//! Every client there is: configured ones, and those registered at run time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::{Entropy, UnixTime};
use moka::future::Cache;
use zeroize::Zeroizing;

use crate::domain::client::{InvalidClientMetadata, NoSecret, Provenance, StoredClientError};
use crate::domain::{AuthMethod, Client, ClientId, ClientMetadata};
use crate::secret::Secret;
use crate::service::client_documents::ClientDocuments;
use crate::service::cookie_clients::CookieClients;
use crate::store::{ClientRecords, StoreError};

/// Finds clients by their identifier, and changes those that were registered at run time.
///
/// Stored clients, and the absence of one, are remembered for [`ClientRegistry::CACHE_TTL`]: so long a change on another node
/// may go unnoticed here. A change made here shows at once, save to a lookup that was under way.
pub struct ClientRegistry {
    configured: HashMap<ClientId, Arc<Client>>,
    records: Arc<dyn ClientRecords>,
    cache: Cache<ClientId, Option<Arc<Client>>>,
    configured_cookies: CookieClients,
    stored_cookies: Cache<(), Arc<CookieClients>>,
    documents: Option<ClientDocuments>,
    fapi2: bool,
}

/// What a registration gave.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The client.
    pub client: Arc<Client>,
    /// The secret, where one was made: shown once, and not kept.
    pub client_secret: Option<Secret<String>>,
}

impl ClientRegistry {
    /// For how long a stored client is remembered.
    pub const CACHE_TTL: Duration = Duration::from_secs(1);

    /// How many clients are remembered.
    pub const CACHE_CAPACITY: u64 = 10_000;

    /// The configured clients, and those in `records`, under the profile in force.
    ///
    /// # Errors
    /// [`RegistryError::Exists`] where two configured clients have one identifier.
    pub fn new(
        configured: impl IntoIterator<Item = Client>,
        records: Arc<dyn ClientRecords>,
        profile_fapi2: bool,
    ) -> Result<Self, RegistryError> {
        let mut by_id = HashMap::new();
        for client in configured {
            if by_id.insert(client.id().clone(), Arc::new(client)).is_some() {
                return Err(RegistryError::Exists);
            }
        }
        let mut configured_cookies = CookieClients::default();
        for client in by_id.values() {
            configured_cookies.note(client);
        }
        let stored_cookies = Cache::builder().max_capacity(1).time_to_live(Self::CACHE_TTL).build();
        let cache = Cache::builder().max_capacity(Self::CACHE_CAPACITY).time_to_live(Self::CACHE_TTL).build();
        Ok(Self { configured: by_id, records, cache, configured_cookies, stored_cookies, documents: None, fapi2: profile_fapi2 })
    }

    /// The same registry, which also knows the clients that are named by the URL of their metadata.
    #[must_use]
    pub fn with_documents(self, documents: Option<ClientDocuments>) -> Self {
        Self { documents, ..self }
    }

    /// Whether a `client_id` may be the URL of a client's metadata.
    pub fn knows_documents(&self) -> bool {
        self.documents.is_some()
    }

    /// The client with this identifier, if there is one. A configured client hides a stored one of the same name, and that one a
    /// metadata document; a stored one that is not legal under the profile in force is not there.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn find(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(client) = self.configured.get(id) {
            return Ok(Some(Arc::clone(client)));
        }
        let stored = self.cache.try_get_with_by_ref(id, self.read(id)).await.map_err(|error| StoreError::clone(&error))?;
        match (stored, &self.documents) {
            (None, Some(documents)) => Ok(documents.find(id).await),
            (stored, _) => Ok(stored),
        }
    }

    /// Registers a new client (RFC 7591 section 3). An identifier and a secret are made where the registration needs one and
    /// brings none.
    ///
    /// Two registrations of one identifier at the same moment may both succeed; the later one counts.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where the identifier is taken.
    pub async fn register(&self, metadata: ClientMetadata, entropy: &mut (dyn Entropy + Send)) -> Result<Registered, RegistryError> {
        self.register_by(Provenance::Operator, metadata, entropy).await
    }

    /// As [`ClientRegistry::register`], by the word of someone else than the operator.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn register_by(
        &self,
        provenance: Provenance,
        mut metadata: ClientMetadata,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Registered, RegistryError> {
        let id = match &metadata.client_id {
            Some(id) => id.clone(),
            None => {
                let id = ClientId::new(random_text::<16>(entropy).as_str()).expect("22 characters of base64url are a client_id");
                metadata.client_id = Some(id.clone());
                id
            }
        };
        if self.configured.contains_key(&id) {
            return Err(RegistryError::Configured);
        }
        if id == CookieClients::id() {
            return Err(RegistryError::Exists);
        }
        let client_secret = match (metadata.token_endpoint_auth_method, &metadata.client_secret) {
            (Some(AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost), None) => {
                let secret = random_text::<32>(entropy);
                metadata.client_secret = Some(Secret::new(String::clone(&secret)));
                Some(Secret::new(String::clone(&secret)))
            }
            _ => None,
        };
        let client = Arc::new(metadata.validate(self.fapi2, entropy)?.with_provenance(provenance));
        if self.records.client(&id).await?.is_some() {
            return Err(RegistryError::Exists);
        }
        self.write(&client).await?;
        Ok(Registered { client, client_secret })
    }

    /// Replaces a registration (RFC 7592 section 2.2). Its secret stays where the new one brings none.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where there is no such client, or it is a configured one.
    pub async fn replace(
        &self,
        id: &ClientId,
        mut metadata: ClientMetadata,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Arc<Client>, RegistryError> {
        if self.configured.contains_key(id) {
            return Err(RegistryError::Configured);
        }
        if metadata.client_id.get_or_insert_with(|| id.clone()) != id {
            return Err(RegistryError::OtherId);
        }
        if *id == CookieClients::id() {
            return Err(RegistryError::Unknown);
        }
        let record = self.records.client(id).await?.ok_or(RegistryError::Unknown)?;
        let kept = match Client::from_stored_json(&record, self.fapi2) {
            Ok(previous) => previous.secrets().to_vec(),
            // What is not legal any more may be replaced by what is.
            Err(StoredClientError::Invalid(_)) => Vec::new(),
            Err(error) => return Err(unreadable(&error).into()),
        };
        let client = Arc::new(metadata.validate_keeping(self.fapi2, &kept, entropy)?);
        self.write(&client).await?;
        Ok(client)
    }

    /// Gives a client a new secret; those it had are good until `overlap_ends`, and no longer than they were.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where there is no such client, it is a configured one, or it has no secret.
    pub async fn rotate_secret(
        &self,
        id: &ClientId,
        overlap_ends: UnixTime,
        now: UnixTime,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Registered, RegistryError> {
        if self.configured.contains_key(id) {
            return Err(RegistryError::Configured);
        }
        // From the store and not from the cache: a secret that another node made a moment ago is not to be lost.
        let current = self.read(id).await?.ok_or(RegistryError::Unknown)?;
        let secret = random_text::<32>(entropy);
        let client = Arc::new(current.with_new_secret(secret.as_bytes(), overlap_ends, now, entropy)?);
        self.write(&client).await?;
        Ok(Registered { client, client_secret: Some(Secret::new(String::clone(&secret))) })
    }

    /// How many clients registered themselves.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn self_registered(&self) -> Result<usize, StoreError> {
        let clients = self.list().await?;
        Ok(clients.iter().filter(|client| client.provenance() == Provenance::SelfRegistered).count())
    }

    /// Removes a client. Its grants are the caller's to end.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where there is no such client, or it is a configured one.
    pub async fn delete(&self, id: &ClientId) -> Result<(), RegistryError> {
        if self.configured.contains_key(id) {
            return Err(RegistryError::Configured);
        }
        if *id == CookieClients::id() {
            return Err(RegistryError::Unknown);
        }
        let existed = self.records.delete_client(id).await;
        self.cache.invalidate(id).await;
        CookieClients::change(&*self.records, |all| all.forget(id)).await?;
        self.stored_cookies.invalidate(&()).await;
        if existed? { Ok(()) } else { Err(RegistryError::Unknown) }
    }

    /// All clients, sorted by identifier.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn list(&self) -> Result<Vec<Arc<Client>>, StoreError> {
        let mut clients: Vec<Arc<Client>> = self.configured.values().cloned().collect();
        for (id, record) in self.records.clients().await? {
            if !self.configured.contains_key(&id) && id != CookieClients::id() {
                clients.extend(self.decode(&record)?);
            }
        }
        clients.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(clients)
    }

    /// Whether pages of this origin may use the refresh token cookie of some client. Which client that is, and whether it is the one
    /// that a request is about, is not known here.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn is_cookie_origin(&self, origin: &str) -> Result<bool, StoreError> {
        Ok(self.configured_cookies.has_origin(origin) || self.stored_cookies().await?.has_origin(origin))
    }

    /// The one client that takes one of these cookies from pages of this origin; `None` where there is none, or more than one.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn find_by_cookie(&self, origin: &str, cookies: &[&str]) -> Result<Option<Arc<Client>>, StoreError> {
        let stored = self.stored_cookies().await?;
        let ids: BTreeSet<&ClientId> = self.configured_cookies.matching(origin, cookies).chain(stored.matching(origin, cookies)).collect();
        let mut ids = ids.into_iter();
        match (ids.next(), ids.next()) {
            (Some(only), None) => self.find(only).await,
            _ => Ok(None),
        }
    }

    async fn stored_cookies(&self) -> Result<Arc<CookieClients>, StoreError> {
        let read = async { CookieClients::read(&*self.records).await.map(Arc::new) };
        self.stored_cookies.try_get_with((), read).await.map_err(|error| StoreError::clone(&error))
    }

    /// Whether the client comes from the configuration.
    pub fn is_configured(&self, id: &ClientId) -> bool {
        self.configured.contains_key(id)
    }

    async fn read(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        match self.records.client(id).await? {
            Some(record) if *id != CookieClients::id() => self.decode(&record),
            _ => Ok(None),
        }
    }

    async fn write(&self, client: &Arc<Client>) -> Result<(), StoreError> {
        let written = self.records.put_client(client.id(), &client.to_stored_json()).await;
        // Also where the outcome is unknown.
        self.cache.invalidate(client.id()).await;
        written?;
        let noted = CookieClients::change(&*self.records, |all| all.note(client)).await;
        self.stored_cookies.invalidate(&()).await;
        noted
    }

    fn decode(&self, record: &[u8]) -> Result<Option<Arc<Client>>, StoreError> {
        match Client::from_stored_json(record, self.fapi2) {
            Ok(client) => Ok(Some(Arc::new(client))),
            Err(StoredClientError::Invalid(error)) => {
                tracing::warn!(%error, "a stored client is not legal under the profile in force, and is treated as absent");
                Ok(None)
            }
            Err(error) => Err(unreadable(&error)),
        }
    }
}

impl std::fmt::Debug for ClientRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientRegistry").field("configured", &self.configured.len()).finish_non_exhaustive()
    }
}

/// Why the registry doesn't do what it is asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registration is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidClientMetadata),
    /// The client is in the configuration file, and is changed there.
    #[error("this client is in the configuration, and is changed there")]
    Configured,
    /// The identifier is taken.
    #[error("a client with this client_id exists")]
    Exists,
    /// There is no such client.
    #[error("there is no such client")]
    Unknown,
    /// The client has no secret, and gets none.
    #[error(transparent)]
    NoSecret(#[from] NoSecret),
    /// The registration names another client than the request.
    #[error("client_id is not the one in the path")]
    OtherId,
}

fn unreadable(error: &StoredClientError) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

fn random_text<const BYTES: usize>(entropy: &mut dyn Entropy) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    entropy.fill(bytes.as_mut());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsEntropy;
    use crate::service::testing::MemoryRecords;
    use serde_json::{Value, json};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn metadata(value: Value) -> ClientMetadata {
        serde_json::from_value(value).unwrap()
    }

    fn id(text: &str) -> ClientId {
        ClientId::new(text).unwrap()
    }

    fn registry() -> (ClientRegistry, Arc<MemoryRecords>) {
        let configured = metadata(json!({"client_id": "fixed"})).validate(false, &mut OsEntropy).unwrap();
        let records = Arc::new(MemoryRecords::default());
        (ClientRegistry::new([configured], Arc::clone(&records) as Arc<dyn ClientRecords>, false).unwrap(), records)
    }

    #[tokio::test]
    async fn a_change_shows_at_once() {
        let (registry, _) = registry();
        assert!(registry.find(&id("app")).await.unwrap().is_none());
        registry.register(metadata(json!({"client_id": "app", "client_name": "one"})), &mut OsEntropy).await.unwrap();
        let name = |client: Arc<Client>| client.metadata().client_name.clone();
        assert_eq!(name(registry.find(&id("app")).await.unwrap().unwrap()).as_deref(), Some("one"));
        registry.replace(&id("app"), metadata(json!({"client_name": "two"})), &mut OsEntropy).await.unwrap();
        assert_eq!(name(registry.find(&id("app")).await.unwrap().unwrap()).as_deref(), Some("two"));
        registry.delete(&id("app")).await.unwrap();
        assert!(registry.find(&id("app")).await.unwrap().is_none());
        assert_eq!(registry.delete(&id("app")).await, Err(RegistryError::Unknown));
    }

    #[tokio::test]
    async fn a_configured_client_is_found_and_not_changed() {
        let (registry, _) = registry();
        let fixed = id("fixed");
        assert!(registry.find(&fixed).await.unwrap().is_some() && registry.is_configured(&fixed));
        let change = || metadata(json!({"client_id": "fixed"}));
        assert_eq!(registry.register(change(), &mut OsEntropy).await.unwrap_err(), RegistryError::Configured);
        assert_eq!(registry.replace(&fixed, change(), &mut OsEntropy).await.unwrap_err(), RegistryError::Configured);
        assert_eq!(registry.delete(&fixed).await, Err(RegistryError::Configured));
    }

    #[tokio::test]
    async fn an_identifier_is_given_out_once() {
        let (registry, records) = registry();
        let register = async || registry.register(metadata(json!({"client_id": "app"})), &mut OsEntropy).await;
        assert!(register().await.is_ok());
        assert_eq!(register().await.unwrap_err(), RegistryError::Exists);
        let other = metadata(json!({"client_id": "other"}));
        assert_eq!(registry.replace(&id("app"), other, &mut OsEntropy).await.unwrap_err(), RegistryError::OtherId);
        assert_eq!(registry.replace(&id("new"), metadata(json!({})), &mut OsEntropy).await.unwrap_err(), RegistryError::Unknown);
        let twice = [(); 2].map(|()| metadata(json!({"client_id": "a"})).validate(false, &mut OsEntropy).unwrap());
        assert_eq!(ClientRegistry::new(twice, records, false).unwrap_err(), RegistryError::Exists);
    }

    #[tokio::test]
    async fn a_made_secret_works_and_survives_a_replacement_without_one() {
        let (registry, _) = registry();
        let confidential = || metadata(json!({"token_endpoint_auth_method": "client_secret_basic"}));
        let registered = registry.register(confidential(), &mut OsEntropy).await.unwrap();
        let secret = registered.client_secret.unwrap();
        assert_eq!(secret.expose().len(), 43);
        assert_eq!(registered.client.verify_secret(secret.expose().as_bytes(), NOW), Ok(()));
        let id = registered.client.id().clone();
        let replaced = registry.replace(&id, confidential(), &mut OsEntropy).await.unwrap();
        assert_eq!(replaced.verify_secret(secret.expose().as_bytes(), NOW), Ok(()));
        let mut change = confidential();
        change.client_secret = Some(Secret::new("another secret of some length".to_owned()));
        let changed = registry.replace(&id, change, &mut OsEntropy).await.unwrap();
        assert!(changed.verify_secret(secret.expose().as_bytes(), NOW).is_err());
        assert_eq!(changed.verify_secret(b"another secret of some length", NOW), Ok(()));
        let public = metadata(json!({"token_endpoint_auth_method": "none"}));
        assert!(registry.replace(&id, public, &mut OsEntropy).await.unwrap().is_public());
    }

    fn cookie_client(id: &str, origin: &str) -> ClientMetadata {
        metadata(json!({"client_id": id, "refresh_token_delivery": "cookie", "allowed_origins": [origin]}))
    }

    #[tokio::test]
    async fn a_client_with_a_cookie_is_found_by_origin_and_cookie() {
        let configured = cookie_client("fixed", "https://a.example").validate(false, &mut OsEntropy).unwrap();
        let records = Arc::new(MemoryRecords::default());
        let registry = ClientRegistry::new([configured], Arc::clone(&records) as Arc<dyn ClientRecords>, false).unwrap();
        let default = ["other", "__Host-keybound_rt"];
        let found = async |origin: &str| {
            let client = registry.find_by_cookie(origin, &default).await.unwrap();
            client.map(|client| client.id().as_str().to_owned())
        };
        assert!(registry.is_cookie_origin("https://a.example").await.unwrap());
        assert!(!registry.is_cookie_origin("https://b.example").await.unwrap());
        assert_eq!(found("https://a.example").await.as_deref(), Some("fixed"));

        registry.register(cookie_client("b", "https://b.example"), &mut OsEntropy).await.unwrap();
        assert!(registry.is_cookie_origin("https://b.example").await.unwrap());
        assert_eq!(found("https://b.example").await.as_deref(), Some("b"));
        assert!(registry.find_by_cookie("https://b.example", &["other"]).await.unwrap().is_none());

        registry.register(cookie_client("c", "https://b.example"), &mut OsEntropy).await.unwrap();
        assert_eq!(found("https://b.example").await, None, "two clients, and no telling which one");
        registry.replace(&id("c"), metadata(json!({})), &mut OsEntropy).await.unwrap();
        assert_eq!(found("https://b.example").await.as_deref(), Some("b"));
        registry.delete(&id("b")).await.unwrap();
        assert!(!registry.is_cookie_origin("https://b.example").await.unwrap());
    }

    #[tokio::test]
    async fn the_record_behind_them_is_no_client() {
        let (registry, records) = registry();
        registry.register(cookie_client("app", "https://a.example"), &mut OsEntropy).await.unwrap();
        let record = CookieClients::id();
        assert!(records.client(&record).await.unwrap().is_some());
        assert!(registry.find(&record).await.unwrap().is_none());
        let names: Vec<_> = registry.list().await.unwrap().iter().map(|client| client.id().to_string()).collect();
        assert_eq!(names, ["app", "fixed"]);
        let mut taken = metadata(json!({}));
        taken.client_id = Some(record.clone());
        assert_eq!(registry.register(taken.clone(), &mut OsEntropy).await.unwrap_err(), RegistryError::Exists);
        assert_eq!(registry.replace(&record, taken, &mut OsEntropy).await.unwrap_err(), RegistryError::Unknown);
        assert_eq!(registry.delete(&record).await, Err(RegistryError::Unknown));
    }

    #[tokio::test]
    async fn an_old_secret_works_until_the_overlap_ends() {
        let (registry, _) = registry();
        let confidential = metadata(json!({"client_id": "app", "token_endpoint_auth_method": "client_secret_basic"}));
        let registered = registry.register(confidential, &mut OsEntropy).await.unwrap();
        let old = registered.client_secret.unwrap();
        let at = |seconds: i64| UnixTime::from_secs(1_700_000_000 + seconds);
        let new = registry.rotate_secret(&id("app"), at(60), NOW, &mut OsEntropy).await.unwrap().client_secret.unwrap();
        let client = registry.find(&id("app")).await.unwrap().unwrap();
        for (seconds, old_works) in [(0, true), (59, true), (60, false), (61, false)] {
            assert_eq!(client.verify_secret(old.expose().as_bytes(), at(seconds)).is_ok(), old_works, "{seconds}");
            assert_eq!(client.verify_secret(new.expose().as_bytes(), at(seconds)), Ok(()));
        }
        // A second rotation lengthens no life, and one without overlap ends all the others.
        let third = registry.rotate_secret(&id("app"), at(1000), at(1), &mut OsEntropy).await.unwrap().client_secret.unwrap();
        let client = registry.find(&id("app")).await.unwrap().unwrap();
        assert!(client.verify_secret(old.expose().as_bytes(), at(60)).is_err());
        assert!(client.verify_secret(new.expose().as_bytes(), at(999)).is_ok());
        registry.rotate_secret(&id("app"), at(2), at(2), &mut OsEntropy).await.unwrap();
        let client = registry.find(&id("app")).await.unwrap().unwrap();
        for gone in [old, new, third] {
            assert!(client.verify_secret(gone.expose().as_bytes(), at(2)).is_err());
        }
    }

    #[tokio::test]
    async fn only_a_stored_client_with_a_secret_gets_a_new_one() {
        let (registry, _) = registry();
        registry.register(metadata(json!({"client_id": "public"})), &mut OsEntropy).await.unwrap();
        let rotate = async |name: &str| registry.rotate_secret(&id(name), NOW, NOW, &mut OsEntropy).await.unwrap_err();
        assert_eq!(rotate("public").await, RegistryError::NoSecret(NoSecret));
        assert_eq!(rotate("fixed").await, RegistryError::Configured);
        assert_eq!(rotate("nobody").await, RegistryError::Unknown);
    }

    #[tokio::test]
    async fn all_clients_are_listed_in_order() {
        let (registry, _) = registry();
        for name in ["zeta", "alpha"] {
            registry.register(metadata(json!({"client_id": name})), &mut OsEntropy).await.unwrap();
        }
        let names: Vec<_> = registry.list().await.unwrap().iter().map(|client| client.id().to_string()).collect();
        assert_eq!(names, ["alpha", "fixed", "zeta"]);
    }

    /// R4: what the store can't tell is not "no such client", and is not remembered.
    #[tokio::test]
    async fn a_failing_store_is_an_error_and_is_asked_again() {
        let (registry, records) = registry();
        let down = StoreError::Unavailable("test".to_owned());
        records.fail(Some(down.clone()));
        assert_eq!(registry.find(&id("app")).await.unwrap_err(), down);
        assert!(registry.find(&id("fixed")).await.unwrap().is_some());
        records.fail(None);
        assert!(registry.find(&id("app")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_stored_client_that_is_not_legal_now_is_not_there_and_an_unreadable_one_is_an_error() {
        let (registry, records) = registry();
        registry.register(metadata(json!({"client_id": "app"})), &mut OsEntropy).await.unwrap();
        let strict = ClientRegistry::new([], Arc::clone(&records) as Arc<dyn ClientRecords>, true).unwrap();
        assert!(strict.find(&id("app")).await.unwrap().is_none());
        assert!(strict.list().await.unwrap().is_empty());
        records.put_client(&id("broken"), b"{}").await.unwrap();
        assert!(matches!(registry.find(&id("broken")).await, Err(StoreError::Unreadable(_))));
    }
}
