//! `POST /oauth/token` (RFC 6749 section 3.2).

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::cookie::CookieUse;
use crate::http::error::ApiError;
use crate::http::params::{BodyKinds, Params};
use crate::http::refresh::{answer_with_refresh_token, deliver, token_response};
use crate::http::request::{narrowing, presented_client, proof_lines};
use crate::http::{PublicState, read_params};
use crate::service::client_credentials::ClientCredentialsRequest;
use crate::service::code::CodeRequest;
use crate::service::proof::PresentedProof;
use crate::service::refresh::Narrowing;
use crate::service::token_exchange::{PresentedToken, TokenExchangeRequest};

/// Issues tokens for a grant. Form only.
pub async fn token(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let params = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => params,
        Err(error) => return error.respond(server, None),
    };
    let answer = answer(&request, &params, &state).await;
    answer.unwrap_or_else(|error| error.respond(server, params.one("state")))
}

async fn answer(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    match params.required("grant_type")? {
        "refresh_token" => answer_with_refresh_token(request, params, state, state.server.issuer.token_targets()).await,
        "authorization_code" => authorization_code(request, params, state).await,
        "client_credentials" => client_credentials(request, params, state).await,
        "urn:ietf:params:oauth:grant-type:token-exchange" => token_exchange(request, params, state).await,
        _ => Err(ApiError::unsupported_grant_type()),
    }
}

async fn authorization_code(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let cookie = CookieUse::of(request, params, "code", state).await?;
    let header_values = &proof_lines(request);
    let use_of_code = CodeRequest {
        proof: PresentedProof { header_values, method: request.method().as_str(), targets: server.issuer.token_targets() },
        client: presented_client(request, params)?,
        code: params.required("code")?,
        redirect_uri: params.one("redirect_uri"),
        code_verifier: params.one("code_verifier"),
        // RFC 6749 section 4.1.3 knows no scope here: what the resource owner agreed to is what the code gives.
        narrowing: Narrowing { scope: None, ..narrowing(params) },
    };
    let now = server.clock.now();
    let response = server.redeem(use_of_code, now).await;
    response.map(|response| deliver(response, cookie.as_ref(), now)).map_err(|error| ApiError::from_token_error(error, server))
}

async fn client_credentials(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let header_values = &proof_lines(request);
    let use_of_client = ClientCredentialsRequest {
        proof: PresentedProof { header_values, method: request.method().as_str(), targets: server.issuer.token_targets() },
        client: presented_client(request, params)?,
        asked: narrowing(params),
    };
    let response = server.client_credentials(use_of_client, server.clock.now()).await;
    response.map(token_response).map_err(|error| ApiError::from_token_error(error, server))
}

async fn token_exchange(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let header_values = &proof_lines(request);
    let actor = match (params.one("actor_token"), params.one("actor_token_type")) {
        (None, None) => None,
        (Some(token), Some(token_type)) => Some(PresentedToken { token, token_type }),
        _ => return Err(ApiError::invalid_request("actor_token and actor_token_type belong together")),
    };
    let mut asked = narrowing(params);
    asked.resource.extend_from_slice(params.all("audience"));
    let exchange = TokenExchangeRequest {
        proof: PresentedProof { header_values, method: request.method().as_str(), targets: server.issuer.token_targets() },
        client: presented_client(request, params)?,
        subject: PresentedToken { token: params.required("subject_token")?, token_type: params.required("subject_token_type")? },
        actor,
        requested_token_type: params.one("requested_token_type"),
        asked,
    };
    let response = server.exchange_token(exchange, server.clock.now()).await;
    response.map(token_response).map_err(|error| ApiError::from_token_error(error, server))
}
