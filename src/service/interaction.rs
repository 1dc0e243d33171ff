//! Sign-ins under way: what a login application is told, and the two answers it can give.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::OsEntropy;
use crate::domain::authorization::AuthorizationRequest;
use crate::domain::{AuthorizationDetails, Client, DetailsTypes, Grant, Scope};
use crate::service::AuthorizationServer;
use crate::service::handle::{Kept, new_handle, to_bytes};
use crate::store::{EphemeralKind, EphemeralName, StoreError, Swapped};

/// A sign-in that waits for its answer.
#[derive(Clone, Debug)]
pub struct OpenInteraction {
    /// What the client asked for.
    pub request: AuthorizationRequest,
    /// The client.
    pub client: Arc<Client>,
    /// Until when it can be answered.
    pub expires: UnixTime,
}

/// The resource owner signed in and agreed.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// Who it is: 1 to 255 bytes.
    pub sub: String,
    /// What they agreed to; all that was asked for, where it is left out.
    pub scope: Option<Scope>,
    /// What they agreed to; all that was asked for, where it is left out.
    pub authorization_details: Option<AuthorizationDetails>,
    /// What is said about them.
    pub claims: Map<String, Value>,
    /// When they signed in, in seconds since 1970. Needed where the request asks for it.
    pub auth_time: Option<i64>,
    /// How they signed in.
    pub acr: Option<String>,
}

/// The resource owner did not sign in or did not agree.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// An error code: 1 to 64 of `a` to `z`, `0` to `9` and `_`.
    pub error: String,
    /// Why: at most 512 bytes of ASCII without quotes and backslashes.
    pub error_description: Option<String>,
}

