//! `/.well-known/oauth-protected-resource`: what protected resources say about themselves (RFC 9728).

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::domain::resource::Resource;
use crate::http::PublicState;
use crate::http::error::ApiError;
use crate::http::metadata::without_empty_lists;
use crate::service::userinfo::SCOPE_CLAIMS;
use crate::service::{AuthorizationServer, Issuer};

/// Where the metadata of the userinfo endpoint is: its path behind the well-known part (RFC 9728 section 3.1).
pub fn userinfo_metadata_url(issuer: &Issuer) -> String {
    issuer.protected_resource_metadata(&format!("{}{}", issuer.path(), Issuer::USERINFO))
}

/// The userinfo endpoint's document, at the bare well-known path and at the one with its own path inserted.
pub async fn userinfo(state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let scopes = std::iter::once(AuthorizationServer::USERINFO_SCOPE).chain(SCOPE_CLAIMS.iter().map(|(scope, _)| *scope));
    answer(without_empty_lists(document(server, &server.issuer.url(Issuer::USERINFO), &scopes.collect::<Vec<_>>())))
}

/// The document of one registered resource: by its `id`, behind the path of the issuer too; on the origin of the issuer also by its own
/// path. 404 for any other.
pub async fn resource(tail: web::Path<String>, state: web::Data<PublicState>) -> HttpResponse {
    let server = &state.server;
    let path = format!("/{tail}");
    let id = path.strip_prefix(server.issuer.path()).unwrap_or(&path).strip_prefix('/');
    let on_this_origin = format!("{}{path}", server.issuer.origin());
    let asked_for = |resource: &&Resource| resource.id == *tail || Some(resource.id.as_str()) == id || resource.url == on_this_origin;
    match server.resources.iter().find(asked_for) {
        Some(resource) => {
            let mut document = document(server, &resource.url, &resource.scopes.iter().collect::<Vec<_>>());
            document["authorization_details_types_supported"] = server.details_types.names().collect();
            answer(without_empty_lists(document))
        }
        None => ApiError::not_found().respond(server, None),
    }
}

/// Exactly what is enforced. Bound tokens are the rule; they are the law only where no client may have others.
fn document(server: &AuthorizationServer, resource: &str, scopes: &[&str]) -> Value {
    json!({
        "resource": resource,
        "authorization_servers": [server.issuer.as_str()],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": server.proof_policy.algs.iter().map(|alg| alg.name()).collect::<Vec<_>>(),
        "dpop_bound_access_tokens_required": server.fapi2,
    })
}

fn answer(document: Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=300")).json(document)
}
