//! `GET|POST /oauth/userinfo` (OpenID Connect Core section 5.3), a DPoP-protected resource.

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::challenge::refuse_access;
use crate::http::error::{ApiError, DPOP_NONCE, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::protected_resource::userinfo_metadata_url;
use crate::http::request::proof_lines;
use crate::http::{PublicState, read_params};
use crate::service::access::{AccessError, PresentedAccess};
use crate::service::proof::PresentedProof;

/// Claims about the end user of the access token in the `Authorization` header.
pub async fn userinfo(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let now = server.clock.now();
    let refuse = |error| refuse_access(error, server, &userinfo_metadata_url(&server.issuer), now);
    let token_elsewhere = match token_elsewhere(&request, body, &state).await {
        Ok(found) => found,
        Err(error) if error.is_bad_request() => return refuse(AccessError::Malformed { scheme: None }),
        Err(error) => return error.respond(server, None),
    };
    let authorization: Vec<&[u8]> = request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes).collect();
    let header_values = &proof_lines(&request);
    let proof = PresentedProof { header_values, method: request.method().as_str(), targets: server.issuer.userinfo_targets() };
    match server.userinfo(PresentedAccess { authorization: &authorization, token_elsewhere, proof }, now).await {
        Ok(info) => {
            let mut answer = never_cached(StatusCode::OK);
            if let Some(nonce) = info.dpop_nonce {
                answer.insert_header((DPOP_NONCE, nonce));
            }
            answer.json(info.claims)
        }
        Err(error) => refuse(error),
    }
}

/// Whether an access token is in the query or in a form: in places where it leaks, and where no proof could go with it (FAPI-RS-02).
async fn token_elsewhere(request: &HttpRequest, body: web::Payload, state: &PublicState) -> Result<bool, ApiError> {
    // A token in the query is an error there already.
    Params::from_query(request.query_string())?;
    if !Params::is_form(request) {
        return Ok(false);
    }
    Ok(read_params(request, body, BodyKinds::Form, state).await?.one("access_token").is_some())
}
