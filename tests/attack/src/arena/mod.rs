//! Where attacks take place: honest calls, ready to be spoiled, and what every attack needs.

use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use url::Url;

use crate::clock::now;
use crate::halt::{Step, inconclusive, not_applicable};
use crate::jose::{Draft, Key, b64, redacted, sha256};
use crate::target::{Browser, Client, Endpoints, Options, Session, SessionSource, TokenSource};
use crate::wire::{Request, Response, Wire, WireError};

mod call;
mod flow;
mod needs;

pub(crate) use call::{Call, Need, Role, Stage};
pub(crate) use flow::AuthorizationRequest;

/// The server under attack and what the suite knows of it.
pub(crate) struct Arena {
    pub(crate) options: Options,
    pub(crate) endpoints: Endpoints,
    pub(crate) wire: Wire,
    source: SessionSource,
    nonces: Mutex<(Option<String>, Option<String>)>,
    trail: Mutex<Vec<String>>,
    session: tokio::sync::Mutex<Option<Session>>,
    access: tokio::sync::Mutex<Option<(String, Key, i64)>>,
}

impl Arena {
    pub(crate) fn new(options: Options, endpoints: Endpoints, wire: Wire) -> Self {
        Self {
            source: SessionSource::new(&options.tokens),
            options,
            endpoints,
            wire,
            nonces: Mutex::default(),
            trail: Mutex::default(),
            session: tokio::sync::Mutex::default(),
            access: tokio::sync::Mutex::default(),
        }
    }

    /// The browser for the code flow.
    fn browser(&self) -> Option<Browser> {
        match &self.options.tokens {
            TokenSource::SignIn(user) => Some(Browser::Played(self.wire.clone(), user.clone())),
            TokenSource::Browser => Some(Browser::Person),
            _ => None,
        }
    }

    /// The client that users give grants to.
    pub(crate) fn app(&self) -> Step<Client> {
        self.options.app.clone().map_or_else(|| not_applicable("no client for user grants was given: --app-client-id"), Ok)
    }

    /// The client of `client_credentials`.
    pub(crate) fn machine(&self) -> Step<Client> {
        self.options.machine.clone().map_or_else(|| not_applicable("no client for client_credentials was given"), Ok)
    }

    /// Where access tokens are used.
    pub(crate) fn resource_url(&self) -> Option<Url> {
        self.options.resource.clone().or_else(|| self.endpoints.userinfo.clone())
    }

    /// The stage that takes proofs for nothing.
    pub(crate) fn any(&self) -> Stage {
        if self.needs(Need::Machine).is_ok() { Stage::Token } else { Stage::Refresh }
    }

