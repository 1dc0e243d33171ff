//! `/admin/clients`, with the member names of RFC 7591.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::clock::OsEntropy;
use crate::domain::client::ClientMetadata;
use crate::domain::{ClientId, RevokeReason};
use crate::http::error::never_cached;
use crate::http::management::{ManagementState, Operator, refusal, store_trouble};
use crate::service::clients::{Registered, RegistryError};
use crate::store::FamilyFilter;
use crate::telemetry::Event;

/// `POST /admin/clients`: 201 with the registration, and with the secret if one was made: the only time it is shown.
pub async fn create(_: Operator, body: web::Json<ClientMetadata>, state: web::Data<ManagementState>) -> HttpResponse {
    match state.server.clients.register(body.into_inner(), &mut OsEntropy).await {
        Ok(registered) => stored(registered, StatusCode::CREATED, &state),
        Err(error) => refuse(&error),
    }
}

/// `GET /admin/clients`.
pub async fn list(_: Operator, state: web::Data<ManagementState>) -> HttpResponse {
    match state.server.clients.list().await {
        Ok(clients) => {
            let clients: Vec<Map<String, Value>> = clients.iter().map(|client| client.to_public_json()).collect();
            never_cached(StatusCode::OK).json(json!({ "clients": clients }))
        }
        Err(error) => store_trouble(&error),
    }
}

/// `GET /admin/clients/{id}`.
pub async fn show(_: Operator, id: web::Path<String>, state: web::Data<ManagementState>) -> HttpResponse {
    let Ok(id) = ClientId::new(id.into_inner()) else { return refuse(&RegistryError::Unknown) };
    match state.server.clients.find(&id).await {
        Ok(Some(client)) => never_cached(StatusCode::OK).json(client.to_public_json()),
        Ok(None) => refuse(&RegistryError::Unknown),
        Err(error) => store_trouble(&error),
    }
}

/// `PUT /admin/clients/{id}`: replaces the registration.
pub async fn replace(
    _: Operator,
    id: web::Path<String>,
    body: web::Json<ClientMetadata>,
    state: web::Data<ManagementState>,
) -> HttpResponse {
    let Ok(id) = ClientId::new(id.into_inner()) else { return refuse(&RegistryError::Unknown) };
    match state.server.clients.replace(&id, body.into_inner(), &mut OsEntropy).await {
        Ok(client) => stored(Registered { client, client_secret: None }, StatusCode::OK, &state),
        Err(error) => refuse(&error),
    }
}

/// A new secret to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecretBody {
    /// For how long the secrets there are go on to work, in seconds; `null` or left out: a day. 0 ends them at once.
    overlap_s: Option<u32>,
}

/// `POST /admin/clients/{id}/secret`: 201 with a new secret, the only time it is shown. The old ones work until
/// `previous_secrets_expire_at`.
pub async fn rotate_secret(
    _: Operator,
    id: web::Path<String>,
    body: web::Json<NewSecretBody>,
    state: web::Data<ManagementState>,
) -> HttpResponse {
    let Ok(id) = ClientId::new(id.into_inner()) else { return refuse(&RegistryError::Unknown) };
    let overlap = body.overlap_s.unwrap_or(DEFAULT_OVERLAP_S);
    if overlap > MAX_OVERLAP_S {
        return refusal(StatusCode::BAD_REQUEST, "invalid_request", "overlap_s must be at most 7776000 (90 days)");
    }
    let now = state.server.clock.now();
    let ends = now.plus(Duration::from_secs(u64::from(overlap)));
    match state.server.clients.rotate_secret(&id, ends, now, &mut OsEntropy).await {
        Ok(Registered { client, client_secret }) => {
            state.server.events.record(Event::ClientSecretRotated { client_id: client.id().clone() }, now);
            never_cached(StatusCode::CREATED).json(json!({
                "client_id": client.id(),
                "client_secret": client_secret.map(|secret| secret.expose().clone()),
                "client_secret_expires_at": 0,
                "previous_secrets_expire_at": ends.as_secs(),
            }))
        }
        Err(error) => refuse(&error),
    }
}

/// `DELETE /admin/clients/{id}`: 204. Its grants end with it.
pub async fn delete(_: Operator, id: web::Path<String>, state: web::Data<ManagementState>) -> HttpResponse {
    let Ok(id) = ClientId::new(id.into_inner()) else { return refuse(&RegistryError::Unknown) };
    let now = state.server.clock.now();
    if let Err(error) = state.server.clients.delete(&id).await {
        return refuse(&error);
    }
    state.server.events.record(Event::ClientDeleted { client_id: id.clone() }, now);
    let filter = FamilyFilter { client_id: Some(id), ..FamilyFilter::default() };
    match state.server.revoke_grants(&filter, RevokeReason::ClientDeleted, now).await {
        Ok(_) => never_cached(StatusCode::NO_CONTENT).finish(),
        Err(error) => store_trouble(&error),
    }
}

fn stored(registered: Registered, status: StatusCode, state: &ManagementState) -> HttpResponse {
    let Registered { client, client_secret } = registered;
    state.server.events.record(Event::ClientStored { client_id: client.id().clone() }, state.server.clock.now());
    let mut shown = client.to_public_json();
    if let Some(secret) = client_secret {
        shown.insert("client_secret".to_owned(), Value::from(secret.expose().as_str()));
        shown.insert("client_secret_expires_at".to_owned(), Value::from(0));
    }
    never_cached(status).json(shown)
}

fn refuse(error: &RegistryError) -> HttpResponse {
    match error {
        RegistryError::Store(error) => store_trouble(error),
        RegistryError::Unknown => refusal(StatusCode::NOT_FOUND, "unknown_client", "no client has this client_id"),
        RegistryError::Configured => refusal(StatusCode::CONFLICT, "invalid_request", &error.to_string()),
        RegistryError::Exists | RegistryError::OtherId => refusal(StatusCode::CONFLICT, "invalid_request", &error.to_string()),
        RegistryError::NoSecret(_) => refusal(StatusCode::CONFLICT, "invalid_request", &error.to_string()),
        RegistryError::Invalid(reason) => refusal(StatusCode::BAD_REQUEST, "invalid_client_metadata", &reason.to_string()),
    }
}

const DEFAULT_OVERLAP_S: u32 = 24 * 3600;
const MAX_OVERLAP_S: u32 = 90 * 24 * 3600;
