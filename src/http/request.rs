//! What every OAuth endpoint takes out of a request.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use crate::domain::authorization::RequestParameters;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::service::client_auth::Presented;
use crate::service::refresh::Narrowing;

/// Every value of every `DPoP` header line, in order.
pub fn proof_lines(request: &HttpRequest) -> Vec<&[u8]> {
    request.headers().get_all("DPoP").map(actix_web::http::header::HeaderValue::as_bytes).collect()
}

/// The client credentials of a request, not yet judged.
///
/// # Errors
/// 400 for more than one `Authorization` line, or one that is not ASCII.
pub fn presented_client<'a>(request: &'a HttpRequest, params: &'a Params) -> Result<Presented<'a>, ApiError> {
    let mut lines = request.headers().get_all(AUTHORIZATION);
    let authorization = match lines.next() {
        None => None,
        Some(line) => Some(line.to_str().map_err(|_| ApiError::invalid_request("the Authorization header is not ASCII"))?),
    };
    if lines.next().is_some() {
        return Err(ApiError::invalid_request("there is more than one Authorization header"));
    }
    Ok(Presented {
        authorization,
        client_id: params.one("client_id"),
        client_secret: params.one("client_secret"),
        client_assertion: params.one("client_assertion"),
        client_assertion_type: params.one("client_assertion_type"),
    })
}

/// The parameters of an authorization request, not yet judged.
pub fn authorization_parameters(params: &Params) -> RequestParameters {
    RequestParameters::read(|name| params.one(name).map(str::to_owned), params.all("resource").to_vec())
}

/// What the request asks for.
pub fn narrowing(params: &Params) -> Narrowing<'_> {
    Narrowing {
        scope: params.one("scope"),
        resource: params.all("resource").to_vec(),
        authorization_details: params.one("authorization_details"),
    }
}
