//! Registered clients.

use std::collections::BTreeSet;

use keybound_proofs::{Entropy, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{ClientId, FetchUrl, Scope, strict_json};

mod jwks;
mod metadata;
mod secret_digest;
mod self_described;
mod uri;

pub use jwks::{AssertionAlg, BadSignature, ClientKey, parse_key_set};
pub use metadata::{
    AuthMethod, ClientAssertionAudience, ClientMetadata, GrantType, RefreshReuse, RefreshTokenDelivery, RefreshTokenRotation,
};
pub use secret_digest::{SecretDigest, WrongSecret};
pub use self_described::self_described;
pub(crate) use uri::is_web_uri;

/// A client whose registration was checked: keys parsed, secret digested, defaults filled in.
#[derive(Clone, Debug)]
pub struct Client {
    id: ClientId,
    method: AuthMethod,
    grant_types: BTreeSet<GrantType>,
    keys: Vec<ClientKey>,
    jwks_uri: Option<FetchUrl>,
    secrets: Vec<SecretDigest>,
    metadata: ClientMetadata,
    provenance: Provenance,
    fapi2: bool,
}

/// By whose word a client exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// The operator's: the configuration or the management API.
    #[default]
    Operator,
    /// Its own: dynamic registration (RFC 7591).
    SelfRegistered,
    /// Its own: the document at the URL that is its `client_id`.
    MetadataDocument,
}

impl Client {
    /// Its identifier.
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// Whether it can't authenticate: whoever holds its key is it.
    pub fn is_public(&self) -> bool {
        self.method == AuthMethod::None
    }

    /// How it authenticates.
    pub fn auth_method(&self) -> AuthMethod {
        self.method
    }

