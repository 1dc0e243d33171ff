//! Request parameters: each at most once, from a form or from flat JSON, strictly read.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use keybound_proofs::jose::{self, Json};

use crate::http::body;
use crate::http::error::ApiError;

/// The parameters of one request. An empty value counts as left out (RFC 6749 section 3.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, Vec<String>>);

/// Which bodies an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKinds {
    /// `application/x-www-form-urlencoded` only.
    Form,
    /// That, or one flat object of `application/json`.
    FormOrJson,
}

impl Params {
    /// The most parameters one request may have.
    pub const MAX: usize = 64;

    /// Parameters that may be given more than once (RFC 8707 section 2, RFC 8693 section 2.1).
    const REPEATABLE: [&str; 2] = ["resource", "audience"];

    /// Parameters that must never travel in a URL, where logs and histories keep them (RFC 6749 section 2.3.1).
    const SECRET: [&str; 9] = [
        "client_secret",
        "client_assertion",
        "refresh_token",
        "access_token",
        "code",
        "code_verifier",
        "token",
        "subject_token",
        "actor_token",
    ];

    /// Reads the body of a request: at most `max_bytes`.
    ///
    /// # Errors
    /// 400 for a malformed body or credentials in the query, 413 and 415.
    pub async fn read(request: &HttpRequest, body: web::Payload, kinds: BodyKinds, max_bytes: usize) -> Result<Self, ApiError> {
        // A query that is no form carries no parameter, and is none of this endpoint's business.
        if let Ok(query) = parse_form(request.query_string()) {
            // Here even the client's name is part of its credentials; an authorization request, which is all query, has to hold it.
            if query.without_secrets()?.one("client_id").is_some() {
                return Err(in_the_url());
            }
        }
        let kind = media_type(request)?;
        if kind == MediaType::Json && kinds == BodyKinds::Form {
            return Err(unsupported_media_type());
        }
        let bytes = body::read(body, max_bytes).await?;
        match kind {
            MediaType::Form => {
                let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::invalid_request("the form is not ASCII"))?;
                parse_form(text)
            }
            MediaType::Json => parse_json(&bytes),
        }
    }

    /// Reads the query of a URL.
    ///
    /// # Errors
    /// 400 for a malformed or repeated parameter, and for credentials.
    pub fn from_query(query: &str) -> Result<Self, ApiError> {
        parse_form(query)?.without_secrets()
    }

    /// Whether the body of a request says that it is a form.
    pub fn is_form(request: &HttpRequest) -> bool {
        media_type(request).is_ok_and(|kind| kind == MediaType::Form)
    }

    /// The value of a parameter.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    /// 400 `invalid_request` that names it.
    pub fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        self.one(name).ok_or_else(|| ApiError::invalid_request(format!("{name} is missing")))
    }

    /// All values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        if name.bytes().chain(value.bytes()).any(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) {
            return Err(ApiError::invalid_request("a parameter holds a control character"));
        }
        let values = self.0.entry(name.to_owned()).or_default();
        if !values.is_empty() && !Self::REPEATABLE.contains(&name) {
            return Err(ApiError::invalid_request("a parameter is given more than once"));
        }
        if values.len() >= Self::MAX {
            return Err(too_many());
        }
        values.push(value);
        if self.0.len() > Self::MAX { Err(too_many()) } else { Ok(()) }
    }

    fn without_secrets(self) -> Result<Self, ApiError> {
        if Self::SECRET.iter().any(|name| self.0.contains_key(*name)) {
            return Err(in_the_url());
        }
        Ok(self)
    }

    fn without_empty(mut self) -> Self {
        self.0.retain(|_, values| {
            values.retain(|value| !value.is_empty());
            !values.is_empty()
        });
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Form,
    Json,
}

fn media_type(request: &HttpRequest) -> Result<MediaType, ApiError> {
    let mut values = request.headers().get_all(CONTENT_TYPE);
    let value = values.next().and_then(|value| value.to_str().ok()).ok_or_else(unsupported_media_type)?;
    if values.next().is_some() {
        return Err(unsupported_media_type());
    }
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(MediaType::Form)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Ok(MediaType::Json)
    } else {
        Err(unsupported_media_type())
    }
}

