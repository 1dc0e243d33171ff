//! `GET /admin/events`.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::http::management::{ManagementState, Operator};

/// Which events to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only those after this sequence number.
    #[serde(default)]
    after: u64,
}

/// The newest security events of this process, oldest first.
pub async fn list(_: Operator, query: web::Query<EventsQuery>, state: web::Data<ManagementState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "events": state.server.events.after(query.after) }))
}
