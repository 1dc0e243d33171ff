//! `/admin/interactions/{id}`: the login application's side of a sign-in.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::{AuthorizationDetails, Scope, redirect_uri};
use crate::http::error::never_cached;
use crate::http::management::{ManagementState, Operator, refusal, store_trouble};
use crate::service::interaction::{Acceptance, InteractionError, OpenInteraction, Rejection};

/// `GET /admin/interactions/{id}`: who asks for what. Members that the request leaves out are left out.
pub async fn show(_: Operator, id: web::Path<String>, state: web::Data<ManagementState>) -> HttpResponse {
    match state.server.interaction(&id, state.server.clock.now()).await {
        Ok(open) => never_cached(StatusCode::OK).json(describe(&open)),
        Err(error) => refuse(&error),
    }
}

/// What the resource owner agreed to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptBody {
    sub: String,
    scope: Option<Scope>,
    #[serde(default)]
    authorization_details: Value,
    #[serde(default)]
    claims: Map<String, Value>,
    auth_time: Option<i64>,
    acr: Option<String>,
}

/// `POST /admin/interactions/{id}/accept`: 200 with where the browser goes.
pub async fn accept(_: Operator, id: web::Path<String>, body: web::Json<AcceptBody>, state: web::Data<ManagementState>) -> HttpResponse {
    let AcceptBody { sub, scope, authorization_details, claims, auth_time, acr } = body.into_inner();
    let authorization_details = match authorization_details {
        Value::Null => None,
        value => match AuthorizationDetails::from_value(value) {
            Ok(details) => Some(details),
            Err(error) => return refusal(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string()),
        },
    };
    let accepted = Acceptance { sub, scope, authorization_details, claims, auth_time, acr };
    answered(state.server.accept(&id, accepted, state.server.clock.now()).await)
}

/// Why the resource owner did not agree.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    error: String,
    error_description: Option<String>,
}

/// `POST /admin/interactions/{id}/reject`: 200 with where the browser goes.
pub async fn reject(_: Operator, id: web::Path<String>, body: web::Json<RejectBody>, state: web::Data<ManagementState>) -> HttpResponse {
    let RejectBody { error, error_description } = body.into_inner();
    answered(state.server.reject(&id, Rejection { error, error_description }, state.server.clock.now()).await)
}

fn answered(outcome: Result<String, InteractionError>) -> HttpResponse {
    match outcome {
        Ok(redirect_to) => never_cached(StatusCode::OK).json(json!({ "redirect_to": redirect_to })),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &InteractionError) -> HttpResponse {
    match error {
        InteractionError::Store(error) => store_trouble(error),
        InteractionError::Unknown => refusal(StatusCode::NOT_FOUND, "unknown_interaction", &error.to_string()),
        InteractionError::Answered | InteractionError::UsedUp => refusal(StatusCode::CONFLICT, "invalid_request", &error.to_string()),
        InteractionError::Unfit(why) => refusal(StatusCode::BAD_REQUEST, "invalid_request", why),
    }
}

fn describe(open: &OpenInteraction) -> Value {
    let (request, metadata) = (&open.request, open.client.metadata());
    let shown = json!({
        "client": without_null(json!({
            "client_id": request.client_id,
            "client_name": metadata.client_name,
            "client_uri": metadata.client_uri,
            "logo_uri": metadata.logo_uri,
        })),
        "redirect_uri": request.redirect_uri,
        "redirect_origin": redirect_uri::origin(&request.redirect_uri),
        "scope": request.scope,
        "authorization_details": request.authorization_details,
        "resource": request.resource,
        "claims": request.claims,
        "prompt": request.prompt,
        "max_age": request.max_age,
        "login_hint": request.login_hint,
        "acr_values": request.acr_values,
        "expires_at": open.expires.as_secs(),
    });
    without_null(shown)
}

fn without_null(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}
