//! Refresh tokens in a cookie (`refresh_token_delivery = "cookie"`): page script never sees them.
//!
//! The cookie is taken from, and given to, pages of the client's own origins only. It is worth nothing without a proof of the page's key.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use keybound_proofs::UnixTime;

use crate::domain::{Client, ClientId};
use crate::http::PublicState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::service::client_auth::Presented;
use crate::service::entitlement::TokenResponse;

/// A request about a client whose refresh tokens travel in a cookie, from a page that may use it.
pub(super) struct CookieUse {
    client: Arc<Client>,
    name: String,
    token: Option<String>,
}

impl CookieUse {
    /// What the request has to do with a cookie: `None` where its client uses none, or it names no client that there is.
    ///
    /// The client is the one that `client_id` names. A request without one and without a token, as `{}` is, is about the only client
    /// that takes one of its cookies from its origin.
    ///
    /// # Errors
    /// 400 for a missing, repeated or unregistered `Origin`, and for a cookie that is there twice; 503 where the store can't tell.
    pub(super) async fn of(
        request: &HttpRequest,
        params: &Params,
        token_name: &str,
        state: &PublicState,
    ) -> Result<Option<Self>, ApiError> {
        let clients = &state.server.clients;
        let unavailable = |_| ApiError::unavailable();
        let client = match params.one("client_id").map(ClientId::new) {
            Some(Ok(id)) => clients.find(&id).await.map_err(unavailable)?,
            Some(Err(_)) => None,
            None if names_a_client(request, params) || params.one(token_name).is_some() => None,
            None => {
                let cookies = cookies(request)?;
                if cookies.is_empty() {
                    return Ok(None);
                }
                let names: Vec<&str> = cookies.iter().map(|(name, _)| *name).collect();
                let found = clients.find_by_cookie(origin(request)?, &names).await.map_err(unavailable)?;
                let untold = || ApiError::invalid_request(format!("{token_name} and client_id are missing, and no cookie tells them"));
                Some(found.ok_or_else(untold)?)
            }
        };
        let Some(client) = client else { return Ok(None) };
        let Some(name) = client.refresh_token_cookie().map(str::to_owned) else { return Ok(None) };
        let origin = origin(request)?;
        if !client.allowed_origins().iter().any(|allowed| allowed == origin) {
            return Err(ApiError::invalid_request("the refresh token of this client is taken from pages of its registered origins only"));
        }
        let token = value_of(&cookies(request)?, &name)?;
        Ok(Some(Self { client, name, token }))
    }

    /// The token in the cookie.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The client, for a request that named none.
    pub(super) fn present<'a>(&'a self, presented: Presented<'a>) -> Presented<'a> {
        Presented { client_id: Some(self.client.id().as_str()), ..presented }
    }

    /// Moves the refresh token of an answer into the cookie, which ends when the grant does.
    pub(super) fn deliver(&self, response: &mut TokenResponse, now: UnixTime) -> Option<HeaderValue> {
        let token = response.refresh_token.take()?;
        let life = response.refresh_expires.map_or(0, |end| end.since(now).as_secs());
        self.set(&token, life)
    }

    /// Takes the cookie away from the browser.
    pub(super) fn clear(&self) -> Option<HeaderValue> {
        self.set("", 0)
    }

    /// `Path=/`, `Secure` and no `Domain` are what the prefix `__Host-` asks for.
    fn set(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let name = &self.name;
        HeaderValue::from_str(&format!("{name}={value}; Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite=Strict")).ok()
    }
}

/// Adds a `Set-Cookie` line to an answer.
pub(super) fn with_cookie(mut answer: HttpResponse, cookie: Option<HeaderValue>) -> HttpResponse {
    if let Some(cookie) = cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

fn names_a_client(request: &HttpRequest, params: &Params) -> bool {
    request.headers().contains_key(header::AUTHORIZATION) || params.one("client_assertion").is_some()
}

/// The one value of `Origin`: browsers send it with every POST across origins, and with every POST of their own origin too.
fn origin(request: &HttpRequest) -> Result<&str, ApiError> {
    let mut lines = request.headers().get_all(header::ORIGIN);
    match (lines.next().map(HeaderValue::to_str), lines.next()) {
        (Some(Ok(origin)), None) => Ok(origin),
        _ => Err(ApiError::invalid_request("the refresh token of this client travels in a cookie, and Origin must name the page")),
    }
}

/// Names and values of all cookies (RFC 6265 section 4.2.1).
fn cookies(request: &HttpRequest) -> Result<Vec<(&str, &str)>, ApiError> {
    let mut cookies = Vec::new();
    for line in request.headers().get_all(header::COOKIE) {
        let line = line.to_str().map_err(|_| ApiError::invalid_request("the Cookie header is not ASCII"))?;
        cookies.extend(line.split(';').filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('=')));
    }
    Ok(cookies)
}

/// Two cookies of one name: somebody else set one of them.
fn value_of(cookies: &[(&str, &str)], wanted: &str) -> Result<Option<String>, ApiError> {
    let mut values = cookies.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(ApiError::invalid_request("the cookie with the refresh token is there twice")),
        (value, None) => Ok(value.filter(|value| !value.is_empty()).map(str::to_owned)),
    }
}
