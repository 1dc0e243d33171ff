//! Client authentication (RFC 6749 section 2.3, RFC 7523).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_proofs::{Claim, Epoch, EpochId, Realm, ReplayKey, UnixTime};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::domain::client::SecretDigest;
use crate::domain::{AuthMethod, Client, ClientId};
use crate::fetch::FetchError;
use crate::service::client_assertion::Assertion;
pub use crate::service::client_assertion::AssertionError;
use crate::service::client_keys::ClientKeys;
use crate::service::clients::ClientRegistry;
use crate::store::StoreError;

/// What a request brought to authenticate its client with. Empty values count as absent (RFC 6749 section 3.2).
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The value of the one `Authorization` field.
    pub authorization: Option<&'a str>,
    /// The parameter `client_id`.
    pub client_id: Option<&'a str>,
    /// The parameter `client_secret`.
    pub client_secret: Option<&'a str>,
    /// The parameter `client_assertion`.
    pub client_assertion: Option<&'a str>,
    /// The parameter `client_assertion_type`.
    pub client_assertion_type: Option<&'a str>,
}

/// What assertions are judged by.
#[derive(Clone, Debug)]
pub struct ClientAuthSettings {
    /// The issuer identifier: the `aud` of an assertion, and the realm of its `jti`.
    pub issuer: String,
    /// The endpoints' URLs, which a `compat` client may name as `aud` instead.
    pub endpoint_urls: Vec<String>,
    /// The realm in which a `jti` is unique.
    pub realm: Realm,
    /// Where the keys of clients are.
    pub keys: ClientKeys,
}

/// A client that is known, and authenticated unless it is a public one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    /// The client.
    pub client: Arc<Client>,
    /// How it authenticated; [`AuthMethod::None`] for a public client.
    pub method: AuthMethod,
    /// The use of its assertion, where it sent one. It is not recorded yet: the caller does that together with everything else
    /// that leaves a trace, after the nonce of the proof was checked (NON-10).
    pub assertion: Option<AssertionUse>,
}

impl AuthenticatedClient {
    /// Whether it proved who it is, so that it may use families bound to client authentication.
    pub fn is_authenticated(&self) -> bool {
        self.method != AuthMethod::None
    }
}

/// One use of an assertion, to be recorded (RFC 7523 section 3, `jti`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionUse {
    /// Under which name.
    pub key: ReplayKey,
    /// For how long from now the assertion could still be accepted.
    pub ttl: Duration,
}

impl AssertionUse {
    /// What to hand to the ledger, under the epoch that the assertion was judged by.
    pub fn claim(&self, epoch: EpochId) -> Claim {
        Claim { key: self.key, ttl: self.ttl, epoch }
    }
}

/// Where authentication looks clients up.
pub trait Directory: Sync {
    /// The client with this identifier, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    fn find(&self, id: &ClientId) -> impl Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send;

    /// Whether `client` may authenticate in this way: as it is registered.
    fn accepts(&self, client: &Client, method: AuthMethod) -> bool {
        client.auth_method() == method
    }
}

impl Directory for ClientRegistry {
    fn find(&self, id: &ClientId) -> impl Future<Output = Result<Option<Arc<Client>>, StoreError>> + Send {
        self.find(id)
    }
}

/// Finds out which client makes a request, and holds it to the method it is registered for.
///
/// Leaves no trace: the `jti` of an assertion is for the caller to record. `epoch` is the ledger's: after it changed, an
/// assertion from before it is refused for as long as one could live, because its use may have been forgotten.
///
/// Not checked: what the client may do. An unknown client and a wrong secret take the same work.
///
/// # Errors
/// [`ClientAuthError`]: [`ClientAuthError::Refused`] says why, for the log; what the client is told is coarser.
pub async fn authenticate(
    registry: &impl Directory,
    presented: Presented<'_>,
    settings: &ClientAuthSettings,
    epoch: &Epoch,
    now: UnixTime,
) -> Result<AuthenticatedClient, ClientAuthError> {
    let presented = presented.without_empty();
    let used_authorization = presented.authorization.is_some();
    let refused = |reason| ClientAuthError::Refused { reason, used_authorization };
    match presented.mechanism().map_err(refused)? {
        Mechanism::Basic(value) => {
            let (id, secret) = basic_credentials(value).ok_or(refused(Reason::MalformedBasic))?;
            if presented.client_id.is_some_and(|named| named != id.as_str()) {
                return Err(refused(Reason::OtherClientId));
            }
            with_secret(registry, &id, secret.as_bytes(), AuthMethod::ClientSecretBasic, now).await?.map_err(refused)
        }
        Mechanism::Post(secret) => {
            let id = presented.named_client().map_err(refused)?;
            with_secret(registry, &id, secret.as_bytes(), AuthMethod::ClientSecretPost, now).await?.map_err(refused)
        }
        Mechanism::Assertion(text) => {
            let assertion = Assertion::parse(text).map_err(|error| refused(Reason::Assertion(error)))?;
            if presented.client_id.is_some_and(|named| named != assertion.client_id().as_str()) {
                return Err(refused(Reason::OtherClientId));
            }
            let client = registry.find(assertion.client_id()).await?.ok_or(refused(Reason::UnknownClient))?;
            if !registry.accepts(&client, AuthMethod::PrivateKeyJwt) {
                return Err(refused(Reason::OtherMethod));
            }
            assertion.check(&client, settings, now).map_err(|error| refused(Reason::Assertion(error)))?;
            let candidates = settings.keys.candidates(&client, assertion.alg(), assertion.kid(), now).await;
            let candidates = candidates.map_err(|error| refused(Reason::Keys(error)))?;
            let used = assertion.verify(&candidates, settings, epoch, now).map_err(|error| refused(Reason::Assertion(error)))?;
            Ok(AuthenticatedClient { client, method: AuthMethod::PrivateKeyJwt, assertion: Some(used) })
        }
        Mechanism::None => {
            let id = presented.named_client().map_err(refused)?;
            let client = registry.find(&id).await?.ok_or(refused(Reason::UnknownClient))?;
            if !client.is_public() {
                return Err(refused(Reason::NotAuthenticated));
            }
            Ok(AuthenticatedClient { client, method: AuthMethod::None, assertion: None })
        }
    }
}

