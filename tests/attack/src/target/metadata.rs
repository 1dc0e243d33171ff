//! The server's metadata (RFC 8414).

use serde_json::Value;
use url::Url;

use crate::wire::{Request, Wire, WireError};

/// The metadata can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No answer.
    #[error("{0}: {1}")]
    Unreachable(Url, String),
    /// Neither well-known place has a document of this issuer.
    #[error("no metadata of this issuer at {0}")]
    NotFound(String),
    /// The document is another issuer's.
    #[error("the metadata says that the issuer is {0}, not {1}")]
    OtherIssuer(String, String),
    /// There is no token endpoint in it.
    #[error("the metadata has no usable token_endpoint")]
    NoTokenEndpoint,
    /// DPoP is not offered.
    #[error("the metadata has no dpop_signing_alg_values_supported: the server does not offer DPoP (RFC 9449 section 5.1)")]
    NoDpop,
}

/// What the metadata offers.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    /// The issuer as the document spells it: what goes into `aud`.
    pub(crate) issuer: String,
    pub(crate) token: Url,
    pub(crate) authorize: Option<Url>,
    pub(crate) par: Option<Url>,
    pub(crate) userinfo: Option<Url>,
    pub(crate) introspection: Option<Url>,
    pub(crate) revocation: Option<Url>,
    /// Where a nonce is handed out for nothing; Keybound has such a place.
    pub(crate) nonce: Option<Url>,
    pub(crate) requires_par: bool,
    document: Value,
}

impl Endpoints {
    /// Reads the document.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub(crate) async fn discover(wire: &Wire, issuer: &Url, given: Option<&Url>) -> Result<Self, MetadataError> {
        let places = match given {
            Some(url) => vec![url.clone()],
            None => well_known(issuer),
        };
        let mut found = None;
        for place in &places {
            let answer = wire.send(&Request::new("GET", place)).await;
            match answer {
                Ok(answer) if answer.status == 200 && answer.json().is_object() => {
                    found = Some(answer.json());
                    break;
                }
                Ok(_) => {}
                Err(error @ (WireError::Connect(_) | WireError::Timeout(_))) => {
                    return Err(MetadataError::Unreachable(place.clone(), error.to_string()));
                }
                Err(_) => {}
            }
        }
        let Some(document) = found else {
            return Err(MetadataError::NotFound(places.iter().map(Url::as_str).collect::<Vec<_>>().join(" or ")));
        };
        let endpoints = Self::read(document, issuer)?;
        Ok(endpoints.with_nonce_endpoint(wire).await)
    }

    fn read(document: Value, issuer: &Url) -> Result<Self, MetadataError> {
        let named = document["issuer"].as_str().unwrap_or_default().to_owned();
        if named.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
            return Err(MetadataError::OtherIssuer(named, issuer.to_string()));
        }
        if document["dpop_signing_alg_values_supported"].as_array().is_none_or(Vec::is_empty) {
            return Err(MetadataError::NoDpop);
        }
        let url = |name: &str| document[name].as_str().and_then(|text| Url::parse(text).ok());
        Ok(Self {
            issuer: named,
            token: url("token_endpoint").ok_or(MetadataError::NoTokenEndpoint)?,
            authorize: url("authorization_endpoint"),
            par: url("pushed_authorization_request_endpoint"),
            userinfo: url("userinfo_endpoint"),
            introspection: url("introspection_endpoint"),
            revocation: url("revocation_endpoint"),
            nonce: None,
            requires_par: document["require_pushed_authorization_requests"].as_bool().unwrap_or(false),
            document,
        })
    }

    async fn with_nonce_endpoint(mut self, wire: &Wire) -> Self {
        if let Ok(url) = Url::parse(&format!("{}/oauth/nonce", self.issuer.trim_end_matches('/')))
            && let Ok(answer) = wire.send(&Request::new("GET", &url)).await
            && answer.status < 300
            && answer.header("DPoP-Nonce").is_some()
        {
            self.nonce = Some(url);
        }
        self
    }

    /// Whether a list of the document has this value.
    pub(crate) fn lists(&self, name: &str, value: &str) -> bool {
        self.document[name].as_array().is_some_and(|list| list.iter().any(|entry| entry == value))
    }

    /// The algorithms that proofs may use.
    pub(crate) fn proof_algs(&self) -> Vec<&str> {
        self.document["dpop_signing_alg_values_supported"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether this grant may be asked for: unless told otherwise a server has the code flow only (RFC 8414 section 2).
    pub(crate) fn offers_grant(&self, grant: &str) -> bool {
        if self.document["grant_types_supported"].is_array() {
            self.lists("grant_types_supported", grant)
        } else {
            grant == "authorization_code"
        }
    }
}

fn well_known(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("{path}/.well-known/oauth-authorization-server")),
    ]
}
