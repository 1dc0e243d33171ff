//! Every client there is: configured ones, and those registered at run time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::Entropy;
use moka::future::Cache;
use zeroize::Zeroizing;

use crate::domain::client::{InvalidClientMetadata, StoredClientError};
use crate::domain::{AuthMethod, Client, ClientId, ClientMetadata};
use crate::secret::Secret;
use crate::store::{ClientRecords, StoreError};

/// Finds clients by their identifier, and changes those that were registered at run time.
///
/// Stored clients, and the absence of one, are remembered for [`ClientRegistry::CACHE_TTL`]: so long a change on another node
/// may go unnoticed here. A change made here shows at once.
pub struct ClientRegistry {
    configured: HashMap<ClientId, Arc<Client>>,
    records: Arc<dyn ClientRecords>,
    cache: Cache<ClientId, Option<Arc<Client>>>,
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
        let cache = Cache::builder().max_capacity(Self::CACHE_CAPACITY).time_to_live(Self::CACHE_TTL).build();
        Ok(Self { configured: by_id, records, cache, fapi2: profile_fapi2 })
    }

    /// The client with this identifier, if there is one. A configured client hides a stored one of the same name; a stored
    /// one that is not legal under the profile in force is not there.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn find(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(client) = self.configured.get(id) {
            return Ok(Some(Arc::clone(client)));
        }
        self.cache.try_get_with_by_ref(id, self.read(id)).await.map_err(|error| StoreError::clone(&error))
    }

    /// Registers a new client (RFC 7591 section 3). An identifier and a secret are made where the registration needs one and
    /// brings none.
    ///
    /// Two registrations of one identifier at the same moment may both succeed; the later one counts.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where the identifier is taken.
    pub async fn register(
        &self,
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
        let client_secret = match (metadata.token_endpoint_auth_method, &metadata.client_secret) {
            (Some(AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost), None) => {
                let secret = random_text::<32>(entropy);
                metadata.client_secret = Some(Secret::new(String::clone(&secret)));
                Some(Secret::new(String::clone(&secret)))
            }
            _ => None,
        };
        let client = Arc::new(metadata.validate(self.fapi2, entropy)?);
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

    /// Removes a client. Its grants are the caller's to end.
    ///
    /// # Errors
    /// [`RegistryError`]: above all where there is no such client, or it is a configured one.
    pub async fn delete(&self, id: &ClientId) -> Result<(), RegistryError> {
        if self.configured.contains_key(id) {
            return Err(RegistryError::Configured);
        }
        let existed = self.records.delete_client(id).await;
        self.cache.invalidate(id).await;
        if existed? { Ok(()) } else { Err(RegistryError::Unknown) }
    }

    /// All clients, sorted by identifier.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub async fn list(&self) -> Result<Vec<Arc<Client>>, StoreError> {
        let mut clients: Vec<Arc<Client>> = self.configured.values().cloned().collect();
        for (id, record) in self.records.clients().await? {
            if !self.configured.contains_key(&id) {
                clients.extend(self.decode(&record)?);
            }
        }
        clients.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(clients)
    }

    /// Whether the client comes from the configuration.
    pub fn is_configured(&self, id: &ClientId) -> bool {
        self.configured.contains_key(id)
    }

    async fn read(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        match self.records.client(id).await? {
            Some(record) => self.decode(&record),
            None => Ok(None),
        }
    }

    async fn write(&self, client: &Arc<Client>) -> Result<(), StoreError> {
        let written = self.records.put_client(client.id(), &client.to_stored_json()).await;
        // Also where the outcome is unknown.
        self.cache.invalidate(client.id()).await;
        written
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
