//! The management listener: for the operator, never public.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::http::error::never_cached;
use crate::secret::Secret;
use crate::service::AuthorizationServer;
use crate::store::StoreError;

pub mod clients;
pub mod events;
pub mod grants;
pub mod health;
pub mod interactions;
pub mod metrics;

/// What the handlers of the management listener share.
pub struct ManagementState {
    /// The use cases.
    pub server: Arc<AuthorizationServer>,
    /// What a caller of `/admin` must know; nobody may call where there is none.
    pub token: Option<Secret<String>>,
    /// Set once the process was asked to stop.
    pub draining: AtomicBool,
}

impl ManagementState {
    /// From now on `/readyz` fails, so that load balancers turn away.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

/// The routes of the management listener.
pub fn management_routes(state: web::Data<ManagementState>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(state)
            .app_data(web::JsonConfig::default().limit(64 * 1024).error_handler(|error, _| {
                let text = error.to_string();
                actix_web::error::InternalError::from_response(error, refusal(StatusCode::BAD_REQUEST, "invalid_request", &text)).into()
            }))
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                let text = error.to_string();
                actix_web::error::InternalError::from_response(error, refusal(StatusCode::BAD_REQUEST, "invalid_request", &text)).into()
            }))
            .route("/livez", web::get().to(health::livez))
            .route("/readyz", web::get().to(health::readyz))
            .route("/metrics", web::get().to(metrics::metrics))
            .service(web::resource("/admin/clients").post(clients::create).get(clients::list))
            .service(web::resource("/admin/clients/{id}").get(clients::show).put(clients::replace).delete(clients::delete))
            .service(web::resource("/admin/clients/{id}/secret").post(clients::rotate_secret))
            .service(web::resource("/admin/grants").post(grants::create).get(grants::list).delete(grants::revoke_matching))
            .service(web::resource("/admin/grants/{id}").delete(grants::revoke))
            .service(web::resource("/admin/interactions/{id}").get(interactions::show))
            .service(web::resource("/admin/interactions/{id}/accept").post(interactions::accept))
            .service(web::resource("/admin/interactions/{id}/reject").post(interactions::reject))
            .route("/admin/events", web::get().to(events::list));
    }
}

/// Proof that the caller knows the management token.
pub struct Operator(());

impl actix_web::FromRequest for Operator {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let known = request.app_data::<web::Data<ManagementState>>().is_some_and(|state| {
            let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
            let given = given.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"Bearer ")).map(|_| &given[7..]);
            given.zip(state.token.as_ref()).is_some_and(|(given, token)| token.matches(given))
        });
        std::future::ready(if known { Ok(Self(())) } else { Err(unauthorized()) })
    }
}

fn unauthorized() -> actix_web::Error {
    let mut answer = refusal(StatusCode::UNAUTHORIZED, "unauthorized", "the management token is missing or wrong");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keybound management\""));
    actix_web::error::InternalError::from_response("the management token is missing or wrong", answer).into()
}

fn refusal(status: StatusCode, error: &str, description: &str) -> HttpResponse {
    never_cached(status).json(json!({ "error": error, "error_description": description }))
}

fn store_trouble(error: &StoreError) -> HttpResponse {
    tracing::warn!(%error, "a management request could not be decided");
    let mut answer = refusal(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "the store can not tell; try again");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
