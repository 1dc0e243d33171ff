//! The authorization endpoint (RFC 6749 section 3.1): a request is judged, and a sign-in begins.

use std::time::Duration;

use keybound_proofs::UnixTime;

use crate::domain::authorization::{AuthorizationRequest, RedirectTarget, Refusal, RefusalCode, RequestParameters};
use crate::domain::{Client, ClientId, redirect_uri};
use crate::service::{AuthorizationServer, Issuer};
use crate::store::{EphemeralName, StoreError};

/// How authorization requests are handled.
#[derive(Clone, Debug)]
pub struct AuthorizationSettings {
    /// Where people sign in.
    pub sign_in: SignIn,
    /// Whether every request must be pushed first.
    pub require_par: bool,
    /// For how long a pushed request can be used; under FAPI 2.0 less than 600 s.
    pub request_uri_lifetime: Duration,
    /// For how long a code can be used; at most 60 s (FAPI 2.0 section 5.3.2.1).
    pub code_lifetime: Duration,
}

/// Where people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// At a login application with this URL.
    Application(String),
    /// At the page of this server, for development on one machine.
    Builtin,
    /// Nowhere: no login application is configured.
    Nowhere,
}

/// Where the browser goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// An absolute URL.
    pub redirect_to: String,
}

/// Why a request can't be answered at a redirect URI: a person is told instead.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// The request names no client, or no redirect URI of it, or a pushed request that is not there.
    #[error(transparent)]
    Page(#[from] Refusal),
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A request whose answers have somewhere to go.
struct Addressed<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
}

impl AuthorizationServer {
    /// Judges an authorization request and begins a sign-in, or answers the client with what is wrong.
    ///
    /// # Errors
    /// [`AuthorizeError`] where nothing may be sent to any redirect URI.
    pub async fn authorize(&self, parameters: RequestParameters, now: UnixTime) -> Result<Onward, AuthorizeError> {
        let page = |why: &'static str| Refusal::new(RefusalCode::InvalidRequest, why);
        let client_id = parameters.client_id.as_deref().ok_or_else(|| page("client_id is missing"))?;
        let client_id = ClientId::new(client_id).map_err(|_| page("client_id is malformed"))?;
        let client = self.clients.find(&client_id).await?.ok_or_else(|| page("no client has this client_id"))?;
        if parameters.request.is_some() && parameters.request_uri.is_some() {
            return Err(page("request and request_uri can not be combined").into());
        }
        if let Some(request_uri) = &parameters.request_uri {
            let gone = || Refusal::new(RefusalCode::InvalidRequestUri, "request_uri is unknown, expired, used up or not this client's");
            let (pushed, request) = self.pushed(request_uri, &client_id, now).await?.ok_or_else(gone)?;
            return self.begin(request, Some(pushed), now).await;
        }
        let parameters = self.unfold(parameters, &client, now).await?;
        let target = parameters.redirect_target(&client, self.fapi2)?;
        let state = parameters.state.clone();
        match self.judge_plain(parameters, &client, target.clone()) {
            Ok(request) => self.begin(request, None, now).await,
            Err(refusal) => {
                let addressed = Addressed { redirect_uri: target.uri(), state: state.as_deref() };
                Ok(self.refusal_at_client(&addressed, &refusal))
            }
        }
    }

    /// Whether the requests of this client must be pushed (RFC 9126 sections 5 and 6).
    pub fn requires_par(&self, client: &Client) -> bool {
        self.requires_par_of_all() || client.require_pushed_authorization_requests() == Some(true)
    }

    /// Whether the requests of all clients must be pushed.
    pub fn requires_par_of_all(&self) -> bool {
        self.fapi2 || self.authorization.require_par
    }

    fn judge_plain(&self, parameters: RequestParameters, client: &Client, target: RedirectTarget) -> Result<AuthorizationRequest, Refusal> {
        if self.requires_par(client) {
            return Err(Refusal::new(RefusalCode::InvalidRequest, "the request must be pushed first, and named by request_uri"));
        }
        parameters.judge(client, target, &self.resources, &self.details_types)
    }

    async fn begin(&self, request: AuthorizationRequest, pushed: Option<EphemeralName>, now: UnixTime) -> Result<Onward, AuthorizeError> {
        let nothing_shown = request.prompt.as_ref().is_some_and(|prompt| prompt.is_none());
        let refusal = match (&self.authorization.sign_in, nothing_shown) {
            (SignIn::Application(_), _) | (SignIn::Builtin, false) => None,
            (SignIn::Builtin, true) => Some(Refusal::new(RefusalCode::LoginRequired, "nobody stays signed in at the built-in page")),
            (SignIn::Nowhere, _) => Some(Refusal::new(RefusalCode::ServerError, "no login application is configured")),
        };
        if let Some(refusal) = refusal {
            let addressed = Addressed { redirect_uri: &request.redirect_uri, state: request.state.as_deref() };
            return Ok(self.refusal_at_client(&addressed, &refusal));
        }
        let interaction = self.open_interaction(request, pushed, now).await?;
        let page = match &self.authorization.sign_in {
            SignIn::Application(url) => url.clone(),
            SignIn::Builtin | SignIn::Nowhere => self.issuer.url(Issuer::SIGN_IN),
        };
        Ok(Onward { redirect_to: redirect_uri::with_parameters(&page, &[("interaction", &interaction)]) })
    }

    fn refusal_at_client(&self, addressed: &Addressed<'_>, refusal: &Refusal) -> Onward {
        let Addressed { redirect_uri, state } = addressed;
        let parameters = [("error", refusal.code.as_str()), ("error_description", &*refusal.description)];
        Onward { redirect_to: self.answer_at_client(redirect_uri, &parameters, *state) }
    }

    /// An authorization response: `iss` is part of every one (RFC 9207 section 2).
    pub(super) fn answer_at_client(&self, redirect_uri: &str, parameters: &[(&str, &str)], state: Option<&str>) -> String {
        let mut all = parameters.to_vec();
        all.extend(state.map(|state| ("state", state)));
        all.push(("iss", self.issuer.as_str()));
        redirect_uri::with_parameters(redirect_uri, &all)
    }
}