/// Why a client is not authenticated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientAuthError {
    /// The request is to blame.
    #[error("{reason}")]
    Refused {
        /// Why: for the log only.
        reason: Reason,
        /// Whether the client used the `Authorization` header: then, and only then, the answer names the scheme `Basic`
        /// (RFC 6749 section 5.2).
        used_authorization: bool,
    },
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ClientAuthError {
    /// The text for every failure of credentials: it doesn't tell an unknown client from a wrong secret.
    pub const DESCRIPTION: &'static str = "client authentication failed";
}

/// Why a request authenticates no client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// More than one way of authentication in one request.
    #[error("the request authenticates the client in more than one way")]
    Multiple,
    /// Nothing says which client this is.
    #[error("client_id is missing")]
    NoClientId,
    /// An assertion without its type, a type without an assertion, or another type than that of RFC 7523.
    #[error("client_assertion and client_assertion_type do not belong together")]
    AssertionType,
    /// `Authorization` holds no readable `Basic` credentials.
    #[error("the Authorization header holds no Basic credentials")]
    MalformedBasic,
    /// `client_id` is not the authenticated client.
    #[error("client_id is not the client of the credentials")]
    OtherClientId,
    /// No such client.
    #[error("no such client")]
    UnknownClient,
    /// Not the client's secret.
    #[error("wrong client secret")]
    WrongSecret,
    /// The client is registered for another method; a public client has none.
    #[error("the client is registered for another authentication method")]
    OtherMethod,
    /// The client must authenticate, and did not.
    #[error("the client must authenticate")]
    NotAuthenticated,
    /// The assertion is not good.
    #[error("client assertion: {0}")]
    Assertion(AssertionError),
    /// The client's keys can't be had from where it publishes them.
    #[error("the keys at the client's jwks_uri: {0}")]
    Keys(FetchError),
}

impl Reason {
    /// Whether the request is malformed (`invalid_request`), rather than its credentials bad (`invalid_client`).
    pub const fn is_invalid_request(self) -> bool {
        matches!(self, Self::Multiple | Self::NoClientId | Self::AssertionType)
    }

    /// What the client is told: ASCII without quotes and backslashes.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Multiple => "the request authenticates the client in more than one way",
            Self::NoClientId => "client_id is missing or malformed",
            Self::AssertionType => {
                "client_assertion needs client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer, and the other way round"
            }
            _ => ClientAuthError::DESCRIPTION,
        }
    }
}

enum Mechanism<'a> {
    Basic(&'a str),
    Post(&'a str),
    Assertion(&'a str),
    None,
}

impl<'a> Presented<'a> {
    fn without_empty(self) -> Self {
        let present = |value: Option<&'a str>| value.filter(|value| !value.is_empty());
        Self {
            // An empty header was still used.
            authorization: self.authorization,
            client_id: present(self.client_id),
            client_secret: present(self.client_secret),
            client_assertion: present(self.client_assertion),
            client_assertion_type: present(self.client_assertion_type),
        }
    }

    fn mechanism(&self) -> Result<Mechanism<'a>, Reason> {
        let asserts = self.client_assertion.is_some() || self.client_assertion_type.is_some();
        match (self.authorization, self.client_secret, asserts) {
            (Some(value), None, false) => Ok(Mechanism::Basic(value)),
            (None, Some(secret), false) => Ok(Mechanism::Post(secret)),
            (None, None, true) => match (self.client_assertion, self.client_assertion_type) {
                (Some(text), Some(ASSERTION_TYPE)) => Ok(Mechanism::Assertion(text)),
                _ => Err(Reason::AssertionType),
            },
            (None, None, false) => Ok(Mechanism::None),
            _ => Err(Reason::Multiple),
        }
    }

    fn named_client(&self) -> Result<ClientId, Reason> {
        self.client_id.and_then(|id| ClientId::new(id).ok()).ok_or(Reason::NoClientId)
    }
}

async fn with_secret(
    registry: &impl Directory,
    id: &ClientId,
    secret: &[u8],
    method: AuthMethod,
    now: UnixTime,
) -> Result<Result<AuthenticatedClient, Reason>, StoreError> {
    let Some(client) = registry.find(id).await? else {
        // The same work as for a known one.
        let _ = SecretDigest::verify_nothing(secret);
        return Ok(Err(Reason::UnknownClient));
    };
    let verdict = client.verify_secret(secret, now);
    if !registry.accepts(&client, method) {
        return Ok(Err(Reason::OtherMethod));
    }
    Ok(verdict.map(|()| AuthenticatedClient { client, method, assertion: None }).map_err(|_| Reason::WrongSecret))
}

/// Identifier and secret of `Basic` credentials: base64, then each half as a form encodes it (RFC 6749 section 2.3.1).
fn basic_credentials(value: &str) -> Option<(ClientId, Zeroizing<String>)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((ClientId::new(form_decode(id)?.as_str()).ok()?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<Zeroizing<String>> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    percent_decode_str(&spaced).decode_utf8().ok().map(|decoded| Zeroizing::new(decoded.into_owned()))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests;
