//! The metadata document (RFC 8414), the same at both well-known paths.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::domain::client::{AssertionAlg, AuthMethod, GrantType};
use crate::http::PublicState;
use crate::service::{AuthorizationServer, Issuer};

/// The document; a client may keep it for five minutes.
pub async fn metadata(state: web::Data<PublicState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(state.metadata.clone())
}

/// What this server says about itself: exactly what is enforced. Empty lists are left out (RFC 8414 section 3.2).
pub fn document(server: &AuthorizationServer) -> Value {
    let issuer = &server.issuer;
    let methods: Vec<&str> = AuthMethod::offered(server.fapi2).iter().map(|method| method.name()).collect();
    let scopes: std::collections::BTreeSet<&str> = server.resources.iter().flat_map(|resource| resource.scopes.iter()).collect();
    let scopes: Vec<&str> = ["openid", "offline_access"].into_iter().chain(scopes).collect();
    let resources: Vec<&str> = server.resources.iter().map(|resource| resource.url.as_str()).collect();
    let grant_types = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials, GrantType::TokenExchange];
    let grant_types = grant_types.map(GrantType::name);
    let request_object_algs: Vec<&str> = AssertionAlg::names(server.fapi2).iter().copied().filter(|name| *name != "RS256").collect();
    let signed_with = server.keys.signer().alg().name();
    let assertion_algs = AssertionAlg::names(server.fapi2);
    let mut document = json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.url(Issuer::AUTHORIZE),
        "pushed_authorization_request_endpoint": issuer.url(Issuer::PAR),
        "token_endpoint": issuer.url(Issuer::TOKEN),
        "introspection_endpoint": issuer.url(Issuer::INTROSPECT),
        "revocation_endpoint": issuer.url(Issuer::REVOKE),
        "userinfo_endpoint": issuer.url(Issuer::USERINFO),
        "jwks_uri": issuer.url(Issuer::JWKS),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grant_types,
        "scopes_supported": scopes,
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "nonce"],
        "subject_types_supported": ["public"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": &methods,
        "token_endpoint_auth_signing_alg_values_supported": assertion_algs,
        // Whoever asks about tokens authenticates; a resource server may do so with a secret, whatever the profile says of clients.
        "introspection_endpoint_auth_methods_supported":
            AuthMethod::offered(false).iter().filter(|method| **method != AuthMethod::None).map(|method| method.name()).collect::<Vec<_>>(),
        "introspection_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "introspection_signing_alg_values_supported": [signed_with],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "id_token_signing_alg_values_supported": [signed_with],
        "dpop_signing_alg_values_supported": server.proof_policy.algs.iter().map(|alg| alg.name()).collect::<Vec<_>>(),
        "require_pushed_authorization_requests": server.requires_par_of_all(),
        "request_parameter_supported": true,
        "request_uri_parameter_supported": false,
        "request_object_signing_alg_values_supported": request_object_algs,
        "claims_parameter_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "authorization_details_types_supported": server.details_types.names().collect::<Vec<_>>(),
        "client_id_metadata_document_supported": server.clients.knows_documents(),
        "protected_resources": resources,
    });
    if server.registration.is_some() {
        document["registration_endpoint"] = json!(issuer.url(Issuer::REGISTER));
    }
    without_empty_lists(document)
}

pub(super) fn without_empty_lists(document: Value) -> Value {
    match document {
        Value::Object(members) => {
            let kept: Map<String, Value> =
                members.into_iter().filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty())).collect();
            Value::Object(kept)
        }
        other => other,
    }
}
