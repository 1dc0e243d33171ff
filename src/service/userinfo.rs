//! Claims about the end user (OpenID Connect Core section 5.3).

use keybound_proofs::UnixTime;
use serde_json::{Map, Value};

use crate::domain::{Grant, Scope};
use crate::service::AuthorizationServer;
use crate::service::access::{AccessError, PresentedAccess, Scheme};
use crate::service::id_token::PROTOCOL_CLAIMS;
use crate::service::verify_token::{LiveAccessToken, TokenBinding};

/// What the userinfo endpoint answers.
#[derive(Clone, Debug, PartialEq)]
pub struct UserInfo {
    /// `sub` and the claims.
    pub claims: Map<String, Value>,
    /// A nonce to use from now on. Travels in a header.
    pub dpop_nonce: Option<String>,
}

impl AuthorizationServer {
    /// What the scope of a token must hold.
    pub const USERINFO_SCOPE: &'static str = "openid";

    /// Tells the holder of an access token about its end user.
    ///
    /// The audience of the token is not asked: the scope `openid` means this endpoint, whatever other resources the token is for.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn userinfo(&self, presented: PresentedAccess<'_>, now: UnixTime) -> Result<UserInfo, AccessError> {
        let judged = self.judge_access(&presented, Self::USERINFO_SCOPE, now).await?;
        let claims = about(judged.token())?;
        let admitted = self.admit(judged, now).await?;
        Ok(UserInfo { claims, dpop_nonce: admitted.dpop_nonce })
    }
}

fn about(token: &LiveAccessToken) -> Result<Map<String, Value>, AccessError> {
    let grant = token.family().map(|family| &family.grant);
    let has_end_user = grant.map_or(token.sub != token.client_id.as_str(), |grant| grant.sub.is_some());
    if !has_end_user {
        let scheme = if token.binding == TokenBinding::Bearer { Scheme::Bearer } else { Scheme::Dpop };
        return Err(AccessError::Token { scheme, problem: "the access token is not about an end user" });
    }
    let mut claims = grant.map(|grant| permitted(grant, &token.scope)).unwrap_or_default();
    claims.insert("sub".to_owned(), Value::from(token.sub.as_str()));
    Ok(claims)
}

/// The claims of a grant that a token with this scope may see.
///
/// A claim that a granted scope stands for goes with that scope: a token that was narrowed not to have it does not show it. Every
/// other claim was given to this grant by name, and belongs to it.
fn permitted(grant: &Grant, scope: &Scope) -> Map<String, Value> {
    let shown = |name: &str| {
        let mut standing = SCOPE_CLAIMS.iter().filter(|(_, claims)| claims.contains(&name)).map(|(scope, _)| *scope);
        !PROTOCOL_CLAIMS.contains(&name) && standing.all(|stands| !grant.scope.contains(stands) || scope.contains(stands))
    };
    grant.claims.iter().filter(|(name, _)| shown(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// OpenID Connect Core section 5.4.
pub const SCOPE_CLAIMS: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(granted: &str, scope: &str) -> Vec<String> {
        let claims =
            json!({"name": "Alice", "email": "alice@example.com", "department": "chess", "iss": "https://evil.example", "sub": "bob"});
        let grant = Grant {
            scope: Scope::parse(granted).expect("a scope"),
            claims: claims.as_object().expect("an object").clone(),
            ..Grant::default()
        };
        let mut names: Vec<String> = permitted(&grant, &Scope::parse(scope).expect("a scope")).keys().cloned().collect();
        names.sort();
        names
    }

    #[test]
    fn a_claim_goes_with_the_scope_that_stands_for_it() {
        assert_eq!(names("openid profile email", "openid profile email"), ["department", "email", "name"]);
        assert_eq!(names("openid profile email", "openid profile"), ["department", "name"]);
        assert_eq!(names("openid profile email", "openid"), ["department"]);
    }

    #[test]
    fn what_was_given_without_a_scope_belongs_to_the_grant() {
        assert_eq!(names("openid", "openid"), ["department", "email", "name"]);
    }
}
