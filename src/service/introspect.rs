//! What a resource server may know about a token (RFC 7662, RFC 9701).

use keybound_proofs::UnixTime;
use serde_json::{Map, Value, json};

use crate::domain::resource::Resource;
use crate::domain::{Client, ClientId, Family, FamilyState, Generation, Scope};
use crate::service::access_token::AccessToken;
use crate::service::client_auth::{ClientAuthError, Presented, Reason};
use crate::service::introspectors::Introspectors;
use crate::service::verify_token::{AccessTokenError, LiveAccessToken, TokenBinding};
use crate::service::{AuthorizationServer, TokenError};

/// An introspection request. What kind of token it is about is read from the token; a hint is not needed (RFC 7662 section 2.1).
pub struct IntrospectionRequest<'a> {
    /// Who asks: a resource server under its `id`, or a client about its own tokens.
    pub caller: Presented<'a>,
    /// The token.
    pub token: &'a str,
}

/// What the caller is told.
#[derive(Clone, Debug)]
pub struct Introspection {
    caller: ClientId,
    state: TokenState,
}

/// Whether a token is good, for this caller; if so, the members of the answer (RFC 7662 section 2.2, RFC 9449 section 6.2, RFC 9396
/// section 9.2).
#[derive(Clone, Debug)]
enum TokenState {
    /// Unknown, expired, revoked, or none of the caller's business: not to be told apart.
    Inactive,
    /// An access token, and the audience it has for the caller.
    Access { members: Map<String, Value>, audience: Vec<String> },
    /// A refresh token of the caller.
    Refresh { members: Map<String, Value> },
}

impl AuthorizationServer {
    /// Tells an authenticated caller about a token.
    ///
    /// A resource server learns about access tokens that are for its audience, and of their scope and details what concerns it (INT-06). A client
    /// learns about its own tokens. Whether the caller of the resource server holds the token's key is not checked here: it has
    /// the proof, and `cnf` (CNF-05).
    ///
    /// # Errors
    /// [`TokenError::Client`] for callers that don't authenticate, public clients among them; [`TokenError::AssertionReplayed`];
    /// [`TokenError::Unavailable`] where the store can't tell.
    pub async fn introspect(&self, request: IntrospectionRequest<'_>, now: UnixTime) -> Result<Introspection, TokenError> {
        let introspectors = Introspectors { resources: &self.resource_credentials, clients: &self.clients };
        let used_authorization = request.caller.authorization.is_some();
        let caller = self.authenticate_among(&introspectors, request.caller, now).await?;
        if !caller.is_authenticated() {
            return Err(ClientAuthError::Refused { reason: Reason::NotAuthenticated, used_authorization }.into());
        }
        self.spend_assertion_alone(&caller, now).await?;
        let id = caller.client.id();
        let resource = if introspectors.is_resource(id) { self.resources.by_id(id.as_str()) } else { None };
        let state = match resource {
            Some(resource) => self.state_for_resource(resource, request.token, now).await?,
            None => self.state_for_client(&caller.client, request.token, now).await?,
        };
        Ok(Introspection { caller: id.clone(), state })
    }

    async fn state_for_resource(&self, resource: &Resource, token: &str, now: UnixTime) -> Result<TokenState, TokenError> {
        let Some(token) = self.active_access_token(token, now).await? else { return Ok(TokenState::Inactive) };
        if !token.audience.contains(&resource.audience) {
            return Ok(TokenState::Inactive);
        }
        let scope = self.resources.concerning(resource, &token.scope);
        let audience = vec![resource.audience.clone()];
        let details = self.details_types.for_audience(&token.authorization_details, &audience, &self.resources);
        Ok(TokenState::Access { members: self.about_access_token(&token, &scope, &details), audience })
    }

    async fn state_for_client(&self, client: &Client, token: &str, now: UnixTime) -> Result<TokenState, TokenError> {
        if let Ok((id, generation)) = self.refresh_tokens.read(token) {
            let family = self.families.read(id, now).await?;
            let family = family.filter(|family| family.client_id == *client.id() && gives_tokens(family, generation));
            return Ok(family.map_or(TokenState::Inactive, |family| TokenState::Refresh { members: self.about_refresh_token(&family) }));
        }
        let token = self.active_access_token(token, now).await?.filter(|token| token.client_id == *client.id());
        Ok(token.map_or(TokenState::Inactive, |token| TokenState::Access {
            members: self.about_access_token(&token, &token.scope, &token.authorization_details),
            audience: token.audience.clone(),
        }))
    }

