//! The clients that the suite plays.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::form_urlencoded::byte_serialize;

use crate::clock::now;
use crate::jose::{Key, b64, unique};

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: String,
    /// How it authenticates.
    pub auth: ClientAuth,
}

/// How a client authenticates.
#[derive(Clone)]
pub enum ClientAuth {
    /// It does not: a public client.
    Public,
    /// `client_secret_basic`.
    Basic(String),
    /// `client_secret_post`.
    Post(String),
    /// `private_key_jwt`, with the `kid` that the header names.
    Assertion(Key, Option<String>),
}

/// RFC 7523 section 2.2.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Client {
    /// A public client.
    pub fn public(id: impl Into<String>) -> Self {
        Self { id: id.into(), auth: ClientAuth::Public }
    }

    /// Whether it does not authenticate.
    pub(crate) const fn is_public(&self) -> bool {
        matches!(self.auth, ClientAuth::Public)
    }

    /// Its secret.
    pub(crate) fn secret(&self) -> Option<&str> {
        match &self.auth {
            ClientAuth::Basic(secret) | ClientAuth::Post(secret) => Some(secret),
            ClientAuth::Public | ClientAuth::Assertion(..) => None,
        }
    }

    /// The claims of a good assertion for this issuer.
    pub(crate) fn assertion_claims(&self, issuer: &str) -> Map<String, Value> {
        let now = now();
        let claims = json!({"iss": self.id, "sub": self.id, "aud": issuer, "jti": unique(), "iat": now, "exp": now + 60});
        if let Value::Object(claims) = claims { claims } else { Map::new() }
    }

    /// Adds what shows who the client is to the parameters and header lines of a request.
    pub(crate) fn authenticate(&self, issuer: &str, form: &mut Vec<(String, String)>, headers: &mut Vec<(String, Vec<u8>)>) {
        let mut set = |name: &str, value: String| {
            form.retain(|(parameter, _)| parameter != name);
            form.push((name.to_owned(), value));
        };
        match &self.auth {
            ClientAuth::Public => set("client_id", self.id.clone()),
            ClientAuth::Basic(secret) => headers.push(("Authorization".to_owned(), basic(&self.id, secret).into_bytes())),
            ClientAuth::Post(secret) => {
                set("client_id", self.id.clone());
                set("client_secret", secret.clone());
            }
            ClientAuth::Assertion(key, kid) => {
                set("client_assertion_type", ASSERTION_TYPE.to_owned());
                set("client_assertion", assertion(key, kid.as_deref(), &json!({}), &self.assertion_claims(issuer)));
            }
        }
    }
}

impl std::fmt::Debug for ClientAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Public => "none",
            Self::Basic(_) => "client_secret_basic",
            Self::Post(_) => "client_secret_post",
            Self::Assertion(..) => "private_key_jwt",
        })
    }
}

/// `Basic`, with both parts form-encoded (RFC 6749 section 2.3.1).
pub(crate) fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

/// A client assertion with these claims, and with more members in its header.
pub(crate) fn assertion(key: &Key, kid: Option<&str>, header: &Value, claims: &Map<String, Value>) -> String {
    let mut members = json!({"alg": key.alg(), "typ": "JWT"});
    if let Some(kid) = kid {
        members["kid"] = json!(kid);
    }
    for (name, value) in header.as_object().into_iter().flatten() {
        members[name] = value.clone();
    }
    let input = format!("{}.{}", b64(members.to_string()), b64(Value::Object(claims.clone()).to_string()));
    let alg = members["alg"].as_str().unwrap_or_default();
    format!("{input}.{}", b64(key.sign_as(alg, input.as_bytes())))
}
