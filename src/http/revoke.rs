//! `POST /oauth/revoke` (RFC 7009).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::error::{ApiError, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::request::presented_client;
use crate::http::{PublicState, read_params};
use crate::service::revoke::RevocationRequest;

/// Puts a token out of use: 200 without a body, also where there was nothing to do. A `DPoP` header is ignored.
pub async fn revoke(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let answer = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => answer(&request, &params, &state).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.respond(&state.server, None))
}

async fn answer(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let revocation = RevocationRequest { client: presented_client(request, params)?, token: params.required("token")? };
    server.revoke(revocation, server.clock.now()).await.map_err(|error| ApiError::from_revocation_error(error, server))?;
    Ok(never_cached(StatusCode::OK).finish())
}