    async fn active_access_token(&self, token: &str, now: UnixTime) -> Result<Option<LiveAccessToken>, TokenError> {
        match self.live_access_token(token, now).await {
            Ok(token) => Ok(Some(token)),
            Err(AccessTokenError::Invalid(_) | AccessTokenError::Ended) => Ok(None),
            Err(AccessTokenError::Store(error)) => Err(error.into()),
        }
    }

    fn about_access_token(&self, token: &LiveAccessToken, scope: &Scope, details: &[Map<String, Value>]) -> Map<String, Value> {
        let cnf = match token.binding {
            TokenBinding::Key(jkt) => Some(json!({ "jkt": jkt.to_string() })),
            TokenBinding::Bearer => None,
        };
        present([
            ("active", Some(true.into())),
            ("token_type", Some(token.binding.token_type().into())),
            ("iss", Some(self.issuer.as_str().into())),
            ("sub", Some(token.sub.as_str().into())),
            ("aud", Some(one_or_many(&token.audience))),
            ("client_id", Some(token.client_id.as_str().into())),
            ("scope", scope_text(scope)),
            ("iat", Some(token.iat.as_secs().into())),
            ("exp", Some(token.exp.as_secs().into())),
            ("jti", Some(token.jti.as_str().into())),
            ("cnf", cnf),
            ("authorization_details", some_details(details)),
            ("auth_time", token.auth_time.map(Value::from)),
            ("acr", token.acr.as_deref().map(Value::from)),
            ("act", token.act.clone().map(Value::from)),
            ("grant_id", token.grant_id.map(|id| id.to_string().into())),
        ])
    }

    fn about_refresh_token(&self, family: &Family) -> Map<String, Value> {
        present([
            ("active", Some(true.into())),
            ("iss", Some(self.issuer.as_str().into())),
            ("sub", family.grant.sub.as_deref().map(Value::from)),
            ("client_id", Some(family.client_id.as_str().into())),
            ("scope", scope_text(&family.grant.scope)),
            ("exp", Some(family.idle_expiry.min(family.absolute_expiry).as_secs().into())),
            ("authorization_details", some_details(&family.grant.authorization_details)),
            ("grant_id", Some(family.id.to_string().into())),
        ])
    }

    /// The answer as a JWT that only serves as an answer (RFC 9701 section 5): its own `typ`, for the caller alone, no `sub` and no
    /// `exp` of its own, so that it can't be taken for an access token (INT-08).
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn sign_introspection(&self, introspection: &Introspection, now: UnixTime) -> Result<String, TokenError> {
        let claims = json!({
            "iss": self.issuer.as_str(),
            "aud": introspection.caller.as_str(),
            "iat": now.as_secs(),
            "token_introspection": introspection.to_json(),
        });
        self.keys.signer().sign(Introspection::TYP, &claims).map_err(|_| TokenError::Signing)
    }

    /// An active access token as a JWT for the caller: the same `jti`, times, subject and key, the audience and the scope of the caller.
    /// `None` for everything else.
    ///
    /// This is for gateways that exchange an opaque token for one that the services behind them can read.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn sign_for_caller(&self, introspection: &Introspection) -> Result<Option<String>, TokenError> {
        let TokenState::Access { members, audience } = &introspection.state else { return Ok(None) };
        let mut claims = members.clone();
        claims.remove("active");
        claims.remove("token_type");
        claims.insert("aud".to_owned(), one_or_many(audience));
        self.keys.signer().sign(AccessToken::TYP, &claims).map(Some).map_err(|_| TokenError::Signing)
    }
}

impl Introspection {
    /// The `typ` of a signed answer (RFC 9701 section 5).
    pub const TYP: &'static str = "token-introspection+jwt";

    /// The answer as a JSON object: exactly `{"active":false}` where there is nothing to tell (INT-02).
    pub fn to_json(&self) -> Map<String, Value> {
        match &self.state {
            TokenState::Inactive => Map::from_iter([("active".to_owned(), Value::Bool(false))]),
            TokenState::Access { members, .. } | TokenState::Refresh { members } => members.clone(),
        }
    }
}

/// Whether a refresh token of this generation would still be answered with tokens: the newest, the one before it (its answer may have
/// been lost), and one that the store has yet to hear of.
fn gives_tokens(family: &Family, presented: Generation) -> bool {
    family.state == FamilyState::Live && presented.next() >= family.generation
}

fn one_or_many(audience: &[String]) -> Value {
    if let [one] = audience { Value::from(one.as_str()) } else { Value::from(audience) }
}

fn scope_text(scope: &Scope) -> Option<Value> {
    (!scope.is_empty()).then(|| scope.to_string().into())
}

fn some_details(details: &[Map<String, Value>]) -> Option<Value> {
    (!details.is_empty()).then(|| details.iter().cloned().collect())
}

fn present<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}
