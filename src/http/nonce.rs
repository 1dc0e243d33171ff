//! `HEAD|GET /oauth/nonce`: a nonce for nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::http::PublicState;
use crate::http::error::{ApiError, DPOP_NONCE, never_cached};

/// 204 with a `DPoP-Nonce` that is good for one to two nonce steps.
pub async fn nonce(state: web::Data<PublicState>) -> HttpResponse {
    match state.server.fresh_nonce(state.server.clock.now()) {
        Ok(nonce) => never_cached(StatusCode::NO_CONTENT).insert_header((DPOP_NONCE, nonce)).finish(),
        Err(_) => ApiError::unavailable().respond(&state.server, None),
    }
}
