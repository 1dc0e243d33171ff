//! `GET /oauth/jwks`: the public signing keys (RFC 7517).

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::http::PublicState;

/// The key set; a verifier may keep it for five minutes.
pub async fn jwks(state: web::Data<PublicState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(state.jwks.clone())
}
