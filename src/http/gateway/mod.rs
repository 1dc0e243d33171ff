//! The gateway listener: may this call pass? One dialect for each kind of API gateway, each reading only its own headers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use keybound_proofs::UnixTime;
use parking_lot::Mutex;

use crate::http::error::ApiError;
use crate::secret::Secret;
use crate::service::AuthorizationServer;
use crate::telemetry::Event;

pub mod answer;
pub mod envoy;
pub mod forwarded;
pub mod grpc;
pub mod json;
pub mod nginx;

/// What the handlers of the gateway listeners share.
pub struct GatewayState {
    /// The use cases.
    pub server: Arc<AuthorizationServer>,
    /// What a gateway must show; `None`: nothing, because nobody else reaches the listener.
    pub key: Option<Secret<String>>,
    /// The longest time until the body of a question is there.
    pub body_timeout: Duration,
    /// When each problem was last made an event.
    noted: Mutex<HashMap<(&'static str, &'static str), UnixTime>>,
}

/// The routes of the gateway listener.
pub fn gateway_routes(state: web::Data<GatewayState>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(state)
            .service(web::resource("/verify").post(json::verify).default_service(web::to(not_post)))
            .service(web::resource("/verify/nginx").default_service(web::to(nginx::verify)))
            .service(web::resource("/verify/forwarded").default_service(web::to(forwarded::verify)))
            // The path behind the prefix is taken as it was sent: a router would decode it.
            .default_service(web::to(envoy_or_nothing));
    }
}

async fn envoy_or_nothing(request: HttpRequest, state: web::Data<GatewayState>) -> HttpResponse {
    match envoy::original_path(&request) {
        Some(path) => envoy::verify(&request, &path, &state).await,
        None => ApiError::not_found().respond(&state.server, None),
    }
}

async fn not_post(state: web::Data<GatewayState>) -> HttpResponse {
    ApiError::method_not_allowed("POST").respond(&state.server, None)
}

impl GatewayState {
    /// The shortest time between two events about one problem. Some problems are of a client's making, and nobody is to push everything
    /// else out of the list of events.
    pub const NOTE_EVERY: Duration = Duration::from_secs(1);

    /// What the handlers need.
    pub fn new(server: Arc<AuthorizationServer>, key: Option<Secret<String>>, body_timeout: Duration) -> Self {
        Self { server, key, body_timeout, noted: Mutex::default() }
    }

    /// Lets only a gateway ask that shows the key, in one line.
    ///
    /// # Errors
    /// [`Misconfigured`].
    fn admit<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Misconfigured> {
        let Some(key) = &self.key else { return Ok(()) };
        let mut keys = keys.into_iter();
        match (keys.next(), keys.next()) {
            (Some(given), None) if key.matches(given) => Ok(()),
            (None, _) => Err(Misconfigured("X-Gateway-Key is missing")),
            _ => Err(Misconfigured("X-Gateway-Key is wrong")),
        }
    }

    /// Counts a question that can't be answered, and tells the operator about it.
    fn note(&self, problem: Misconfigured, dialect: &'static str, now: UnixTime) {
        self.server.counters.count("gateway_misconfigured");
        let mut noted = self.noted.lock();
        let last = noted.get(&(dialect, problem.0));
        if last.is_some_and(|last| *last <= now && now < last.plus(Self::NOTE_EVERY)) {
            return;
        }
        noted.insert((dialect, problem.0), now);
        drop(noted);
        self.server.events.record(Event::GatewayMisconfigured { dialect, problem: problem.0 }, now);
    }
}

/// The header in which a gateway shows the key.
pub const GATEWAY_KEY: &str = "x-gateway-key";

/// A gateway asks in a way that can't be answered: refused, because nobody knows what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misconfigured(pub(super) &'static str);

/// Every value of a header, in order.
fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> Vec<&'a [u8]> {
    headers.get_all(name).map(actix_web::http::header::HeaderValue::as_bytes).collect()
}

/// The one value of a header of the dialect.
fn only<'a>(headers: &'a HeaderMap, name: &'static str, problem: &'static str) -> Result<&'a [u8], Misconfigured> {
    match lines(headers, name)[..] {
        [one] => Ok(one),
        _ => Err(Misconfigured(problem)),
    }
}

/// A method as a token (RFC 9110 section 9.1), with its case.
fn method(text: &[u8]) -> Result<&str, Misconfigured> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if text.is_empty() || text.len() > MAX_METHOD_BYTES || !text.iter().all(token) {
        return Err(Misconfigured("the method is malformed"));
    }
    str::from_utf8(text).map_err(|_| Misconfigured("the method is malformed"))
}

const MAX_METHOD_BYTES: usize = 64;

const MALFORMED_URL: Misconfigured = Misconfigured("the URL is malformed");
