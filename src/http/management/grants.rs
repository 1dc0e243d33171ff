//! `/admin/grants`.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use keybound_proofs::Jkt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::{AuthorizationDetails, Binding, ClientId, Family, FamilyId, Grant, RevokeReason, Scope};
use crate::http::error::never_cached;
use crate::http::management::{ManagementState, Operator, refusal, store_trouble};
use crate::service::grants::{NewGrant, NewGrantError};
use crate::store::{FamilyFilter, StoreError};

/// A grant to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGrantBody {
    client_id: ClientId,
    sub: Option<String>,
    #[serde(default)]
    scope: Scope,
    jkt: Option<String>,
    #[serde(default)]
    authorization_details: Value,
    #[serde(default)]
    resource: OneOrMany,
    #[serde(default)]
    claims: Map<String, Value>,
    auth_time: Option<i64>,
    acr: Option<String>,
}

/// A single value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// `POST /admin/grants`: 201 with the first refresh token.
pub async fn create(_: Operator, body: web::Json<NewGrantBody>, state: web::Data<ManagementState>) -> HttpResponse {
    let new = match read(body.into_inner()) {
        Ok(new) => new,
        Err(what) => return refusal(StatusCode::BAD_REQUEST, "invalid_request", &what),
    };
    match state.server.create_grant(new, state.server.clock.now()).await {
        Ok(created) => never_cached(StatusCode::CREATED).json(json!({
            "grant_id": created.id.to_string(),
            "refresh_token": created.refresh_token,
            "expires_at": created.expires.as_secs(),
        })),
        Err(NewGrantError::Store(error)) => store_trouble(&error),
        Err(NewGrantError::UnknownClient) => refusal(StatusCode::NOT_FOUND, "unknown_client", &NewGrantError::UnknownClient.to_string()),
        Err(NewGrantError::AuthorizationDetails(error)) => {
            refusal(StatusCode::BAD_REQUEST, "invalid_authorization_details", &error.to_string())
        }
        Err(error) => refusal(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string()),
    }
}

fn read(body: NewGrantBody) -> Result<NewGrant, String> {
    let jkt = body.jkt.map(|text| text.parse::<Jkt>()).transpose().map_err(|error| format!("jkt: {error}"))?;
    let details = match body.authorization_details {
        Value::Null => AuthorizationDetails::default(),
        value => AuthorizationDetails::from_value(value).map_err(|error| error.to_string())?,
    };
    let resource = match body.resource {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    let grant = Grant {
        sub: body.sub,
        scope: body.scope,
        resource,
        claims: body.claims,
        auth_time: body.auth_time,
        acr: body.acr,
        ..Grant::default()
    };
    Ok(NewGrant { client_id: body.client_id, jkt, grant, authorization_details: details })
}

/// Which grants are meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsQuery {
    sub: Option<String>,
    client_id: Option<String>,
    jkt: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

impl GrantsQuery {
    fn filter(&self) -> Result<FamilyFilter, String> {
        Ok(FamilyFilter {
            sub: self.sub.clone(),
            client_id: self.client_id.as_deref().map(ClientId::new).transpose().map_err(|error| error.to_string())?,
            jkt: self.jkt.as_deref().map(str::parse).transpose().map_err(|error: keybound_proofs::MalformedJkt| error.to_string())?,
        })
    }
}

/// `GET /admin/grants`: a page of live grants, 100 where `limit` does not say less.
pub async fn list(_: Operator, query: web::Query<GrantsQuery>, state: web::Data<ManagementState>) -> HttpResponse {
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(what) => return refusal(StatusCode::BAD_REQUEST, "invalid_request", &what),
    };
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    match state.server.list_grants(&filter, query.cursor.as_deref(), limit, state.server.clock.now()).await {
        Ok(page) => {
            let grants: Vec<Value> = page.families.iter().map(describe).collect();
            never_cached(StatusCode::OK).json(match page.next {
                Some(cursor) => json!({ "grants": grants, "cursor": cursor }),
                None => json!({ "grants": grants }),
            })
        }
        Err(StoreError::Unfit(_)) if query.cursor.is_some() => {
            refusal(StatusCode::BAD_REQUEST, "invalid_request", "the cursor is not one of this list")
        }
        Err(error) => store_trouble(&error),
    }
}

/// `DELETE /admin/grants/{id}`: 204, also where it was revoked before; 404 where there is no such grant.
pub async fn revoke(_: Operator, id: web::Path<String>, state: web::Data<ManagementState>) -> HttpResponse {
    let unknown = || refusal(StatusCode::NOT_FOUND, "unknown_grant", "no grant has this grant_id");
    let Ok(id) = id.parse::<FamilyId>() else { return unknown() };
    let now = state.server.clock.now();
    match state.server.revoke_grant(id, RevokeReason::Requested, now).await {
        Ok(true) => never_cached(StatusCode::NO_CONTENT).finish(),
        Ok(false) => match state.server.families.read(id, now).await {
            Ok(Some(_)) => never_cached(StatusCode::NO_CONTENT).finish(),
            Ok(None) => unknown(),
            Err(error) => store_trouble(&error),
        },
        Err(error) => store_trouble(&error),
    }
}

/// `DELETE /admin/grants?sub= | client_id= | jkt=`: ends every grant that matches. A call without any of them is refused.
pub async fn revoke_matching(_: Operator, query: web::Query<GrantsQuery>, state: web::Data<ManagementState>) -> HttpResponse {
    let filter = match query.filter() {
        Ok(filter) if filter == FamilyFilter::default() => {
            return refusal(StatusCode::BAD_REQUEST, "invalid_request", "name the grants by sub, client_id or jkt");
        }
        Ok(filter) => filter,
        Err(what) => return refusal(StatusCode::BAD_REQUEST, "invalid_request", &what),
    };
    match state.server.revoke_grants(&filter, RevokeReason::Requested, state.server.clock.now()).await {
        Ok(revoked) => never_cached(StatusCode::OK).json(json!({ "revoked": revoked })),
        Err(error) => store_trouble(&error),
    }
}

fn describe(family: &Family) -> Value {
    let jkt = match family.binding {
        Binding::Key(jkt) => Value::String(jkt.to_string()),
        Binding::ClientAuthentication => Value::Null,
    };
    json!({
        "grant_id": family.id.to_string(),
        "client_id": family.client_id,
        "jkt": jkt,
        "sub": family.grant.sub,
        "scope": family.grant.scope,
        "authorization_details": family.grant.authorization_details,
        "resource": family.grant.resource,
        "created_at": family.created.as_secs(),
        "last_used_at": family.last_rotation.as_secs(),
        "idle_expires_at": family.idle_expiry.as_secs(),
        "expires_at": family.absolute_expiry.as_secs(),
        "generation": family.generation.0,
    })
}
