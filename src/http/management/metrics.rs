//! `GET /metrics`.

use actix_web::{HttpResponse, web};

use crate::http::management::ManagementState;

/// What this process counted, in the text format of Prometheus. No label holds anything of a request.
pub async fn metrics(state: web::Data<ManagementState>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(state.server.counters.to_prometheus())
}
