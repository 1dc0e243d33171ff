//! `/livez` and `/readyz`.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::http::management::ManagementState;

/// The process runs. Says nothing about the store, so that an outage of the store restarts nobody.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// The service can decide: the store answers and nobody asked it to stop.
pub async fn readyz(state: web::Data<ManagementState>) -> HttpResponse {
    if state.draining.load(Ordering::SeqCst) {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match state.server.health.check().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => HttpResponse::ServiceUnavailable().json(json!({ "status": "not ready", "reason": error.to_string() })),
    }
}
