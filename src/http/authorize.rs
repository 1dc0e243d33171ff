//! `GET /oauth/authorize` (RFC 6749 section 3.1).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::PublicState;
use crate::http::page::{refused, see_other};
use crate::http::params::Params;
use crate::http::request::authorization_parameters;
use crate::service::authorize::AuthorizeError;

/// Begins a sign-in, or answers the client with an error: 303 both. A page where there is no redirect URI to trust.
pub async fn authorize(request: HttpRequest, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let params = match Params::from_query(request.query_string()) {
        Ok(params) => params,
        Err(error) => return refused(error.status(), error.code().as_str(), error.description()),
    };
    match server.authorize(authorization_parameters(&params), server.clock.now()).await {
        Ok(onward) => see_other(&onward.redirect_to),
        Err(AuthorizeError::Page(refusal)) => refused(StatusCode::BAD_REQUEST, refusal.code.as_str(), &refusal.description),
        Err(AuthorizeError::Store(error)) => {
            tracing::warn!(%error, "an authorization request could not be decided");
            refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "the service can not decide right now; try again")
        }
    }
}
