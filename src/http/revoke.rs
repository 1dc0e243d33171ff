//! `POST /oauth/revoke` (RFC 7009).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::cookie::{CookieUse, with_cookie};
use crate::http::error::{ApiError, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::request::presented_client;
use crate::http::{PublicState, read_params};
use crate::service::revoke::RevocationRequest;

/// Puts a token out of use, or the one in the client's cookie, which is then taken away: 200 without a body, also where there was
/// nothing to do. A `DPoP` header is ignored.
pub async fn revoke(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let answer = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => answer(&request, &params, &state).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.respond(&state.server, None))
}

async fn answer(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    // A token in the body is put out of use wherever the request comes from: possession is enough.
    let cookie = match params.one("token") {
        Some(_) => None,
        None => CookieUse::of(request, params, "token", state).await?,
    };
    let token = match cookie.as_ref().and_then(CookieUse::token) {
        Some(token) => token,
        None => params.required("token")?,
    };
    let presented = presented_client(request, params)?;
    let client = cookie.as_ref().map_or(presented, |cookie| cookie.present(presented));
    let revocation = RevocationRequest { client, token };
    server.revoke(revocation, server.clock.now()).await.map_err(|error| ApiError::from_revocation_error(error, server))?;
    Ok(with_cookie(never_cached(StatusCode::OK).finish(), cookie.and_then(|cookie| cookie.clear())))
}
