//! What a client may say about itself, when nobody vouches for it.

use serde_json::{Map, Value};

use super::{ClientMetadata, GrantType, InvalidClientMetadata, malformed};

/// The registration in what a client says about itself: the body of a dynamic registration, or its metadata document.
///
/// Members that are unknown, and those that only the operator may set, are passed over (RFC 7591 section 2); so are grants and response
/// types that are not offered, unless nothing is left. Whatever it says, its tokens are bound.
///
/// Not checked: what [`ClientMetadata::validate`] checks, and where the URIs lead.
///
/// # Errors
/// [`InvalidClientMetadata`] for a member of the wrong type or with a value that is not offered.
pub fn self_described(members: &Map<String, Value>, offered: &[GrantType]) -> Result<ClientMetadata, InvalidClientMetadata> {
    let mut kept = Map::new();
    for &name in MEMBERS {
        let Some(value) = members.get(name).filter(|value| !value.is_null()) else { continue };
        let value = match name {
            "grant_types" => only(value, |text| GrantType::from_name(text).is_some_and(|grant| offered.contains(&grant))),
            "response_types" => only(value, |text| text == "code"),
            _ => Some(value.clone()),
        };
        let Some(value) = value else { return malformed(name, "names nothing that is offered here") };
        let alone = Map::from_iter([(name.to_owned(), value.clone())]);
        if serde_json::from_value::<ClientMetadata>(Value::Object(alone)).is_err() {
            return malformed(name, "has a value that is not accepted");
        }
        kept.insert(name.to_owned(), value);
    }
    serde_json::from_value(Value::Object(kept)).or_else(|_| malformed("client metadata", "can't be read"))
}

/// The strings of a list that pass; `None` where the list had some and none did.
fn only(list: &Value, passes: impl Fn(&str) -> bool) -> Option<Value> {
    let Value::Array(items) = list else { return Some(list.clone()) };
    let kept: Vec<Value> = items.iter().filter(|item| item.as_str().is_none_or(&passes)).cloned().collect();
    if kept.is_empty() && !items.is_empty() { None } else { Some(Value::Array(kept)) }
}

/// Not among them: `client_id` and `client_secret`, which are not the client's to choose, and whatever makes it less bound.
const MEMBERS: &[&str] = &[
    "client_name",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "grant_types",
    "response_types",
    "redirect_uris",
    "scope",
    "jwks",
    "jwks_uri",
    "authorization_details_types",
    "client_uri",
    "logo_uri",
    "require_pushed_authorization_requests",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OFFERED: [GrantType; 2] = [GrantType::AuthorizationCode, GrantType::RefreshToken];

    fn read(value: Value) -> Result<ClientMetadata, InvalidClientMetadata> {
        self_described(value.as_object().unwrap(), &OFFERED)
    }

    #[test]
    fn what_is_unknown_or_not_the_clients_to_say_is_passed_over() {
        let metadata = read(json!({
            "client_id": "chosen", "client_secret": "0123456789abcdef", "dpop_bound_access_tokens": false, "contacts": ["a@b.example"],
            "refresh_token_delivery": "cookie", "bound_subject_without_proof": true, "client_name": "App", "scope": null,
            "grant_types": ["authorization_code", "implicit", "client_credentials"], "response_types": ["code", "token"],
        }))
        .unwrap();
        assert_eq!(metadata.client_name.as_deref(), Some("App"));
        assert_eq!(metadata.grant_types, Some(vec![GrantType::AuthorizationCode]));
        assert_eq!(metadata.response_types, Some(vec!["code".to_owned()]));
        assert!(metadata.client_id.is_none() && metadata.client_secret.is_none() && metadata.bound_subject_without_proof.is_none());
        assert!(metadata.dpop_bound_access_tokens.is_none() && metadata.refresh_token_delivery.is_none());
    }

    #[test]
    fn a_refusal_names_the_member() {
        let member = |value: Value| read(value).unwrap_err().member();
        assert_eq!(member(json!({"grant_types": ["client_credentials"]})), "grant_types");
        assert_eq!(member(json!({"grant_types": "authorization_code"})), "grant_types");
        assert_eq!(member(json!({"response_types": ["token"]})), "response_types");
        assert_eq!(member(json!({"token_endpoint_auth_method": "client_secret_jwt"})), "token_endpoint_auth_method");
        assert_eq!(member(json!({"redirect_uris": [1]})), "redirect_uris");
        assert_eq!(member(json!({"scope": ["a"]})), "scope");
        assert!(read(json!({})).is_ok());
    }
}
