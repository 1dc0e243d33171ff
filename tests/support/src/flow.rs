//! A client's side of the token endpoints: sessions, calls and what is expected of every answer.

use serde_json::{Map, Value, json};

use crate::http::{Connection, Request, Response, escape, form};
use crate::jose::{self, Key, b64, random};
use crate::proof::Proof;
use crate::service::{SECRET, Service, signer_key};
use crate::time;

/// The endpoints that take a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `POST /oauth/refresh`.
    Refresh,
    /// `POST /oauth/token`.
    Token,
    /// `POST /oauth/par`.
    Par,
}

impl Endpoint {
    /// Those that take a refresh token.
    pub const ALL: [Self; 2] = [Self::Refresh, Self::Token];

    /// The path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Refresh => "/oauth/refresh",
            Self::Token => "/oauth/token",
            Self::Par => "/oauth/par",
        }
    }

    /// The status of `invalid_grant`.
    pub fn invalid_grant_status(self) -> u16 {
        match self {
            Self::Refresh => 401,
            Self::Token | Self::Par => 400,
        }
    }
}

/// How a client shows who it is.
#[derive(Clone, Debug)]
pub enum ClientLogin {
    /// By its `client_id` alone.
    Public,
    /// `Authorization: Basic`.
    Basic(String),
    /// `client_secret` in the body.
    Post(String),
    /// `client_assertion`, signed with this key.
    Assertion(Key),
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// How it shows who it is.
    pub login: ClientLogin,
}

impl Client {
    /// One of the clients in the configuration of every test service.
    pub fn known(id: &str) -> Self {
        let login = match id {
            "web" | "other-web" | "odd: id+%41" | "bearer-web" | "no-machine" | "machine" => ClientLogin::Basic(SECRET.to_owned()),
            "poster" => ClientLogin::Post(SECRET.to_owned()),
            "signer" => ClientLogin::Assertion(signer_key()),
            _ => ClientLogin::Public,
        };
        Self { id: id.to_owned(), login }
    }

    /// Whether it has no credentials.
    pub fn is_public(&self) -> bool {
        matches!(self.login, ClientLogin::Public)
    }

    /// The value of `Authorization` for this client with `secret`: both halves form-encoded (RFC 6749 section 2.3.1).
    pub fn basic(&self, secret: &str) -> String {
        use base64::Engine as _;
        let pair = format!("{}:{}", escape(&self.id), escape(secret));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    /// The claims of a good client assertion: for the issuer alone, one minute long.
    pub fn assertion_claims(&self, issuer: &str) -> Value {
        let now = time::now();
        json!({"iss": self.id, "sub": self.id, "aud": issuer, "jti": b64(random::<16>()), "iat": now, "exp": now + 60})
    }

    /// A call of `/oauth/token` for the client's own access token, with a fresh proof of `key`.
    pub fn credentials_call(&self, key: &Key, issuer: &str) -> Call {
        let mut call = Call::new(Endpoint::Token, issuer).set("grant_type", "client_credentials");
        call = call.login(self);
        call.prove(key)
    }
}

/// A signed client assertion with these claims.
pub fn assertion(key: &Key, claims: &Value) -> String {
    key.jws(&json!({"alg": key.alg(), "typ": "client-authentication+jwt"}), claims)
}

/// The value of `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A grant and what its client holds.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client.
    pub client: Client,
    /// The key of its proofs.
    pub key: Key,
    /// The issuer, for `htu` and `aud`.
    pub issuer: String,
    /// The refresh token it got last.
    pub refresh_token: String,
    /// The name of the grant.
    pub grant_id: String,
}

impl Session {
    /// A good call with the newest refresh token and a fresh proof.
    pub fn call(&self, endpoint: Endpoint) -> Call {
        self.call_with(endpoint, &self.refresh_token)
    }

    /// A good call of `/oauth/refresh`.
    pub fn refresh(&self) -> Call {
        self.call(Endpoint::Refresh)
    }

    /// A good call with this refresh token and a fresh proof.
    pub fn call_with(&self, endpoint: Endpoint, refresh_token: &str) -> Call {
        let mut call = Call::new(endpoint, &self.issuer).set("refresh_token", refresh_token);
        if endpoint == Endpoint::Token {
            call = call.set("grant_type", "refresh_token");
        }
        call.login(&self.client).prove(&self.key)
    }

    /// A good proof for `endpoint`, to be changed and signed.
    pub fn proof(&self, endpoint: Endpoint) -> Proof {
        Proof::new(&self.key, "POST", &format!("{}{}", self.issuer, endpoint.path()))
    }

    /// Refreshes, keeps the new refresh token and returns the answer's members.
    pub async fn rotate(&mut self, service: &Service) -> Value {
        let tokens = self.refresh().send(service).await.tokens();
        self.keep(&tokens);
        tokens
    }