    /// An honest call without its proof.
    pub(crate) fn call(&self, stage: Stage) -> Pin<Box<dyn Future<Output = Step<Call>> + Send + '_>> {
        // Boxed, since a session may need a pushed request, which is a call.
        Box::pin(self.honest_call(stage))
    }

    async fn honest_call(&self, stage: Stage) -> Step<Call> {
        let form = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let call = |stage, url: &Url| Call {
            stage,
            method: "POST",
            url: url.clone(),
            form: Vec::new(),
            headers: Vec::new(),
            client: None,
            key: Key::es256(),
            role: Role::AuthorizationServer,
            access_token: None,
            shared: false,
            to_peer: false,
            host: None,
        };
        match stage {
            Stage::Any => self.call(self.any()).await,
            Stage::Token => {
                self.needs(Need::Machine)?;
                let call = Call { form: form(&[("grant_type", "client_credentials")]), ..call(stage, &self.endpoints.token) };
                let call = call.client(Some(self.machine()?));
                Ok(if self.options.machine_scope.is_empty() { call } else { call.set("scope", &self.options.machine_scope) })
            }
            Stage::Refresh => {
                let session = self.shared_session().await?;
                Ok(Call { shared: true, ..self.refresh(&session)? })
            }
            Stage::Par => {
                self.needs(Need::Par)?;
                let Some(url) = &self.endpoints.par else { return not_applicable("the server has no pushed authorization requests") };
                let request = AuthorizationRequest::new(self)?;
                Ok(Call { form: request.parameters, client: Some(self.app()?), ..call(stage, url) })
            }
            Stage::Resource => {
                self.needs(Need::Resource)?;
                let (token, key) = self.access_token().await?;
                let Some(url) = self.resource_url() else { return not_applicable("no resource") };
                Ok(self.resource_call(&url, &token, &key))
            }
        }
    }

    /// An honest refresh of this session, without its proof.
    pub(crate) fn refresh(&self, session: &Session) -> Step<Call> {
        Ok(Call {
            stage: Stage::Refresh,
            method: "POST",
            url: self.endpoints.token.clone(),
            form: vec![("grant_type".to_owned(), "refresh_token".to_owned()), ("refresh_token".to_owned(), session.refresh_token.clone())],
            headers: Vec::new(),
            client: Some(self.app()?),
            key: session.key.clone(),
            role: Role::AuthorizationServer,
            access_token: None,
            shared: false,
            to_peer: false,
            host: None,
        })
    }

    /// An honest call of a protected resource, without its proof.
    pub(crate) fn resource_call(&self, url: &Url, token: &str, key: &Key) -> Call {
        Call {
            stage: Stage::Resource,
            method: "GET",
            url: url.clone(),
            form: Vec::new(),
            headers: vec![("Authorization".to_owned(), format!("DPoP {token}").into_bytes())],
            client: None,
            key: key.clone(),
            // Userinfo belongs to the server whose nonces the suite knows; what it says in its answers goes first.
            role: Role::ResourceServer,
            access_token: Some(token.to_owned()),
            shared: false,
            to_peer: false,
            host: None,
        }
    }

    /// A good proof for a call, not signed yet: with the nonce that was handed out last, where one was.
    pub(crate) fn draft(&self, call: &Call) -> Draft {
        let mut htu = call.url.clone();
        htu.set_query(None);
        htu.set_fragment(None);
        let mut draft = Draft::new(&call.key, call.method, htu.as_str(), now());
        if let Some(token) = &call.access_token {
            draft = draft.claim("ath", b64(sha256(token)));
        }
        match self.nonce(call.role) {
            Some(nonce) => draft.claim("nonce", nonce),
            None => draft,
        }
    }

    /// The nonce that was handed out last.
    pub(crate) fn nonce(&self, role: Role) -> Option<String> {
        let nonces = self.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if role == Role::AuthorizationServer { nonces.0.clone() } else { nonces.1.clone() }
    }

    fn keep_nonce(&self, role: Role, answer: &Response) {
        if let Some(nonce) = answer.header("DPoP-Nonce") {
            let mut nonces = self.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *(if role == Role::AuthorizationServer { &mut nonces.0 } else { &mut nonces.1 }) = Some(nonce.to_owned());
        }
    }

    /// The request of a call with these `DPoP` header lines.
    pub(crate) fn request(&self, call: &Call, proofs: &[Vec<u8>]) -> Request {
        let (mut form, mut headers) = (call.form.clone(), call.headers.clone());
        if let Some(client) = &call.client {
            client.authenticate(&self.endpoints.issuer, &mut form, &mut headers);
        }
        let mut request = Request::new(call.method, &call.url);
        request.to_peer = call.to_peer;
        request.host.clone_from(&call.host);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        for proof in proofs {
            request = request.header("DPoP", proof);
        }
        if call.method == "GET" || (form.is_empty() && call.stage == Stage::Resource) {
            return request;
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        request.body("application/x-www-form-urlencoded", body)
    }

    /// Sends a call with these proofs.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) async fn try_send(&self, call: &Call, proofs: &[Vec<u8>]) -> Result<Response, WireError> {
        let mut answer = self.wire.send(&self.request(call, proofs)).await;
        self.note(call, proofs.len(), &answer);
        // "Not now" is no answer yet. An honest client comes again, with the same proof: nothing was judged.
        for _ in 0..2 {
            let again = answer.as_ref().ok().filter(|answer| answer.status == 503).and_then(|answer| answer.header("Retry-After"));
            let Some(seconds) = again.and_then(|text| text.parse::<u64>().ok()).filter(|seconds| *seconds <= 2) else { break };
            tokio::time::sleep(Duration::from_millis(seconds * 1000 + 100)).await;
            answer = self.wire.send(&self.request(call, proofs)).await;
            self.note(call, proofs.len(), &answer);
        }
        if let Ok(answer) = &answer {
            self.keep_nonce(call.role, answer);
            if call.shared && answer.status == 200 {
                self.keep_shared(answer).await;
            }
        }
        answer
    }

    async fn keep_shared(&self, answer: &Response) {
        let mut shared = self.session.lock().await;
        // A server that does not rotate sends none.
        if let (Some(token), Some(session)) = (answer.refresh_token(), &mut *shared) {
            session.refresh_token = token;
        }
    }

    /// Like [`Arena::try_send`], where no answer says nothing.
    pub(crate) async fn send(&self, call: &Call, proofs: &[Vec<u8>]) -> Step<Response> {
        Ok(self.try_send(call, proofs).await?)
    }

    /// Sends a call with the proof that `forge` makes of a good one, and once more where a nonce is asked for.
    pub(crate) async fn send_draft(&self, call: &Call, forge: impl Fn(Draft) -> Draft) -> Step<Response> {
        let mut answer = self.send(call, &[forge(self.draft(call)).sign().into_bytes()]).await?;
        if answer.wants_nonce() {
            answer = self.send(call, &[forge(self.draft(call)).sign().into_bytes()]).await?;
        }
        Ok(answer)
    }

    /// Sends a call honestly.
    pub(crate) async fn send_honest(&self, call: &Call) -> Step<Response> {
        self.send_draft(call, |draft| draft).await
    }

    /// Sends many requests at one moment.
    pub(crate) async fn volley(&self, what: &str, requests: Vec<Request>) -> Vec<Result<Response, WireError>> {
        let answers = self.wire.volley(requests).await;
        let mut tally: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        for answer in &answers {
            *tally.entry(told(answer)).or_default() += 1;
        }
        let tally: Vec<String> = tally.iter().map(|(what, count)| format!("{count} x {what}")).collect();
        self.say(format!("{what}, {} at one moment: {}", answers.len(), tally.join(", ")));
        answers
    }

    fn note(&self, call: &Call, proofs: usize, answer: &Result<Response, WireError>) {
        let peer = if call.to_peer { " at the second node" } else { "" };
        self.say(format!("{} {}{peer} with {proofs} proof(s): {}", call.method, call.url.path(), told(answer)));
    }

    /// Adds a line to what was done in this attack.
    pub(crate) fn say(&self, line: String) {
        let mut trail = self.trail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if trail.len() < MAX_TRAIL {
            trail.push(line);
        }
    }

    /// What was done since the last time, forgotten now.
    pub(crate) fn take_trail(&self) -> Vec<String> {
        std::mem::take(&mut *self.trail.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A new session for this attack alone.
    pub(crate) async fn session(&self) -> Step<Session> {
        self.needs(Need::Session)?;
        let app = self.app()?;
        let key = Key::es256();
        if let Some(session) = self.source.session(&self.wire, &app.id, &self.options.scope, &key).await? {
            return Ok(session);
        }
        let request = AuthorizationRequest::new(self)?;
        let code = self.code(&request).await?;
        let answer = self.send_honest(&self.redeem(&request, &code, &key)?).await?;
        match answer.refresh_token() {
            Some(refresh_token) if answer.status == 200 => Ok(Session { key, refresh_token, grant: None }),
            _ => inconclusive(format!("no refresh token for a good code: {}", told(&Ok(answer)))),
        }
    }

    async fn shared_session(&self) -> Step<Session> {
        if let Some(session) = self.session.lock().await.clone() {
            return Ok(session);
        }
        let session = self.session().await?;
        *self.session.lock().await = Some(session.clone());
        Ok(session)
    }

    /// Drops the session that calls share: an attack may have ended it.
    pub(crate) async fn forget_shared(&self) {
        // The only session is kept: it may live, and there is no other.
        if self.source.is_endless() {
            *self.session.lock().await = None;
            *self.access.lock().await = None;
        }
    }

    /// An access token of a user, not older than a minute, and the key it is bound to.
    pub(crate) async fn access_token(&self) -> Step<(String, Key)> {
        if let Some((token, key, good_until)) = &*self.access.lock().await
            && now() < *good_until
        {
            return Ok((token.clone(), key.clone()));
        }
        let call = self.call(Stage::Refresh).await?;
        let answer = self.send_honest(&call).await?;
        match answer.access_token() {
            Some(token) if answer.status == 200 => {
                let lifetime = answer.json()["expires_in"].as_i64().unwrap_or(60);
                *self.access.lock().await = Some((token.clone(), call.key.clone(), now() + (lifetime / 2).min(60)));
                Ok((token, call.key))
            }
            _ => inconclusive(format!("no access token for an honest refresh: {}", told(&Ok(answer)))),
        }
    }

    /// Ends a grant from the operator's side.
    pub(crate) async fn end_grant(&self, session: &Session) -> Step<()> {
        match &session.grant {
            Some(grant) => {
                self.source.revoke(&self.wire, grant).await?;
                self.say("the operator ends the grant".to_owned());
                Ok(())
            }
            None => self.revoke(&session.refresh_token).await,
        }
    }

    /// Revokes a token as the client (RFC 7009).
    pub(crate) async fn revoke(&self, token: &str) -> Step<()> {
        self.needs(Need::Revocation)?;
        let Some(url) = &self.endpoints.revocation else { return not_applicable("the server has no revocation endpoint") };
        let app = self.app()?;
        let (mut form, mut request) = (vec![("token".to_owned(), token.to_owned())], Request::new("POST", url));
        let mut headers = Vec::new();
        app.authenticate(&self.endpoints.issuer, &mut form, &mut headers);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let answer = self.wire.send(&request.body("application/x-www-form-urlencoded", body)).await?;
        self.say(format!("POST {}: {}", url.path(), answer.status));
        if answer.status == 200 { Ok(()) } else { inconclusive(format!("the revocation endpoint answers {}", answer.status)) }
    }

    /// Restarts the server and waits for it.
    pub(crate) async fn restart(&self) -> Step<()> {
        let Some(restart) = &self.options.restart else {
            return not_applicable("no way to restart the server was given: --restart-command");
        };
        self.say("the server is restarted".to_owned());
        match restart.restart().await {
            Ok(()) => Ok(()),
            Err(why) => inconclusive(format!("the server was not restarted: {why}")),
        }
    }
}

/// An answer in a few words, without anything secret.
pub(crate) fn told(answer: &Result<Response, WireError>) -> String {
    match answer {
        Err(error) => error.to_string(),
        Ok(answer) => {
            let mut words = answer.status.to_string();
            if let Some(error) = answer.error() {
                words.push(' ');
                words.extend(error.chars().filter(char::is_ascii_graphic).take(48));
            }
            if let Some(token) = answer.access_token() {
                words.push_str(&format!(" with access token #{}", redacted(&token)));
            }
            if let Some(token) = answer.refresh_token() {
                words.push_str(&format!(" and refresh token #{}", redacted(&token)));
            }
            words
        }
    }
}

const MAX_TRAIL: usize = 60;