    /// Whether it may use this grant.
    pub fn allows_grant(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// What it may ask for.
    pub fn scope(&self) -> &Scope {
        &self.metadata.scope
    }

    /// The registered keys its assertions are verified with; empty unless it authenticates with `private_key_jwt`, and empty
    /// where it publishes them at [`Client::jwks_uri`] instead.
    pub fn keys(&self) -> &[ClientKey] {
        &self.keys
    }

    /// Where it publishes the keys its assertions are verified with.
    pub fn jwks_uri(&self) -> Option<&FetchUrl> {
        self.jwks_uri.as_ref()
    }

    /// Whether its assertions may be signed with this algorithm.
    pub fn allows_assertion_alg(&self, alg: AssertionAlg) -> bool {
        self.metadata.allows_assertion_alg(alg, self.fapi2)
    }

    /// By whose word it exists.
    pub const fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// The same client, known by this word.
    #[must_use]
    pub fn with_provenance(self, provenance: Provenance) -> Self {
        Self { provenance, ..self }
    }

    /// Whether it may exchange a subject token that is bound to a key without a proof of that key (RFC 8693).
    pub fn exchanges_bound_subject_without_proof(&self) -> bool {
        self.metadata.bound_subject_without_proof.unwrap_or(false)
    }

    /// Whether every access token is bound to a key.
    pub fn dpop_bound_access_tokens(&self) -> bool {
        self.metadata.dpop_bound_access_tokens.unwrap_or(true)
    }

    /// Whether its refresh tokens rotate.
    pub fn rotates_refresh_tokens(&self) -> bool {
        let default = if self.fapi2 { RefreshTokenRotation::Never } else { RefreshTokenRotation::Always };
        self.metadata.refresh_token_rotation.unwrap_or(default) == RefreshTokenRotation::Always
    }

    /// What a refresh token older than the previous one does.
    pub fn refresh_reuse(&self) -> RefreshReuse {
        self.metadata.refresh_reuse.unwrap_or(RefreshReuse::Revoke)
    }

    /// Where its refresh tokens travel.
    pub fn refresh_token_delivery(&self) -> RefreshTokenDelivery {
        self.metadata.refresh_token_delivery.unwrap_or(RefreshTokenDelivery::Body)
    }

    /// The cookie that its refresh tokens travel in; `None` where they travel in bodies.
    pub fn refresh_token_cookie(&self) -> Option<&str> {
        let name = self.metadata.refresh_token_cookie.as_deref().unwrap_or(DEFAULT_COOKIE);
        (self.refresh_token_delivery() == RefreshTokenDelivery::Cookie).then_some(name)
    }

    /// The origins of the pages that may use that cookie.
    pub fn allowed_origins(&self) -> &[String] {
        &self.metadata.allowed_origins
    }

    /// What the `aud` of its assertions may be.
    pub fn assertion_audience(&self) -> ClientAssertionAudience {
        self.metadata.client_assertion_audience.unwrap_or(ClientAssertionAudience::Strict)
    }

    /// Whether it may ask for authorization details of this `type`.
    pub fn allows_details_type(&self, name: &str) -> bool {
        self.metadata.authorization_details_types.iter().any(|allowed| allowed == name)
    }

    /// Whether its authorization requests must be pushed, where its registration says so.
    pub fn require_pushed_authorization_requests(&self) -> Option<bool> {
        self.metadata.require_pushed_authorization_requests
    }

    /// Its registration, without the secret. What was left out there is still left out.
    pub fn metadata(&self) -> &ClientMetadata {
        &self.metadata
    }

    /// Its registration as RFC 7591 section 3.2.1 shows it, defaults filled in and without the secret.
    pub fn to_public_json(&self) -> Map<String, Value> {
        let mut shown = to_map(&self.metadata);
        shown.insert("client_id".to_owned(), Value::from(self.id.as_str()));
        shown.insert("token_endpoint_auth_method".to_owned(), Value::from(self.method.name()));
        shown.insert("grant_types".to_owned(), self.grant_types.iter().map(|grant_type| grant_type.name()).collect());
        shown.insert("dpop_bound_access_tokens".to_owned(), Value::from(self.dpop_bound_access_tokens()));
        shown
    }

    /// Compares a presented secret with every one the client has at `now`, in constant time.
    ///
    /// # Errors
    /// [`WrongSecret`] where none matches, or there is none; after the same work.
    pub fn verify_secret(&self, presented: &[u8], now: UnixTime) -> Result<(), WrongSecret> {
        if self.secrets.is_empty() {
            return Err(SecretDigest::verify_nothing(presented));
        }
        // Every digest is compared, also after one that matches.
        let matching = self.secrets.iter().filter(|digest| digest.verify(presented).is_ok() && digest.is_good_at(now)).count();
        if matching > 0 { Ok(()) } else { Err(WrongSecret) }
    }

    /// The same client with one more secret. Those it had are good until `overlap_ends`, and no longer than they were;
    /// at most [`Client::MAX_SECRETS`] are kept, those that last longest.
    ///
    /// # Errors
    /// [`NoSecret`] for a client that authenticates in another way.
    pub fn with_new_secret(
        &self,
        secret: &[u8],
        overlap_ends: UnixTime,
        now: UnixTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, NoSecret> {
        if !self.method.uses_secret() {
            return Err(NoSecret);
        }
        let mut old: Vec<SecretDigest> = self.secrets.iter().map(|digest| digest.clone().until(overlap_ends)).collect();
        old.retain(|digest| digest.is_good_at(now));
        old.sort_by_key(|digest| std::cmp::Reverse(digest.last_second()));
        old.truncate(Self::MAX_SECRETS - 1);
        let secrets = std::iter::once(SecretDigest::new(secret, entropy)).chain(old).collect();
        Ok(Self { secrets, ..self.clone() })
    }

    /// The most secrets a client has at one time.
    pub const MAX_SECRETS: usize = 4;

    /// The record that a store keeps: JSON with a version, the registration and the digests of its secrets.
    pub fn to_stored_json(&self) -> Vec<u8> {
        let (metadata, secrets) = (self.metadata.clone(), self.secrets.clone());
        let record = Stored { version: STORED_VERSION, metadata, secrets, provenance: self.provenance };
        serde_json::to_vec(&record).expect("a record of strings, lists and maps with string keys has a JSON form")
    }

    /// From a stored record, checked again under the profile in force.
    ///
    /// # Errors
    /// [`StoredClientError`]: unreadable, of another version, or not legal under this profile.
    pub fn from_stored_json(record: &[u8], profile_fapi2: bool) -> Result<Self, StoredClientError> {
        let version: StoredVersion = serde_json::from_slice(record).map_err(|_| StoredClientError::Unreadable)?;
        if version.version != STORED_VERSION {
            return Err(StoredClientError::Version(version.version));
        }
        let stored: Stored = serde_json::from_slice(record).map_err(|_| StoredClientError::Unreadable)?;
        Ok(stored.metadata.check(profile_fapi2, stored.secrets)?.with_provenance(stored.provenance))
    }

    pub(crate) fn secrets(&self) -> &[SecretDigest] {
        &self.secrets
    }
}

impl ClientMetadata {
    /// Checks a registration and makes a client of it. The secret is digested and forgotten.
    ///
    /// `profile_fapi2` adds the rules of the FAPI 2.0 Security Profile (section 5.3.2.1): confidential clients with
    /// `private_key_jwt` and bound tokens only.
    ///
    /// Not checked: whether a URI leads anywhere, and whether another client has the same identifier.
    ///
    /// # Errors
    /// [`InvalidClientMetadata`], naming the member.
    pub fn validate(self, profile_fapi2: bool, entropy: &mut dyn Entropy) -> Result<Client, InvalidClientMetadata> {
        self.validate_keeping(profile_fapi2, &[], entropy)
    }

    /// As [`ClientMetadata::validate`], with the secrets of the registration that this one replaces: they stay where this
    /// one brings none.
    pub(crate) fn validate_keeping(
        mut self,
        profile_fapi2: bool,
        kept: &[SecretDigest],
        entropy: &mut dyn Entropy,
    ) -> Result<Client, InvalidClientMetadata> {
        let secrets = match self.client_secret.take() {
            None => kept.to_vec(),
            Some(secret) => {
                let secret = secret.expose().as_bytes();
                let visible = secret.iter().all(|byte| (0x20..=0x7e).contains(byte));
                if !visible || !(MIN_SECRET_LEN..=MAX_SECRET_LEN).contains(&secret.len()) {
                    return malformed("client_secret", "must be 1 to 256 characters of visible ASCII");
                }
                vec![SecretDigest::new(secret, entropy)]
            }
        };
        self.check(profile_fapi2, secrets)
    }

    /// The method in force: the registered one, or the default that fits the credentials.
    pub(crate) fn auth_method(&self, has_secret: bool) -> AuthMethod {
        self.token_endpoint_auth_method.unwrap_or(if has_secret {
            AuthMethod::ClientSecretBasic
        } else if self.jwks.is_some() || self.jwks_uri.is_some() {
            AuthMethod::PrivateKeyJwt
        } else {
            AuthMethod::None
        })
    }

    fn check(mut self, fapi2: bool, mut secrets: Vec<SecretDigest>) -> Result<Client, InvalidClientMetadata> {
        let id = self.client_id.clone().ok_or(InvalidClientMetadata::Missing { member: "client_id" })?;
        let method = self.auth_method(!secrets.is_empty() && self.jwks.is_none());
        if method.uses_secret() {
            if secrets.is_empty() {
                return Err(InvalidClientMetadata::Missing { member: "client_secret" });
            }
        } else if !secrets.is_empty() {
            secrets.clear();
            if self.token_endpoint_auth_method.is_none() {
                return malformed("client_secret", "can't be combined with `jwks` unless `token_endpoint_auth_method` says which counts");
            }
        }
        let grant_types: BTreeSet<GrantType> = match &self.grant_types {
            Some(listed) => listed.iter().copied().collect(),
            None => [GrantType::AuthorizationCode, GrantType::RefreshToken].into(),
        };
        if method == AuthMethod::None && grant_types.contains(&GrantType::ClientCredentials) {
            return malformed("grant_types", "client_credentials needs a client that authenticates");
        }
        if fapi2 {
            self.check_fapi2(method)?;
        }
        self.check_members(method)?;
        let jwks_uri = self.parse_jwks_uri()?;
        let keys = self.parse_keys(method, fapi2)?;
        Ok(Client { id, method, grant_types, keys, jwks_uri, secrets, metadata: self, provenance: Provenance::Operator, fapi2 })
    }

    fn parse_jwks_uri(&self) -> Result<Option<FetchUrl>, InvalidClientMetadata> {
        match &self.jwks_uri {
            None => Ok(None),
            Some(_) if self.jwks.is_some() => malformed("jwks_uri", "can't be combined with `jwks`"),
            Some(text) => match FetchUrl::parse(text) {
                Ok(url) => Ok(Some(url)),
                Err(_) => malformed("jwks_uri", "must be an https URL in normal form, without user name and fragment"),
            },
        }
    }

    fn allows_assertion_alg(&self, alg: AssertionAlg, fapi2: bool) -> bool {
        match self.token_endpoint_auth_signing_alg {
            Some(registered) => alg == registered,
            None => alg != AssertionAlg::Rs256 && (!fapi2 || alg.is_fapi2()),
        }
    }

    fn parse_keys(&mut self, method: AuthMethod, fapi2: bool) -> Result<Vec<ClientKey>, InvalidClientMetadata> {
        // One form from here on: an object.
        if let Some(Value::String(text)) = &self.jwks {
            let Ok(parsed) = strict_json::parse_object(text.as_bytes()) else {
                return malformed("jwks", "is not a JSON object");
            };
            self.jwks = Some(Value::Object(parsed));
        }
        if self.token_endpoint_auth_signing_alg.is_some() && method != AuthMethod::PrivateKeyJwt {
            return malformed("token_endpoint_auth_signing_alg", "has a meaning with private_key_jwt only");
        }
        let allowed = |alg: AssertionAlg| self.allows_assertion_alg(alg, fapi2);
        match (&self.jwks, method) {
            (Some(Value::Object(jwks)), AuthMethod::PrivateKeyJwt) => {
                jwks::parse(jwks, allowed).map_err(|problem| InvalidClientMetadata::Malformed { member: "jwks", problem })
            }
            (Some(Value::Object(_)), _) | (None, AuthMethod::None | AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost) => {
                Ok(Vec::new())
            }
            (Some(_), _) => malformed("jwks", "must be an object with an array `keys`"),
            (None, AuthMethod::PrivateKeyJwt) if self.jwks_uri.is_some() => Ok(Vec::new()),
            (None, AuthMethod::PrivateKeyJwt) => Err(InvalidClientMetadata::Missing { member: "jwks" }),
        }
    }

    fn check_fapi2(&self, method: AuthMethod) -> Result<(), InvalidClientMetadata> {
        let refused = |member, problem| Err(InvalidClientMetadata::Profile { member, problem });
        if method != AuthMethod::PrivateKeyJwt {
            return refused("token_endpoint_auth_method", "must be private_key_jwt");
        }
        if self.token_endpoint_auth_signing_alg.is_some_and(|alg| !alg.is_fapi2()) {
            return refused("token_endpoint_auth_signing_alg", "must be ES256, PS256 or EdDSA");
        }
        if self.dpop_bound_access_tokens == Some(false) {
            return refused("dpop_bound_access_tokens", "must be true");
        }
        if self.refresh_token_rotation == Some(RefreshTokenRotation::Always) {
            return refused("refresh_token_rotation", "must be never");
        }
        if self.client_assertion_audience == Some(ClientAssertionAudience::Compat) {
            return refused("client_assertion_audience", "must be strict");
        }
        if self.require_pushed_authorization_requests == Some(false) {
            return refused("require_pushed_authorization_requests", "must be true");
        }
        Ok(())
    }

    fn check_cookie(&self, method: AuthMethod) -> Result<(), InvalidClientMetadata> {
        if self.refresh_token_delivery != Some(RefreshTokenDelivery::Cookie) {
            if self.refresh_token_cookie.is_some() {
                return malformed("refresh_token_cookie", "has a meaning with `refresh_token_delivery = \"cookie\"` only");
            }
            if !self.allowed_origins.is_empty() {
                return malformed("allowed_origins", "has a meaning with `refresh_token_delivery = \"cookie\"` only");
            }
            return Ok(());
        }
        if method != AuthMethod::None {
            return malformed("refresh_token_delivery", "can be `cookie` for public clients only: a page keeps no secret");
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.refresh_token_cookie.as_ref().is_some_and(|name| !(1..=MAX_COOKIE_LEN).contains(&name.len()) || !name.bytes().all(is_token))
        {
            return malformed("refresh_token_cookie", "must be a cookie name of 1 to 64 bytes");
        }
        if self.allowed_origins.is_empty() {
            return Err(InvalidClientMetadata::Missing { member: "allowed_origins" });
        }
        if self.allowed_origins.len() > MAX_REDIRECT_URIS || !self.allowed_origins.iter().all(|origin| uri::is_origin(origin)) {
            return malformed("allowed_origins", "may list at most 32 origins as browsers write them: `https://app.example.com`, no slash");
        }
        Ok(())
    }

    fn check_members(&self, method: AuthMethod) -> Result<(), InvalidClientMetadata> {
        self.check_cookie(method)?;
        if self.client_name.as_ref().is_some_and(|name| name.len() > MAX_NAME_LEN || name.chars().any(char::is_control)) {
            return malformed("client_name", "must be at most 200 bytes without control characters");
        }
        if self.response_types.as_ref().is_some_and(|types| types.iter().any(|name| name != "code")) {
            return malformed("response_types", "may list `code` only");
        }
        if self.redirect_uris.len() > MAX_REDIRECT_URIS {
            return malformed("redirect_uris", "may list at most 32 URIs");
        }
        if !self.redirect_uris.iter().all(|uri| uri::is_redirect_uri(uri)) {
            return malformed("redirect_uris", "must be absolute URIs without a fragment, `http` on loopback only");
        }
        if !self.client_uri.iter().all(|uri| uri::is_web_uri(uri)) {
            return malformed("client_uri", "must be an https URI");
        }
        if !self.logo_uri.iter().all(|uri| uri::is_web_uri(uri)) {
            return malformed("logo_uri", "must be an https URI");
        }
        let types = &self.authorization_details_types;
        if types.len() > MAX_DETAILS_TYPES || types.iter().any(|name| name.is_empty() || name.len() > MAX_NAME_LEN) {
            return malformed("authorization_details_types", "may list at most 32 names of 1 to 200 bytes");
        }
        Ok(())
    }
}

/// Why a registration is refused (`invalid_client_metadata` of RFC 7591 section 3.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidClientMetadata {
    /// A member is needed.
    #[error("{member} is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member can't have this value.
    #[error("{member} {problem}")]
    Malformed {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The profile in force doesn't allow this value.
    #[error("{member} {problem} under profile fapi2")]
    Profile {
        /// Its name.
        member: &'static str,
        /// What the profile wants.
        problem: &'static str,
    },
}

impl InvalidClientMetadata {
    /// The member that is to blame.
    pub const fn member(&self) -> &'static str {
        match self {
            Self::Missing { member } | Self::Malformed { member, .. } | Self::Profile { member, .. } => member,
        }
    }
}

/// The client has no secret, and gets none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the client does not authenticate with a secret")]
pub struct NoSecret;

/// Why a stored record makes no client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoredClientError {
    /// Not a record of a client.
    #[error("the record of a client can't be read")]
    Unreadable,
    /// A record that another version of Keybound wrote.
    #[error("the record of a client has version {0}, which is not known here")]
    Version(u32),
    /// A record that was legal when it was written, and is not now.
    #[error("a stored client is no longer legal: {0}")]
    Invalid(#[from] InvalidClientMetadata),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    metadata: ClientMetadata,
    secrets: Vec<SecretDigest>,
    #[serde(default)]
    provenance: Provenance,
}

#[derive(Deserialize)]
struct StoredVersion {
    version: u32,
}

fn to_map(metadata: &ClientMetadata) -> Map<String, Value> {
    match serde_json::to_value(metadata) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn malformed<T>(member: &'static str, problem: &'static str) -> Result<T, InvalidClientMetadata> {
    Err(InvalidClientMetadata::Malformed { member, problem })
}

/// What a secret is worth is for the operator to know; FAPI 2.0, which asks for 128 bits (section 5.4.1), allows no secrets here.
const MIN_SECRET_LEN: usize = 1;
const MAX_SECRET_LEN: usize = 256;
const MAX_NAME_LEN: usize = 200;
const MAX_REDIRECT_URIS: usize = 32;
const MAX_DETAILS_TYPES: usize = 32;
const MAX_COOKIE_LEN: usize = 64;
/// With `__Host-` a browser takes the cookie from this host alone, over a secure connection, for all paths (RFC 6265bis section 4.1.3.2).
const DEFAULT_COOKIE: &str = "__Host-keybound_rt";
const STORED_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
