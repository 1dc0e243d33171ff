//! Clients that register themselves (RFC 7591).

use keybound_proofs::UnixTime;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::clock::OsEntropy;
use crate::domain::client::{AuthMethod, ClientMetadata, GrantType, InvalidClientMetadata, Provenance, self_described};
use crate::domain::{FetchUrl, Scope};
use crate::fetch::Reach;
use crate::secret::Secret;
use crate::service::AuthorizationServer;
use crate::service::clients::{Registered, RegistryError};
use crate::store::StoreError;
use crate::telemetry::Event;

/// Who may register, and how many.
pub struct RegistrationSettings {
    /// The initial access token (RFC 7591 section 3); without one everybody may register.
    pub token: Option<Secret<String>>,
    /// How many self-registered clients there may be.
    pub max_clients: usize,
    /// What a client that asks for nothing in particular may ask for.
    pub default_scope: Scope,
    rate: Mutex<Rate>,
    max_per_minute: u32,
}

#[derive(Default)]
struct Rate {
    minute: i64,
    taken: u32,
}

impl RegistrationSettings {
    /// With no registration in this minute yet.
    pub fn new(token: Option<Secret<String>>, max_clients: usize, max_per_minute: u32, default_scope: Scope) -> Self {
        Self { token, max_clients, default_scope, rate: Mutex::default(), max_per_minute }
    }

    /// Takes one of this minute's places.
    ///
    /// # Errors
    /// [`RegistrationError::TooFast`] where none is left.
    fn take_place(&self, now: UnixTime) -> Result<(), RegistrationError> {
        let mut rate = self.rate.lock();
        let minute = now.as_secs().div_euclid(60);
        if rate.minute != minute {
            *rate = Rate { minute, taken: 0 };
        }
        if rate.taken >= self.max_per_minute {
            return Err(RegistrationError::TooFast { retry_after_s: 60 - now.as_secs().rem_euclid(60) });
        }
        rate.taken += 1;
        Ok(())
    }

    fn judge_token(&self, bearer: Option<&[u8]>) -> Result<(), RegistrationError> {
        match (&self.token, bearer) {
            (None, _) => Ok(()),
            (Some(token), Some(given)) if token.matches(given) => Ok(()),
            (Some(_), Some(_)) => Err(RegistrationError::WrongToken),
            (Some(_), None) => Err(RegistrationError::NoToken),
        }
    }

    /// What may be registered: whoever has no token can't act on its own behalf, and nobody exchanges tokens of others unasked.
    fn offered_grants(&self) -> &'static [GrantType] {
        match self.token {
            Some(_) => &[GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials],
            None => &[GrantType::AuthorizationCode, GrantType::RefreshToken],
        }
    }

    fn read(&self, members: &Map<String, Value>) -> Result<ClientMetadata, RegistrationError> {
        let mut metadata = self_described(members, self.offered_grants())?;
        if metadata.token_endpoint_auth_method.is_none() && metadata.jwks.is_none() && metadata.jwks_uri.is_none() {
            // The default of RFC 7591 section 2.
            metadata.token_endpoint_auth_method = Some(AuthMethod::ClientSecretBasic);
        }
        let uses_codes = metadata.grant_types.as_ref().is_none_or(|grants| grants.contains(&GrantType::AuthorizationCode));
        if uses_codes && metadata.redirect_uris.is_empty() {
            return Err(RegistrationError::NoRedirectUri);
        }
        let jwks_uri = metadata.jwks_uri.as_deref().and_then(|text| FetchUrl::parse(text).ok());
        if jwks_uri.is_some_and(|url| !Reach::Public.allows_url(&url)) {
            let problem = "leads to an address that may not be asked";
            return Err(InvalidClientMetadata::Malformed { member: "jwks_uri", problem }.into());
        }
        if metadata.scope.is_empty() {
            metadata.scope = self.default_scope.clone();
        }
        Ok(metadata)
    }
}