/// Why an interaction can't be shown or answered.
#[derive(Debug, thiserror::Error)]
pub enum InteractionError {
    /// There is none with this name, or not any more.
    #[error("no interaction has this id, or it is over")]
    Unknown,
    /// It was answered before.
    #[error("the interaction was answered before")]
    Answered,
    /// The pushed request that it began with was used up by another one.
    #[error("the pushed request was used up by another interaction")]
    UsedUp,
    /// The answer is malformed or goes beyond what was asked.
    #[error("{0}")]
    Unfit(&'static str),
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An interaction as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InteractionRecord {
    /// It waits.
    Open {
        request: Box<AuthorizationRequest>,
        /// The digest that names the pushed request it began with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pushed: Option<[u8; 16]>,
        expires_ms: i64,
    },
    /// It was answered, by the call that made up this name.
    Answered { by: String },
}

/// An open interaction, ready to be answered.
struct Waiting {
    kept: Kept<InteractionRecord>,
    request: AuthorizationRequest,
    pushed: Option<EphemeralName>,
    expires: UnixTime,
}

impl AuthorizationServer {
    /// How long a sign-in may take.
    pub const INTERACTION_LIFETIME: Duration = Duration::from_secs(600);

    /// Stores a new interaction and names it.
    pub(super) async fn open_interaction(
        &self,
        request: AuthorizationRequest,
        pushed: Option<EphemeralName>,
        now: UnixTime,
    ) -> Result<String, StoreError> {
        let handle = new_handle(&mut OsEntropy);
        let expires_ms = now.plus(Self::INTERACTION_LIFETIME).as_millis();
        let pushed = pushed.map(|name| name.digest);
        let record = InteractionRecord::Open { request: Box::new(request), pushed, expires_ms };
        let name = EphemeralName::of(EphemeralKind::Interaction, &handle);
        self.ephemerals.keep(&name, &to_bytes(&record), Self::INTERACTION_LIFETIME, now).await?;
        Ok(handle)
    }

    /// The interaction of this name, for the page that shows it.
    ///
    /// # Errors
    /// [`InteractionError`].
    pub async fn interaction(&self, handle: &str, now: UnixTime) -> Result<OpenInteraction, InteractionError> {
        let Waiting { request, expires, .. } = self.waiting(handle, now).await?;
        let client = self.clients.find(&request.client_id).await?.ok_or(InteractionError::Unknown)?;
        Ok(OpenInteraction { request, client, expires })
    }

    /// Answers with a code; returns where the browser goes. Never wider than what was asked, and once only.
    ///
    /// # Errors
    /// [`InteractionError`].
    pub async fn accept(&self, handle: &str, accepted: Acceptance, now: UnixTime) -> Result<String, InteractionError> {
        let waiting = self.waiting(handle, now).await?;
        let grant = judge_acceptance(&waiting.request, accepted, &self.details_types, now)?;
        // A code that nobody is told can't be used: what fails below leaves no trace that matters.
        let code = self.keep_code(&waiting.request, grant, now).await?;
        self.answer(&waiting, now).await?;
        let AuthorizationRequest { redirect_uri, state, .. } = &waiting.request;
        Ok(self.answer_at_client(redirect_uri, &[("code", &code)], state.as_deref()))
    }

    /// Answers with an error; returns where the browser goes.
    ///
    /// # Errors
    /// [`InteractionError`].
    pub async fn reject(&self, handle: &str, rejected: Rejection, now: UnixTime) -> Result<String, InteractionError> {
        let waiting = self.waiting(handle, now).await?;
        let code_is_good =
            (1..=64).contains(&rejected.error.len()) && rejected.error.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let description = rejected.error_description.as_deref();
        let legal = |text: &str| text.len() <= 512 && text.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if !code_is_good || !description.is_none_or(legal) {
            return Err(InteractionError::Unfit("error and error_description must have the characters that RFC 6749 allows"));
        }
        self.answer(&waiting, now).await?;
        let mut parameters = vec![("error", rejected.error.as_str())];
        parameters.extend(description.map(|text| ("error_description", text)));
        let AuthorizationRequest { redirect_uri, state, .. } = &waiting.request;
        Ok(self.answer_at_client(redirect_uri, &parameters, state.as_deref()))
    }

    async fn waiting(&self, handle: &str, now: UnixTime) -> Result<Waiting, InteractionError> {
        let kept = self.peek::<InteractionRecord>(EphemeralKind::Interaction, handle, now).await?.ok_or(InteractionError::Unknown)?;
        match &kept.record {
            InteractionRecord::Answered { .. } => Err(InteractionError::Answered),
            InteractionRecord::Open { expires_ms, .. } if now.as_millis() >= *expires_ms => Err(InteractionError::Unknown),
            InteractionRecord::Open { request, pushed, expires_ms } => {
                let request = AuthorizationRequest::clone(request);
                let pushed = pushed.map(|digest| EphemeralName { kind: EphemeralKind::PushedRequest, digest });
                let expires = UnixTime::from_millis(*expires_ms);
                Ok(Waiting { request, pushed, expires, kept })
            }
        }
    }

    /// Uses up the pushed request, then the interaction. The first step can be repeated by the same interaction, so that a failure in
    /// between costs nothing.
    async fn answer(&self, waiting: &Waiting, now: UnixTime) -> Result<(), InteractionError> {
        if let Some(pushed) = waiting.pushed {
            let own = URL_SAFE_NO_PAD.encode(waiting.kept.name.digest);
            if !self.use_up(pushed, &own, now).await? {
                return Err(InteractionError::UsedUp);
            }
        }
        let answered = to_bytes(&InteractionRecord::Answered { by: new_handle(&mut OsEntropy) });
        match self.move_on(&waiting.kept, &answered, Self::INTERACTION_LIFETIME, now).await? {
            Swapped::Done => Ok(()),
            Swapped::Other(_) => Err(InteractionError::Answered),
            Swapped::Gone => Err(InteractionError::Unknown),
        }
    }
}

fn judge_acceptance(
    request: &AuthorizationRequest,
    accepted: Acceptance,
    types: &DetailsTypes,
    now: UnixTime,
) -> Result<Grant, InteractionError> {
    let unfit = |why| Err(InteractionError::Unfit(why));
    let sub = accepted.sub;
    if sub.is_empty() || sub.len() > 255 || sub.chars().any(char::is_control) {
        return unfit("sub must be 1 to 255 bytes without control characters");
    }
    let scope = accepted.scope.unwrap_or_else(|| request.scope.clone());
    if !scope.is_subset(&request.scope) {
        return unfit("scope goes beyond what the client asked for");
    }
    let asked = &request.authorization_details;
    let authorization_details = match accepted.authorization_details {
        None => asked.clone(),
        Some(agreed) => match types.narrow(&agreed, asked) {
            Ok(narrowed) => narrowed,
            Err(_) => return unfit("authorization_details goes beyond what the client asked for"),
        },
    };
    let latest = now.plus(CLOCK_SKEW).as_secs();
    match (accepted.auth_time, request.max_age) {
        (None, _) if request.needs_auth_time() => return unfit("auth_time is needed, because the client asked for it"),
        (Some(auth_time), _) if auth_time > latest => return unfit("auth_time lies in the future"),
        (Some(auth_time), Some(max_age)) if auth_time.saturating_add(i64::from(max_age)) < now.minus(CLOCK_SKEW).as_secs() => {
            return unfit("the sign-in is older than max_age allows");
        }
        _ => {}
    }
    Ok(Grant {
        sub: Some(sub),
        scope,
        authorization_details,
        resource: request.resource.clone(),
        claims: accepted.claims,
        auth_time: accepted.auth_time,
        acr: accepted.acr,
        nonce: request.nonce.clone(),
    })
}

/// The clocks of the login application and of this server may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(10);