fn unsupported_media_type() -> ApiError {
    ApiError::invalid_request_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this endpoint takes application/x-www-form-urlencoded")
}

fn in_the_url() -> ApiError {
    ApiError::invalid_request("credentials and tokens must be in the body, not in the URL")
}

fn too_many() -> ApiError {
    ApiError::invalid_request("too many parameters")
}

/// `application/x-www-form-urlencoded` as RFC 6749 appendix B has it: broken percent-encoding and broken UTF-8 are refused.
fn parse_form(text: &str) -> Result<Params, ApiError> {
    let mut params = Params::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        params.add(&form_decoded(name)?, form_decoded(value)?)?;
    }
    Ok(params.without_empty())
}

fn form_decoded(text: &str) -> Result<String, ApiError> {
    crate::http::form::decode(text).ok_or_else(|| ApiError::invalid_request("a parameter is not well-formed percent-encoded UTF-8"))
}

/// One flat object: strings; `resource` also an array of strings; `authorization_details` also the array itself.
fn parse_json(bytes: &[u8]) -> Result<Params, ApiError> {
    let mut params = Params::default();
    let mut outcome = Ok(());
    let mut take = |name: &str, member: Json<'_>| match member {
        Json::Text(text) => params.add(name, text.into_owned()),
        Json::Null => Ok(()),
        Json::Array(array) if name == "authorization_details" => params.add(name, array.to_owned()),
        Json::Array(array) if name == "resource" => add_each(&mut params, name, array),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => Err(not_a_string()),
    };
    let read = jose::object(bytes, |name, member| {
        if outcome.is_ok() {
            outcome = take(&name, member);
        }
    });
    read.map_err(|_| ApiError::invalid_request("the body is not one JSON object with distinct members"))?;
    outcome?;
    Ok(params.without_empty())
}

fn add_each(params: &mut Params, name: &str, array: &str) -> Result<(), ApiError> {
    let mut outcome = Ok(());
    let read = jose::array(array, |element| {
        if outcome.is_ok() {
            outcome = match element {
                Json::Text(text) => params.add(name, text.into_owned()),
                _ => Err(not_a_string()),
            };
        }
    });
    read.map_err(|_| not_a_string())?;
    outcome
}

fn not_a_string() -> ApiError {
    ApiError::invalid_request("a member of the JSON body has the wrong type; parameters are strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TEP-03
    #[test]
    fn a_repeated_parameter_is_refused_and_a_repeated_resource_is_not() {
        assert!(parse_form("scope=a&scope=b").is_err());
        assert!(parse_form("unknown=a&unknown=b").is_err());
        assert!(parse_form("sc%6Fpe=a&scope=b").is_err());
        assert!(parse_form("scope=a&state=b").is_ok());
        let params = parse_form("resource=a&resource=b").expect("a form");
        assert_eq!(params.all("resource"), ["a", "b"]);
    }

    /// TEP-04
    #[test]
    fn an_empty_value_counts_as_left_out() {
        let params = parse_form("scope=&state=x&flag").expect("a form");
        assert_eq!((params.one("scope"), params.one("state"), params.one("flag")), (None, Some("x"), None));
        assert!(parse_form("scope=&scope=").is_err(), "even an empty one may be given once only");
    }

    #[test]
    fn broken_encoding_is_refused() {
        for form in ["a=%", "a=%4", "a=%zz", "a=%ff", "%ff=a"] {
            assert!(parse_form(form).is_err(), "{form}");
        }
        assert_eq!(parse_form("a=%C3%A9+b").expect("a form").one("a"), Some("é b"));
    }

    #[test]
    fn json_members_are_strings_and_distinct() {
        assert!(parse_json(br#"{"scope":"a","scope":"b"}"#).is_err());
        assert!(parse_json(br#"{"scope":1}"#).is_err());
        assert!(parse_json(br#"["scope"]"#).is_err());
        assert_eq!(parse_json(b"{}").expect("an object"), Params::default());
        let params = parse_json(br#"{"scope":"a","authorization_details":[{"type":"x"}],"resource":["r","s"]}"#).expect("an object");
        assert_eq!(params.one("authorization_details"), Some(r#"[{"type":"x"}]"#));
        assert_eq!(params.all("resource"), ["r", "s"]);
    }
}
