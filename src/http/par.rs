//! `POST /oauth/par` (RFC 9126).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::error::{ApiError, DPOP_NONCE, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::request::{authorization_parameters, presented_client, proof_lines};
use crate::http::{PublicState, read_params};
use crate::service::par::{PushError, PushRequest};
use crate::service::proof::PresentedProof;

/// Keeps an authorization request and names it: 201. Form only.
pub async fn push(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let params = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => params,
        Err(error) => return error.respond(server, None),
    };
    let answer = answer(&request, &params, &state).await;
    answer.unwrap_or_else(|error| error.respond(server, params.one("state")))
}

async fn answer(request: &HttpRequest, params: &Params, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let header_values = &proof_lines(request);
    let push = PushRequest {
        proof: PresentedProof { header_values, method: request.method().as_str(), targets: server.issuer.par_targets() },
        client: presented_client(request, params)?,
        parameters: authorization_parameters(params),
    };
    let pushed = server.push(push, server.clock.now()).await.map_err(|error| match error {
        PushError::Token(error) => ApiError::from_token_error(error, server),
        PushError::Refused(refusal) => ApiError::from_refusal(refusal),
    })?;
    let mut answer = never_cached(StatusCode::CREATED);
    if let Some(nonce) = &pushed.dpop_nonce {
        answer.insert_header((DPOP_NONCE, nonce.as_str()));
    }
    Ok(answer.json(pushed))
}
