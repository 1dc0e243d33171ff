//! Authorization requests (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1): as they come, and as they are once judged.

use std::borrow::Cow;
use std::cell::Cell;

use keybound_proofs::Jkt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::authorization_details::AuthorizationDetails;
use crate::domain::details_types::DetailsTypes;
use crate::domain::pkce::CodeChallenge;
use crate::domain::resource::Resources;
use crate::domain::{Client, ClientId, GrantType, Scope, redirect_uri, strict_json};

/// The parameters of an authorization request as they came. Nothing here is believed yet.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestParameters {
    /// Who asks.
    pub client_id: Option<String>,
    /// A signed request object (RFC 9101), whose claims take the place of all other parameters.
    pub request: Option<String>,
    /// The name of a pushed request (RFC 9126).
    pub request_uri: Option<String>,
    /// `code`.
    pub response_type: Option<String>,
    /// `query`, or left out.
    pub response_mode: Option<String>,
    /// Where the answer goes.
    pub redirect_uri: Option<String>,
    /// What is asked for.
    pub scope: Option<String>,
    /// Handed back with the answer.
    pub state: Option<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// PKCE (RFC 7636).
    pub code_challenge: Option<String>,
    /// `S256`.
    pub code_challenge_method: Option<String>,
    /// The thumbprint of the key that the code is bound to (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// What the sign-in must or must not show.
    pub prompt: Option<String>,
    /// How old the sign-in may be, in seconds.
    pub max_age: Option<String>,
    /// Who is likely to sign in.
    pub login_hint: Option<String>,
    /// How to sign in, in order of preference.
    pub acr_values: Option<String>,
    /// A JSON object that asks for single claims.
    pub claims: Option<String>,
    /// Resources (RFC 8707).
    pub resource: Vec<String>,
    /// The text of a JSON array (RFC 9396).
    pub authorization_details: Option<String>,
}

impl RequestParameters {
    /// Takes them out of wherever they are: `one` gives a parameter by its name.
    pub fn read(one: impl Fn(&str) -> Option<String>, resource: Vec<String>) -> Self {
        Self {
            client_id: one("client_id"),
            request: one("request"),
            request_uri: one("request_uri"),
            response_type: one("response_type"),
            response_mode: one("response_mode"),
            redirect_uri: one("redirect_uri"),
            scope: one("scope"),
            state: one("state"),
            nonce: one("nonce"),
            code_challenge: one("code_challenge"),
            code_challenge_method: one("code_challenge_method"),
            dpop_jkt: one("dpop_jkt"),
            prompt: one("prompt"),
            max_age: one("max_age"),
            login_hint: one("login_hint"),
            acr_values: one("acr_values"),
            claims: one("claims"),
            resource,
            authorization_details: one("authorization_details"),
        }
    }

    /// From the claims of a request object: strings, but for `max_age`, `claims`, `resource` and `authorization_details`, which may
    /// also have the JSON form that they stand for.
    ///
    /// # Errors
    /// [`Refusal`] with [`RefusalCode::InvalidRequestObject`] where a claim has another type.
    pub fn from_claims(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let wrong = || Refusal::new(RefusalCode::InvalidRequestObject, "a claim of the request object has the wrong type");
        let resource = match claims.get("resource") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => {
                many.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        let mistyped = Cell::new(false);
        let one = |name: &str| match claims.get(name)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            other if ["max_age", "claims", "authorization_details"].contains(&name) => Some(other.to_string()),
            _ => {
                mistyped.set(true);
                None
            }
        };
        let parameters = Self::read(one, resource);
        if mistyped.get() { Err(wrong()) } else { Ok(parameters) }
    }

    /// Chooses where the answer goes: the named redirect URI, which must be registered, or the only registered one where the request
    /// may leave it out. Until this is known no answer may leave for anywhere (RFC 9700 section 4.11).
    ///
    /// # Errors
    /// [`Refusal`] with [`RefusalCode::InvalidRequest`].
    pub fn redirect_target(&self, client: &Client, must_be_named: bool) -> Result<RedirectTarget, Refusal> {
        let registered = &client.metadata().redirect_uris;
        let refuse = |why| Err(Refusal::new(RefusalCode::InvalidRequest, why));
        match (&self.redirect_uri, registered.as_slice()) {
            (Some(named), _) if redirect_uri::is_registered(registered.iter().map(String::as_str), named) => {
                Ok(RedirectTarget { uri: named.clone(), named: true })
            }
            (Some(_), _) => refuse("redirect_uri is not one that the client is registered with"),
            (None, [only]) if !must_be_named => Ok(RedirectTarget { uri: only.clone(), named: false }),
            (None, _) => refuse("redirect_uri is missing"),
        }
    }

