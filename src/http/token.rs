//! `POST /oauth/token` (RFC 6749 section 3.2).

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::error::ApiError;
use crate::http::params::{BodyKinds, Params};
use crate::http::refresh::{answer_with_refresh_token, token_response};
use crate::http::request::{narrowing, presented_client, proof_lines};
use crate::http::{PublicState, read_params};
use crate::service::client_credentials::ClientCredentialsRequest;
use crate::service::proof::PresentedProof;

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
        "client_credentials" => client_credentials(request, params, state).await,
        _ => Err(ApiError::unsupported_grant_type()),
    }
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
