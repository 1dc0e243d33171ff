//! What a client says about itself when it is registered (RFC 7591 section 2).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AssertionAlg;
use crate::domain::{ClientId, Scope};
use crate::secret::Secret;

/// The registration of a client: a `[[client]]` of the configuration, or the body of `POST /admin/clients`.
///
/// Names and meanings are those of RFC 7591, RFC 9449 section 5.2, RFC 9126 section 6 and RFC 9396 section 10; the rest is
/// Keybound's own. Nothing is checked here beyond the shapes: see [`ClientMetadata::validate`](super::ClientMetadata::validate).
///
/// Serialised, it holds no secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientMetadata {
    /// The client's identifier. The management API makes one where it is left out; the configuration must name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// A name for people, up to 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// How the client authenticates. Default: `client_secret_basic` with a `client_secret`, `private_key_jwt` with `jwks` or
    /// `jwks_uri`, else `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// The one algorithm of the client's assertions. Default: any of ES256, ES384, PS256, EdDSA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<AssertionAlg>,
    /// The grants the client may use. Default: `authorization_code` and `refresh_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<GrantType>>,
    /// Only `code` (the default) exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_types: Option<Vec<String>>,
    /// Where authorization responses may go: absolute URIs without fragment, `http` on loopback only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// What the client may ask for. Default: nothing.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// The client's public keys: a JWK Set, or its JSON text. At most 16 keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Where the client publishes its keys, instead of `jwks`: an https URL in normal form (http on loopback only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The client's secret: 1 to 256 bytes of visible ASCII. Only a digest of it is kept, which protects a secret made by a
    /// machine (16 bytes and more) and no word that can be guessed.
    #[serde(default, skip_serializing)]
    pub client_secret: Option<Secret<String>>,
    /// Whether access tokens are always bound to a key (RFC 9449 section 5.2). Default: `true`. With `false`, a public client
    /// still needs DPoP to refresh: its refresh token is bound in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_bound_access_tokens: Option<bool>,
    /// Whether a refresh gives a new refresh token. Default: `always`; under FAPI 2.0 `never` (section 5.3.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_rotation: Option<RefreshTokenRotation>,
    /// What a refresh token older than the previous one does. Default: `revoke`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_reuse: Option<RefreshReuse>,
    /// Where the refresh token travels. Default: `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_delivery: Option<RefreshTokenDelivery>,
    /// The name of the cookie where `refresh_token_delivery` is `cookie`. Default `__Host-keybound_rt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_cookie: Option<String>,
    /// The origins whose pages may use that cookie: at least one where `refresh_token_delivery` is `cookie`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The `type`s of authorization details the client may ask for. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types: Vec<String>,
    /// What the `aud` of an assertion may be. Default: `strict`, the issuer alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_assertion_audience: Option<ClientAssertionAudience>,
    /// Whether the client may exchange a token that is bound to a key it does not hold (RFC 8693). Default: `false`, the proof of
    /// the request must then be made with the key of the subject token. Meant for services that act for the token's holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_subject_without_proof: Option<bool>,
    /// The client's home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// The client's logo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Whether authorization requests must be pushed. Default: as the server is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_pushed_authorization_requests: Option<bool>,
}

/// How a client authenticates at the token endpoint (RFC 7591 section 2, RFC 7523).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// It doesn't: a public client, known by the key it proves.
    None,
    /// `Authorization: Basic` with identifier and secret (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// Identifier and secret in the body.
    ClientSecretPost,
    /// An assertion signed with a registered key.
    PrivateKeyJwt,
}

impl AuthMethod {
    /// As metadata names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// What the server offers; under FAPI 2.0 `private_key_jwt` alone.
    pub const fn offered(fapi2: bool) -> &'static [Self] {
        if fapi2 { &[Self::PrivateKeyJwt] } else { &[Self::None, Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt] }
    }

    pub(crate) const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// A grant of the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// RFC 6749 section 6.
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// RFC 6749 section 4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8693.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

impl GrantType {
    /// As `grant_type` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// By its name, in exactly that case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials, Self::TokenExchange]
            .into_iter()
            .find(|grant_type| grant_type.name() == name)
    }
}

/// Whether a refresh gives a new refresh token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshTokenRotation {
    /// Each refresh gives the successor.
    Always,
    /// The refresh token stays the same.
    Never,
}

/// What a refresh token older than the previous one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshReuse {
    /// It ends the family.
    Revoke,
    /// It is refused, and the family lives on.
    Refuse,
}

/// Where a refresh token travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshTokenDelivery {
    /// In the JSON body.
    Body,
    /// In a cookie that page script can't read: public clients only.
    Cookie,
}

/// What the `aud` of a client assertion may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAssertionAudience {
    /// The issuer identifier, as a single string.
    Strict,
    /// Also an endpoint's URL, and arrays of these: what RFC 7523 allowed. Not under FAPI 2.0.
    Compat,
}
