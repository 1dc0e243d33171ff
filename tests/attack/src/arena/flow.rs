//! The authorization code flow.

use super::{Arena, Call, Role, Stage, told};
use crate::halt::{Step, inconclusive, not_applicable};
use crate::jose::{Key, b64, sha256, unique};
use crate::target::Authorized;

impl Arena {
    /// Runs a request to its end in the browser.
    pub(crate) async fn authorize(&self, query: &[(String, String)], redirect_uri: &str) -> Step<Authorized> {
        let (Some(browser), Some(endpoint)) = (self.browser(), &self.endpoints.authorize) else {
            return not_applicable("needs the code flow: --sign-in or --browser");
        };
        let mut url = endpoint.clone();
        url.query_pairs_mut().extend_pairs(query);
        let end = browser.open(&url, redirect_uri).await?;
        self.say(match &end {
            Authorized::Redirected(answer) if answer.contains_key("code") => "the authorization endpoint gives a code".to_owned(),
            Authorized::Redirected(answer) => {
                format!("the authorization endpoint sends back {}", answer.get("error").map_or("neither code nor error", String::as_str))
            }
            Authorized::Page(status) => format!("the authorization endpoint shows a page with status {status}"),
            Authorized::Elsewhere(place) => format!("the authorization endpoint leads to {place}"),
        });
        Ok(end)
    }

    /// Pushes a request without a proof; its name.
    pub(crate) async fn push(&self, request: &AuthorizationRequest) -> Step<String> {
        let call = Call { form: request.parameters.clone(), ..self.call(Stage::Par).await? };
        let answer = self.send(&call, &[]).await?;
        match answer.json()["request_uri"].as_str() {
            Some(name) if answer.status < 300 => Ok(name.to_owned()),
            _ => inconclusive(format!("a good pushed request is refused: {}", told(&Ok(answer)))),
        }
    }

    /// A code for this request, pushed where the server wants that.
    pub(crate) async fn code(&self, request: &AuthorizationRequest) -> Step<String> {
        let query = if self.endpoints.requires_par {
            let name = self.push(request).await?;
            vec![("client_id".to_owned(), self.app()?.id), ("request_uri".to_owned(), name)]
        } else {
            request.parameters.clone()
        };
        let end = self.authorize(&query, &self.options.redirect_uri).await?;
        match end.code() {
            Some(code) => Ok(code.to_owned()),
            None => inconclusive("a good authorization request gives no code"),
        }
    }

    /// An honest token request for a code, without its proof.
    pub(crate) fn redeem(&self, request: &AuthorizationRequest, code: &str, key: &Key) -> Step<Call> {
        Ok(Call {
            stage: Stage::Token,
            method: "POST",
            url: self.endpoints.token.clone(),
            form: vec![
                ("grant_type".to_owned(), "authorization_code".to_owned()),
                ("code".to_owned(), code.to_owned()),
                ("redirect_uri".to_owned(), self.options.redirect_uri.clone()),
                ("code_verifier".to_owned(), request.verifier.clone()),
            ],
            headers: Vec::new(),
            client: Some(self.app()?),
            key: key.clone(),
            role: Role::AuthorizationServer,
            access_token: None,
            shared: false,
            to_peer: false,
            host: None,
        })
    }
}

/// A good authorization request, and the PKCE verifier of it.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) verifier: String,
}

impl AuthorizationRequest {
    pub(crate) fn new(arena: &Arena) -> Step<Self> {
        let verifier = format!("{}{}{}", unique(), unique(), unique());
        let mut parameters = vec![
            ("response_type".to_owned(), "code".to_owned()),
            ("client_id".to_owned(), arena.app()?.id),
            ("redirect_uri".to_owned(), arena.options.redirect_uri.clone()),
            ("scope".to_owned(), arena.options.scope.clone()),
            ("state".to_owned(), unique()),
            ("code_challenge".to_owned(), b64(sha256(&verifier))),
            ("code_challenge_method".to_owned(), "S256".to_owned()),
        ];
        if arena.options.scope.split(' ').any(|scope| scope == "offline_access") {
            // OpenID Connect Core section 11.
            parameters.push(("prompt".to_owned(), "consent".to_owned()));
        }
        Ok(Self { parameters, verifier })
    }

    #[must_use]
    pub(crate) fn set(self, name: &str, value: impl Into<String>) -> Self {
        let mut request = self.without(name);
        request.parameters.push((name.to_owned(), value.into()));
        request
    }

    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(parameter, _)| parameter != name);
        self
    }
}