    /// Keeps the refresh token of an answer.
    ///
    /// # Panics
    /// Where there is none.
    pub fn keep(&mut self, tokens: &Value) {
        tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token in {tokens}")).clone_into(&mut self.refresh_token);
    }
}

/// One call of a token endpoint, before it is sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it goes.
    pub endpoint: Endpoint,
    issuer: String,
    parameters: Vec<(String, Value)>,
    proofs: Vec<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    query: String,
    json: bool,
}

impl Call {
    /// An empty call.
    pub fn new(endpoint: Endpoint, issuer: &str) -> Self {
        Self {
            endpoint,
            issuer: issuer.to_owned(),
            parameters: Vec::new(),
            proofs: Vec::new(),
            headers: Vec::new(),
            query: String::new(),
            json: false,
        }
    }

    /// Sets a parameter.
    #[must_use]
    pub fn set(self, name: &str, value: impl Into<Value>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a parameter, whether it is there already or not.
    #[must_use]
    pub fn add(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// Removes a parameter.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(parameter, _)| parameter != name);
        self
    }

    /// Sends this value as the only proof.
    #[must_use]
    pub fn proof(self, proof: impl AsRef<[u8]>) -> Self {
        self.without_proof().and_proof(proof)
    }

    /// Adds a `DPoP` header line.
    #[must_use]
    pub fn and_proof(mut self, proof: impl AsRef<[u8]>) -> Self {
        self.proofs.push(proof.as_ref().to_vec());
        self
    }

    /// Sends no proof.
    #[must_use]
    pub fn without_proof(mut self) -> Self {
        self.proofs.clear();
        self
    }

    /// Sends a fresh proof of `key`.
    #[must_use]
    pub fn prove(self, key: &Key) -> Self {
        let proof = self.fresh_proof(key).sign(key);
        self.proof(proof)
    }

    /// Sends a fresh proof of `key` that carries `nonce`.
    #[must_use]
    pub fn prove_with_nonce(self, key: &Key, nonce: &str) -> Self {
        let proof = self.fresh_proof(key).nonce(nonce).sign(key);
        self.proof(proof)
    }

    /// A good proof for this call, not signed yet.
    pub fn fresh_proof(&self, key: &Key) -> Proof {
        Proof::new(key, "POST", &format!("{}{}", self.issuer, self.endpoint.path()))
    }

    /// The proof that is sent.
    ///
    /// # Panics
    /// Where none is.
    pub fn sent_proof(&self) -> String {
        String::from_utf8(self.proofs.first().expect("a proof").clone()).expect("an ASCII proof")
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Removes a header.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(line, _)| !line.eq_ignore_ascii_case(name));
        self
    }

    /// Adds a query string.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Sends the parameters as a JSON object.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.json = true;
        self
    }

    /// Shows who the client is.
    #[must_use]
    pub fn login(self, client: &Client) -> Self {
        match &client.login {
            ClientLogin::Public => self.set("client_id", client.id.as_str()),
            ClientLogin::Basic(secret) => self.without_header("Authorization").header("Authorization", client.basic(secret)),
            ClientLogin::Post(secret) => self.set("client_id", client.id.as_str()).set("client_secret", secret.as_str()),
            ClientLogin::Assertion(key) => {
                let claims = client.assertion_claims(&self.issuer);
                self.assertion(&assertion(key, &claims))
            }
        }
    }

    /// Sends this client assertion.
    #[must_use]
    pub fn assertion(self, assertion: &str) -> Self {
        self.set("client_assertion_type", ASSERTION_TYPE).set("client_assertion", assertion)
    }

    /// The request as it goes on the wire.
    pub fn request(&self) -> Request {
        // The routes lie below the path of the issuer.
        let issuer_path =
            self.issuer.split_once("://").and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..])).unwrap_or_default();
        let mut request = Request::new("POST", &format!("{issuer_path}{}{}", self.endpoint.path(), self.query));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for proof in &self.proofs {
            request = request.header("DPoP", proof);
        }
        if self.json {
            let members: Map<String, Value> = self.parameters.iter().cloned().collect();
            request.json(&Value::Object(members))
        } else {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let parameters: Vec<(&str, String)> = self.parameters.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
            request.body("application/x-www-form-urlencoded", form(&parameters))
        }
    }

    /// Sends the call on a connection of its own.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn send(&self, service: &Service) -> Answer {
        self.answer(service.send(&self.request()).await)
    }

    /// Sends the call on this connection.
    ///
    /// # Errors
    /// Where the connection fails.
    pub async fn send_on(&self, connection: &mut Connection) -> std::io::Result<Answer> {
        Ok(self.answer(connection.send(&self.request()).await?))
    }

    fn answer(&self, response: Response) -> Answer {
        let state = self.parameters.iter().find(|(name, _)| name == "state").and_then(|(_, value)| value.as_str().map(str::to_owned));
        Answer { endpoint: self.endpoint, issuer: self.issuer.clone(), state, response }
    }
}

