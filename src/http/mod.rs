//! The only place that knows actix-web, headers and status codes: one file per endpoint.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::service::authorize::SignIn;
use crate::service::{AuthorizationServer, Issuer};

pub mod authorize;
mod body;
pub mod challenge;
mod cookie;
mod cors;
pub mod error;
pub mod error_page;
pub mod form;
pub mod gateway;
pub mod introspect;
pub mod jwks;
pub mod management;
pub mod metadata;
pub mod nonce;
pub mod page;
pub mod par;
pub mod params;
pub mod protected_resource;
pub mod refresh;
pub mod registration;
pub mod request;
pub mod revoke;
pub mod signin;
pub mod token;
pub mod userinfo;

use error::ApiError;
use params::{BodyKinds, Params};

/// What the handlers of the public listener share.
pub struct PublicState {
    /// The use cases.
    pub server: Arc<AuthorizationServer>,
    /// Limits on a request.
    pub limits: RequestLimits,
    /// The metadata document, serialized once.
    pub metadata: web::Bytes,
    /// The public keys, serialized once.
    pub jwks: web::Bytes,
}

/// What one request may cost before it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest time until the body is there.
    pub body_timeout: Duration,
}

impl PublicState {
    /// Serializes what never changes.
    pub fn new(server: Arc<AuthorizationServer>, limits: RequestLimits) -> Self {
        let metadata = web::Bytes::from(metadata::document(&server).to_string());
        let jwks = web::Bytes::from(server.keys.jwks().to_string());
        Self { server, limits, metadata, jwks }
    }
}

/// The routes of the public listener, all below the path of the issuer.
pub fn public_routes(state: web::Data<PublicState>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let path = state.server.issuer.path().to_owned();
        let described = Issuer::PROTECTED_RESOURCE;
        let builtin = state.server.authorization.sign_in == SignIn::Builtin;
        let oauth = |path: &str| web::resource(path).wrap(from_fn(cors::cross_origin));
        if state.server.registration.is_some() {
            config.service(oauth(&format!("{path}{}", Issuer::REGISTER)).post(registration::register).default_service(not_post()));
        }
        config
            .app_data(state)
            // RFC 8414 section 3.1 puts the well-known part between host and path; OpenID Connect Discovery puts it behind.
            .service(oauth(&format!("/.well-known/oauth-authorization-server{path}")).get(metadata::metadata).default_service(not_get()))
            .service(oauth(&format!("{path}/.well-known/openid-configuration")).get(metadata::metadata).default_service(not_get()))
            .service(oauth(&format!("{path}{}", Issuer::REFRESH)).post(refresh::refresh).default_service(not_post()))
            .service(oauth(&format!("{path}{}", Issuer::TOKEN)).post(token::token).default_service(not_post()))
            .service(oauth(&format!("{path}{}", Issuer::PAR)).post(par::push).default_service(not_post()))
            // A page, not an interface: nothing of it is shared with other origins (RFC 9700 section 2.6).
            .service(web::resource(format!("{path}{}", Issuer::AUTHORIZE)).get(authorize::authorize).default_service(not_a_page()))
            .configure(|config| sign_in_routes(config, &format!("{path}{}", Issuer::SIGN_IN), builtin))
            .service(oauth(&format!("{path}{}", Issuer::INTROSPECT)).post(introspect::introspect).default_service(not_post()))
            .service(oauth(&format!("{path}{}", Issuer::REVOKE)).post(revoke::revoke).default_service(not_post()))
            .service(
                oauth(&format!("{path}{}", Issuer::USERINFO))
                    .get(userinfo::userinfo)
                    .post(userinfo::userinfo)
                    .default_service(not_get_or_post()),
            )
            .service(oauth(&format!("{described}{path}")).get(protected_resource::userinfo).default_service(not_get()))
            .service(oauth(&format!("{described}{path}{}", Issuer::USERINFO)).get(protected_resource::userinfo).default_service(not_get()))
            .service(oauth(&format!("{described}/{{tail:.+}}")).get(protected_resource::resource).default_service(not_get()))
            .service(oauth(&format!("{path}{}", Issuer::JWKS)).get(jwks::jwks).default_service(not_get()))
            .service(
                oauth(&format!("{path}{}", Issuer::NONCE)).get(nonce::nonce).route(web::head().to(nonce::nonce)).default_service(not_get()),
            )
            .service(web::resource(format!("{path}/errors/{{code}}")).get(error_page::error_page))
            .default_service(web::to(not_found));
    }
}

/// The built-in page, where it is used.
fn sign_in_routes(config: &mut web::ServiceConfig, path: &str, builtin: bool) {
    if builtin {
        config.service(web::resource(path).get(signin::show).post(signin::answer));
    }
}

/// Reads the parameters of a request within the limits.
///
/// # Errors
/// 400, 408, 413, 415.
pub(crate) async fn read_params(
    request: &HttpRequest,
    body: web::Payload,
    kinds: BodyKinds,
    state: &PublicState,
) -> Result<Params, ApiError> {
    let reading = Params::read(request, body, kinds, state.limits.max_body_bytes);
    match tokio::time::timeout(state.limits.body_timeout, reading).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::invalid_request_as(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

fn not_post() -> actix_web::Route {
    web::to(|state: web::Data<PublicState>| async move { ApiError::method_not_allowed("POST, OPTIONS").respond(&state.server, None) })
}

fn not_get() -> actix_web::Route {
    web::to(|state: web::Data<PublicState>| async move { ApiError::method_not_allowed("GET, HEAD, OPTIONS").respond(&state.server, None) })
}

fn not_a_page() -> actix_web::Route {
    web::to(|state: web::Data<PublicState>| async move { ApiError::method_not_allowed("GET").respond(&state.server, None) })
}

fn not_get_or_post() -> actix_web::Route {
    web::to(|state: web::Data<PublicState>| async move { ApiError::method_not_allowed("GET, POST, OPTIONS").respond(&state.server, None) })
}

async fn not_found(state: web::Data<PublicState>) -> HttpResponse {
    ApiError::not_found().respond(&state.server, None)
}
