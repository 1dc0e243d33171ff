//! `POST /oauth/register` (RFC 7591).

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};

use crate::domain::strict_json;
use crate::http::PublicState;
use crate::http::body;
use crate::http::error::{ApiError, never_cached};
use crate::service::clients::Registered;
use crate::service::registration::RegistrationSettings;

/// Registers a client: 201 with its registration, and with its secret where it has one: the only time it is shown.
pub async fn register(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let answer = match &state.server.registration {
        Some(settings) => answer(&request, body, settings, &state).await,
        None => Err(ApiError::invalid_request_as(StatusCode::NOT_FOUND, "there is nothing at this path")),
    };
    answer.unwrap_or_else(|error| error.respond(&state.server, None))
}

async fn answer(
    request: &HttpRequest,
    body: web::Payload,
    settings: &RegistrationSettings,
    state: &PublicState,
) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let reading = read_object(request, body, state.limits.max_body_bytes);
    let members = tokio::time::timeout(state.limits.body_timeout, reading).await;
    let members =
        members.unwrap_or_else(|_| Err(ApiError::invalid_request_as(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")))?;
    let now = server.clock.now();
    match server.register_client(settings, bearer(request), &members, now).await {
        Ok(registered) => Ok(created(registered, now.as_secs())),
        Err(error) => Err(ApiError::from_registration_error(error, server)),
    }
}

/// RFC 7591 section 3.2.1.
fn created(registered: Registered, issued_at: i64) -> HttpResponse {
    let Registered { client, client_secret } = registered;
    let mut shown = client.to_public_json();
    shown.insert("client_id_issued_at".to_owned(), Value::from(issued_at));
    if let Some(secret) = client_secret {
        shown.insert("client_secret".to_owned(), Value::from(secret.expose().as_str()));
        shown.insert("client_secret_expires_at".to_owned(), Value::from(0));
    }
    never_cached(StatusCode::CREATED).json(shown)
}

fn bearer(request: &HttpRequest) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes)?;
    value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"Bearer ")).map(|_| &value[7..])
}

async fn read_object(request: &HttpRequest, body: web::Payload, max_bytes: usize) -> Result<Map<String, Value>, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::invalid_request_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this endpoint takes application/json"));
    }
    let bytes = body::read(body, max_bytes).await?;
    strict_json::parse_object(&bytes).map_err(|_| ApiError::invalid_request("the body is not one JSON object with distinct members"))
}