/// The answer to a call, with what is needed to judge it.
#[derive(Clone, Debug)]
pub struct Answer {
    endpoint: Endpoint,
    issuer: String,
    state: Option<String>,
    /// The answer itself.
    pub response: Response,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The members of a success answer, after checking what every success answer must have: flat JSON that no cache keeps,
    /// an access token, and the three members that tell whether it is bound agreeing with each other.
    ///
    /// # Panics
    /// Where any of that is missing.
    pub fn tokens(&self) -> Value {
        let response = &self.response;
        assert_eq!(response.status, 200, "{response}");
        self.check_headers();
        let tokens = response.json();
        assert!(tokens["access_token"].is_string(), "{tokens}");
        assert!(tokens["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{tokens}");
        assert!(tokens["scope"].is_string(), "{tokens}");
        let bound = tokens["dpop_access_token_bound"].as_bool().unwrap_or_else(|| panic!("no dpop_access_token_bound in {tokens}"));
        assert_eq!(tokens["token_type"], if bound { "DPoP" } else { "Bearer" }, "{tokens}");
        assert_eq!(tokens.get("dpop_signing_alg").is_some(), bound, "{tokens}");
        let (_, claims, _, _) = jose::split(tokens["access_token"].as_str().unwrap_or_default());
        assert_eq!(claims["cnf"]["jkt"].is_string(), bound, "{claims}");
        for wrapper in ["code", "message", "data", "error"] {
            assert!(tokens.get(wrapper).is_none(), "{tokens}");
        }
        tokens
    }

    /// The members of an error answer, after checking what every error answer must have.
    ///
    /// # Panics
    /// Where the status or the code is another, or the shape is wrong.
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let response = &self.response;
        assert_eq!(response.status, status, "{response}");
        self.check_headers();
        let error = response.json();
        assert_eq!(error["error"], code, "{response}");
        let description = error["error_description"].as_str().unwrap_or_else(|| panic!("no error_description: {response}"));
        let legal = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!description.is_empty() && description.bytes().all(legal), "{description:?}");
        assert_eq!(error["error_uri"], format!("{}/errors/{code}", self.issuer), "{response}");
        assert_eq!(error.get("state").and_then(Value::as_str), self.state.as_deref(), "state is echoed iff it was sent: {response}");
        for name in error.as_object().into_iter().flat_map(Map::keys) {
            assert!(["error", "error_description", "error_uri", "state"].contains(&name.as_str()), "{name} in {response}");
        }
        let nonce = response.header("DPoP-Nonce");
        assert_eq!(nonce.is_some(), code == "use_dpop_nonce", "DPoP-Nonce comes with use_dpop_nonce and no other error: {response}");
        let challenge = response.header("WWW-Authenticate");
        match (status, code) {
            (401, "invalid_grant") => {
                let challenge = challenge.unwrap_or_else(|| panic!("no challenge: {response}"));
                assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\""), "{challenge}");
            }
            (401, "invalid_client") => {}
            _ => assert_eq!(challenge, None, "{response}"),
        }
        error
    }

    /// `invalid_dpop_proof`.
    ///
    /// # Panics
    /// Where it is anything else.
    pub fn invalid_proof(&self) -> Value {
        self.refused(400, "invalid_dpop_proof")
    }

    /// `invalid_grant`, with the status of the endpoint.
    ///
    /// # Panics
    /// Where it is anything else.
    pub fn invalid_grant(&self) -> Value {
        self.refused(self.endpoint.invalid_grant_status(), "invalid_grant")
    }

    /// `use_dpop_nonce`; returns the nonce.
    ///
    /// # Panics
    /// Where it is anything else, or the nonce has characters that a nonce may not have.
    pub fn nonce_challenge(&self) -> String {
        self.refused(400, "use_dpop_nonce");
        let nonce = self.response.header("DPoP-Nonce").unwrap_or_default().to_owned();
        assert!(!nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{nonce:?}");
        nonce
    }

    fn check_headers(&self) {
        let response = &self.response;
        let content_type = response.header("Content-Type").unwrap_or_default().to_lowercase();
        assert!(content_type == "application/json" || content_type == "application/json; charset=utf-8", "{response}");
        assert_eq!(response.header("Cache-Control"), Some("no-store"), "{response}");
        assert_eq!(response.header("Pragma"), Some("no-cache"), "{response}");
    }
}