    /// Judges everything else. What is asked for is then registered, well-formed and within what the client may ask for.
    ///
    /// # Errors
    /// [`Refusal`], to be sent to the redirect target.
    pub fn judge(
        self,
        client: &Client,
        target: RedirectTarget,
        resources: &Resources,
        details_types: &DetailsTypes,
    ) -> Result<AuthorizationRequest, Refusal> {
        let invalid = |why: &'static str| Refusal::new(RefusalCode::InvalidRequest, why);
        if !client.allows_grant(GrantType::AuthorizationCode) {
            return Err(Refusal::new(RefusalCode::UnauthorizedClient, "the client is not registered for the authorization_code grant"));
        }
        match self.response_type.as_deref() {
            Some("code") => {}
            None => return Err(invalid("response_type is missing")),
            Some(_) => return Err(Refusal::new(RefusalCode::UnsupportedResponseType, "response_type must be code")),
        }
        if self.response_mode.as_deref().is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode must be query, or be left out"));
        }
        let code_challenge = self.code_challenge.as_deref().ok_or_else(|| invalid("code_challenge is missing"))?;
        let code_challenge = CodeChallenge::parse(code_challenge)
            .map_err(|_| invalid("code_challenge must be 43 characters of base64url: the SHA-256 of the code verifier"))?;
        if self.code_challenge_method.as_deref() != Some("S256") {
            return Err(invalid("code_challenge_method must be S256"));
        }
        let dpop_jkt = self.dpop_jkt.as_deref().map(str::parse::<Jkt>).transpose();
        let dpop_jkt = dpop_jkt.map_err(|_| invalid("dpop_jkt must be a JWK thumbprint: 43 characters of base64url"))?;
        if self.nonce.as_ref().is_some_and(|nonce| nonce.len() > MAX_TEXT_BYTES) {
            return Err(invalid("nonce is longer than 512 bytes"));
        }
        if [&self.login_hint, &self.acr_values].into_iter().flatten().any(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(invalid("login_hint and acr_values may have at most 512 bytes"));
        }
        let prompt = self.prompt.as_deref().map(Prompt::parse).transpose()?;
        let max_age = self.max_age.as_deref().map(|text| text.parse::<u32>()).transpose();
        let max_age = max_age.map_err(|_| invalid("max_age must be a number of seconds"))?;
        let claims = match &self.claims {
            None => Map::new(),
            Some(text) if text.len() <= MAX_CLAIMS_BYTES => {
                strict_json::parse_object(text.as_bytes()).map_err(|_| invalid("claims must be a JSON object"))?
            }
            Some(_) => return Err(invalid("claims is longer than 4 KiB")),
        };
        let authorization_details = judge_details(client, self.authorization_details.as_deref(), details_types)?;
        let scope = judge_scope(client, self.scope.as_deref(), !authorization_details.is_empty())?;
        if resources.target(&self.resource, &[], &scope).is_err() {
            return Err(Refusal::new(RefusalCode::InvalidTarget, "resource names something that is not registered"));
        }
        Ok(AuthorizationRequest {
            client_id: client.id().clone(),
            redirect_uri: target.uri,
            redirect_uri_named: target.named,
            state: self.state,
            nonce: self.nonce,
            scope,
            code_challenge,
            dpop_jkt,
            resource: self.resource,
            authorization_details: authorization_details.into_inner(),
            claims,
            prompt,
            max_age,
            login_hint: self.login_hint,
            acr_values: self.acr_values,
        })
    }
}

impl std::fmt::Debug for RequestParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestParameters").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Where the answer to a request goes: a registered redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget {
    uri: String,
    named: bool,
}

impl RedirectTarget {
    /// The URI, as the request or the registration wrote it.
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

/// An authorization request that was judged: what a resource owner may be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: ClientId,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Whether the request named it: the token request must then name it again (RFC 6749 section 4.1.3).
    pub redirect_uri_named: bool,
    /// Handed back with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// For the ID token; at most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// What the token request must know the verifier of.
    pub code_challenge: CodeChallenge,
    /// The key that the token request must prove.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jkt_text")]
    pub dpop_jkt: Option<Jkt>,
    /// The resources that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// The authorization details that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Map<String, Value>>,
    /// Single claims that are asked for (OpenID Connect Core section 5.5).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
    /// What the sign-in must or must not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// How old the sign-in may be, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    /// Who is likely to sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// How to sign in, in order of preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_values: Option<String>,
}

