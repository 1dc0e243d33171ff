//! Who may ask about tokens: resource servers with credentials, and clients.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{AuthMethod, Client, ClientId};
use crate::service::client_auth::Directory;
use crate::service::clients::ClientRegistry;
use crate::store::StoreError;

/// The credentials of resource servers, each under the `id` of its `[[resource]]`.
///
/// They are of use at the introspection endpoint and nowhere else: a resource server is no client, and gets no tokens (INT-06).
#[derive(Clone, Debug, Default)]
pub struct ResourceCredentials(HashMap<ClientId, Arc<Client>>);

impl FromIterator<Client> for ResourceCredentials {
    fn from_iter<T: IntoIterator<Item = Client>>(credentials: T) -> Self {
        Self(credentials.into_iter().map(|one| (one.id().clone(), Arc::new(one))).collect())
    }
}

/// Both kinds of callers of the introspection endpoint. A resource server hides a client of the same name.
pub(super) struct Introspectors<'a> {
    pub(super) resources: &'a ResourceCredentials,
    pub(super) clients: &'a ClientRegistry,
}

impl Introspectors<'_> {
    /// Whether this name is a resource server's.
    pub(super) fn is_resource(&self, id: &ClientId) -> bool {
        self.resources.0.contains_key(id)
    }
}

impl Directory for Introspectors<'_> {
    async fn find(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        match self.resources.0.get(id) {
            Some(credentials) => Ok(Some(Arc::clone(credentials))),
            None => self.clients.find(id).await,
        }
    }

    /// A resource server that has a secret may send it in the header or in the body.
    fn accepts(&self, client: &Client, method: AuthMethod) -> bool {
        let same = client.auth_method() == method;
        same || (self.is_resource(client.id()) && client.auth_method().uses_secret() && method.uses_secret())
    }
}
