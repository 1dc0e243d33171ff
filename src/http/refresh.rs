//! `POST /oauth/refresh`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use keybound_proofs::UnixTime;

use crate::http::cookie::{CookieUse, with_cookie};
use crate::http::error::{ApiError, DPOP_NONCE, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::request::{narrowing, presented_client, proof_lines};
use crate::http::{PublicState, read_params};
use crate::service::entitlement::TokenResponse;
use crate::service::proof::PresentedProof;
use crate::service::refresh::RefreshRequest;

/// Rotates a refresh token and issues an access token. Form or flat JSON.
pub async fn refresh(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let params = match read_params(&request, body, BodyKinds::FormOrJson, &state).await {
        Ok(params) => params,
        Err(error) => return error.respond(server, None),
    };
    let answer = answer(&request, &params, &state).await;
    answer.unwrap_or_else(|error| error.at_refresh_endpoint(server.proof_policy.algs).respond(server, params.one("state")))
}

async fn answer(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    if params.one("grant_type").is_some_and(|grant_type| grant_type != "refresh_token") {
        return Err(ApiError::invalid_request("grant_type, where it is sent here, must be refresh_token"));
    }
    answer_with_refresh_token(request, params, state, state.server.issuer.refresh_targets()).await
}

/// The refresh itself, for both endpoints that offer it.
pub(super) async fn answer_with_refresh_token(
    request: &HttpRequest,
    params: &Params,
    state: &PublicState,
    targets: &[keybound_proofs::TargetUri],
) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let cookie = CookieUse::of(request, params, "refresh_token", state).await?;
    let presented = presented_client(request, params)?;
    let refresh_token = match (params.one("refresh_token"), cookie.as_ref().and_then(CookieUse::token)) {
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => params.required("refresh_token")?,
    };
    let header_values = &proof_lines(request);
    let use_of_token = RefreshRequest {
        proof: PresentedProof { header_values, method: request.method().as_str(), targets },
        client: cookie.as_ref().map_or(presented, |cookie| cookie.present(presented)),
        refresh_token,
        new_key_proof: params.one("dpop_new_key_proof"),
        narrowing: narrowing(params),
    };
    let now = server.clock.now();
    let response = server.refresh(use_of_token, now).await;
    response.map(|response| deliver(response, cookie.as_ref(), now)).map_err(|error| ApiError::from_token_error(error, server))
}

/// 200 with tokens, the refresh token in the cookie where there is one.
pub(super) fn deliver(mut response: TokenResponse, cookie: Option<&CookieUse>, now: UnixTime) -> HttpResponse {
    let line = cookie.and_then(|cookie| cookie.deliver(&mut response, now));
    with_cookie(token_response(response), line)
}

/// 200 with tokens.
pub(super) fn token_response(response: TokenResponse) -> HttpResponse {
    let mut answer = never_cached(StatusCode::OK);
    if let Some(nonce) = &response.dpop_nonce {
        answer.insert_header((DPOP_NONCE, nonce.as_str()));
    }
    answer.json(response)
}