impl AuthorizationRequest {
    /// Whether the answer must tell when the resource owner signed in (OpenID Connect Core sections 3.1.2.1 and 5.5.1).
    pub fn needs_auth_time(&self) -> bool {
        let essential = |claim: &Value| claim.get("essential") == Some(&Value::Bool(true));
        let asked = self.claims.get("id_token").and_then(|claims| claims.get("auth_time"));
        self.max_age.is_some() || asked.is_some_and(essential)
    }
}

/// The `prompt` parameter: names separated by single spaces, `none` only alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prompt(String);

impl Prompt {
    /// Whether nothing may be shown at all.
    pub fn is_none(&self) -> bool {
        self.0 == "none"
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        let well_formed = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let mut names = text.split(' ');
        if text.len() > MAX_TEXT_BYTES || !names.clone().all(well_formed) {
            return Err(Refusal::new(RefusalCode::InvalidRequest, "prompt is malformed"));
        }
        if text != "none" && names.any(|name| name == "none") {
            return Err(Refusal::new(RefusalCode::InvalidRequest, "prompt none can not be combined with another"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why an authorization request is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {description}")]
pub struct Refusal {
    /// What the client is told.
    pub code: RefusalCode,
    /// And why: ASCII without quotes and backslashes.
    pub description: Cow<'static, str>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }
}

/// The error codes of authorization requests (RFC 6749 section 4.1.2.1 and what extends it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalCode {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest,
    /// The client may not use this flow.
    UnauthorizedClient,
    /// Anything but `code`.
    UnsupportedResponseType,
    /// Malformed, or more than the client may ask for.
    InvalidScope,
    /// An unknown resource (RFC 8707 section 2).
    InvalidTarget,
    /// RFC 9396 section 5.
    InvalidAuthorizationDetails,
    /// A pushed request that is unknown, expired, used up or another client's (RFC 9101 section 7, RFC 9126 section 4).
    InvalidRequestUri,
    /// A request object that is not the client's (RFC 9101 section 7).
    InvalidRequestObject,
    /// Nothing may be shown, and nobody is signed in (OpenID Connect Core section 3.1.2.6).
    LoginRequired,
    /// The resource owner said no.
    AccessDenied,
    /// Nobody can sign in here.
    ServerError,
}

impl RefusalCode {
    /// As it is written in `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::LoginRequired => "login_required",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
        }
    }
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Without a scope everything is asked for that the client is registered with; nothing where authorization details say what is
/// asked for. `offline_access` may always be asked for, and `openid` where the client is registered without any scope.
fn judge_scope(client: &Client, text: Option<&str>, has_details: bool) -> Result<Scope, Refusal> {
    let registered = client.scope();
    let Some(text) = text else { return Ok(if has_details { Scope::default() } else { registered.clone() }) };
    let allowed = |token: &str| registered.contains(token) || token == "offline_access" || (registered.is_empty() && token == "openid");
    let asked = Scope::parse(text).ok().filter(|asked| asked.iter().all(allowed));
    asked.ok_or_else(|| Refusal::new(RefusalCode::InvalidScope, "scope is malformed, or names something that the client may not ask for"))
}

fn judge_details(client: &Client, text: Option<&str>, types: &DetailsTypes) -> Result<AuthorizationDetails, Refusal> {
    let refuse = |why: String| Refusal::new(RefusalCode::InvalidAuthorizationDetails, why);
    let Some(text) = text else { return Ok(AuthorizationDetails::default()) };
    let details = AuthorizationDetails::parse(text).map_err(|error| refuse(error.to_string()))?;
    types.judge(&details, client).map_err(|error| refuse(error.to_string()))?;
    Ok(details)
}

/// A thumbprint as its 43 characters.
pub(crate) mod jkt_text {
    use keybound_proofs::Jkt;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(jkt: &Option<Jkt>, serializer: S) -> Result<S::Ok, S::Error> {
        match jkt {
            Some(jkt) => serializer.collect_str(jkt),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Jkt>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
    }
}

/// `nonce`, `prompt`, `login_hint` and `acr_values`.
const MAX_TEXT_BYTES: usize = 512;
const MAX_CLAIMS_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests;