impl AuthorizationServer {
    /// Registers a client by its own word. `bearer` is the token of the `Authorization` field.
    ///
    /// Not checked: whether the client is what its name says. The sign-in page shows where answers go.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub async fn register_client(
        &self,
        settings: &RegistrationSettings,
        bearer: Option<&[u8]>,
        members: &Map<String, Value>,
        now: UnixTime,
    ) -> Result<Registered, RegistrationError> {
        settings.judge_token(bearer)?;
        let metadata = settings.read(members)?;
        settings.take_place(now)?;
        if self.clients.self_registered().await? >= settings.max_clients {
            return Err(RegistrationError::Full);
        }
        let registered = self.clients.register_by(Provenance::SelfRegistered, metadata, &mut OsEntropy).await?;
        self.events.record(Event::ClientStored { client_id: registered.client.id().clone() }, now);
        Ok(registered)
    }
}

/// Why a client was not registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// An initial access token is needed.
    #[error("an initial access token is needed")]
    NoToken,
    /// Not the initial access token.
    #[error("the initial access token is wrong")]
    WrongToken,
    /// Too many registrations in this minute.
    #[error("too many registrations in this minute")]
    TooFast {
        /// When the next minute begins, in seconds.
        retry_after_s: i64,
    },
    /// There are as many self-registered clients as there may be.
    #[error("there are as many self-registered clients as there may be")]
    Full,
    /// A client that uses codes needs somewhere to send them.
    #[error("redirect_uris is missing")]
    NoRedirectUri,
    /// The registration is not valid.
    #[error(transparent)]
    Metadata(#[from] InvalidClientMetadata),
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RegistryError> for RegistrationError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(error) => Self::Metadata(error),
            RegistryError::Store(error) => Self::Store(error),
            // The identifier is 16 random bytes.
            other => Self::Store(StoreError::Unavailable(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(token: Option<&str>) -> RegistrationSettings {
        RegistrationSettings::new(token.map(|text| Secret::new(text.to_owned())), 10, 2, Scope::parse("openid").unwrap())
    }

    fn read(settings: &RegistrationSettings, value: Value) -> Result<ClientMetadata, RegistrationError> {
        settings.read(value.as_object().unwrap())
    }

    #[test]
    fn so_many_register_in_a_minute_and_no_more() {
        let settings = settings(None);
        let at = UnixTime::from_secs;
        assert_eq!(settings.take_place(at(61)), Ok(()));
        assert_eq!(settings.take_place(at(119)), Ok(()));
        assert_eq!(settings.take_place(at(119)), Err(RegistrationError::TooFast { retry_after_s: 1 }));
        assert_eq!(settings.take_place(at(120)), Ok(()));
    }

    #[test]
    fn the_token_is_asked_for_where_there_is_one() {
        assert_eq!(settings(None).judge_token(None), Ok(()));
        let guarded = settings(Some("0123456789abcdef"));
        assert_eq!(guarded.judge_token(Some(b"0123456789abcdef")), Ok(()));
        assert_eq!(guarded.judge_token(Some(b"0123456789abcdeF")), Err(RegistrationError::WrongToken));
        assert_eq!(guarded.judge_token(None), Err(RegistrationError::NoToken));
    }

    #[test]
    fn a_stranger_gets_no_grant_of_its_own() {
        let own = || json!({"grant_types": ["client_credentials"], "redirect_uris": []});
        assert!(matches!(read(&settings(None), own()), Err(RegistrationError::Metadata(_))));
        assert!(read(&settings(Some("0123456789abcdef")), own()).is_ok());
        let exchange = json!({"grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"]});
        assert!(matches!(read(&settings(Some("0123456789abcdef")), exchange), Err(RegistrationError::Metadata(_))));
    }

    #[test]
    fn the_defaults_are_those_of_rfc_7591() {
        let metadata = read(&settings(None), json!({"redirect_uris": ["https://app.example/cb"]})).unwrap();
        assert_eq!(metadata.token_endpoint_auth_method, Some(AuthMethod::ClientSecretBasic));
        assert_eq!(metadata.scope.to_string(), "openid");
        assert_eq!(read(&settings(None), json!({})).unwrap_err(), RegistrationError::NoRedirectUri);
    }
}
