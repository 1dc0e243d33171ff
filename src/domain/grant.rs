//! What a resource owner or a policy granted.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::Scope;

/// What was granted, never changed by a refresh: narrowing concerns one access token only (RFC 6749 section 6).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Grant {
    /// The end user, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The granted scope.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// The granted authorization details (RFC 9396), each an object with a `type`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Map<String, Value>>,
    /// The resources the grant is limited to (RFC 8707), as absolute URIs or audiences; empty = the default audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// Claims about the end user, for the ID token and userinfo.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
    /// When the end user signed in, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How the end user signed in (OpenID Connect Core section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The `nonce` of the authorization request, for ID tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}
