//! A client's side of the authorization code flow, and the login application's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::flow::{Answer, Call, Client, ClientLogin, Endpoint};
use crate::http::{Request, Response, form};
use crate::jose::{Key, b64, random, sha256};
use crate::service::{SECRET, Service, Settings, signer_key};

/// Where the login application is said to be. Nobody is there: the tests answer over the management API.
pub const LOGIN_URL: &str = "https://login.example.test/start";

/// Where the answers for the clients of these tests go.
pub const REDIRECT_URI: &str = "https://app.example.test/cb";

/// A service with a login application and the clients of [`CodeFlow::known`].
#[must_use]
pub fn settings() -> Settings {
    let client = |id: &str, extra: Value| {
        let mut client = json!({
            "client_id": id,
            "client_name": "Example application",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "accounts openid payments",
            "authorization_details_types": ["account_information"],
        });
        for (name, value) in extra.as_object().into_iter().flatten() {
            client[name] = value.clone();
        }
        client
    };
    let secret = json!({"token_endpoint_auth_method": "client_secret_basic", "client_secret": SECRET});
    let with = |mut base: Value, name: &str, value: Value| {
        base[name] = value;
        base
    };
    Settings::default()
        .with("interaction.url", LOGIN_URL)
        .client(client("app", json!({"token_endpoint_auth_method": "none"})))
        .client(client("other-app", json!({"token_endpoint_auth_method": "none"})))
        .client(client("pushing-app", json!({"token_endpoint_auth_method": "none", "require_pushed_authorization_requests": true})))
        .client(client("once-app", json!({"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]})))
        .client(client("no-code-app", json!({"token_endpoint_auth_method": "none", "grant_types": ["refresh_token"]})))
        .client(client("webapp", secret.clone()))
        .client(client("bearer-webapp", with(secret, "dpop_bound_access_tokens", json!(false))))
        .client(client("signed-webapp", json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [signer_key().jwk()]}})))
}

/// One authorization, from the client's request to its tokens.
#[derive(Clone, Debug)]
pub struct CodeFlow {
    /// The client.
    pub client: Client,
    /// The key of its proofs.
    pub key: Key,
    /// The issuer, for `htu` and `aud`.
    pub issuer: String,
    /// The PKCE verifier.
    pub verifier: String,
    /// The parameters of the request, in order.
    pub parameters: Vec<(String, String)>,
}

impl CodeFlow {
    /// A good request of one of the clients of [`settings`].
    pub fn known(service: &Service, id: &str) -> Self {
        let login = match id {
            "webapp" | "bearer-webapp" => ClientLogin::Basic(SECRET.to_owned()),
            "signed-webapp" => ClientLogin::Assertion(signer_key()),
            _ => ClientLogin::Public,
        };
        Self::new(service.issuer(), Client { id: id.to_owned(), login })
    }

    /// A good request of this client.
    pub fn new(issuer: &str, client: Client) -> Self {
        let verifier = b64(random::<32>());
        let parameters = [
            ("response_type", "code".to_owned()),
            ("client_id", client.id.clone()),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("scope", "openid accounts".to_owned()),
            ("state", b64(random::<8>())),
            ("code_challenge", b64(sha256(&verifier))),
            ("code_challenge_method", "S256".to_owned()),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { client, key: Key::es256(), issuer: issuer.to_owned(), verifier, parameters }
    }

    /// The same request and key in the hands of another client.
    #[must_use]
    pub fn in_the_hands_of(&self, service: &Service, id: &str) -> Self {
        Self { client: Self::known(service, id).client, ..self.clone() }
    }

    /// Sets a parameter of the authorization request.
    #[must_use]
    pub fn set(self, name: &str, value: impl Into<String>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a parameter, whether it is there already or not.
    #[must_use]
    pub fn add(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// Removes a parameter.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(parameter, _)| parameter != name);
        self
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(parameter, _)| parameter == name).map(|(_, value)| value.as_str())
    }

    /// The parameters as the claims of a good request object.
    pub fn request_object_claims(&self) -> Value {
        let now = crate::time::now();
        let mut claims = json!({"iss": self.client.id, "aud": self.issuer, "iat": now, "nbf": now, "exp": now + 300});
        for (name, value) in &self.parameters {
            claims[name] = json!(value);
        }
        claims
    }

    /// A good call of `/oauth/par`, without a proof.
    pub fn push_call(&self) -> Call {
        let mut call = Call::new(Endpoint::Par, &self.issuer);
        for (name, value) in &self.parameters {
            call = call.add(name, value.as_str());
        }
        call.login(&self.client)
    }

    /// A call of `/oauth/par` with this request object, without a proof.
    pub fn push_object_call(&self, object: &str) -> Call {
        Call::new(Endpoint::Par, &self.issuer).set("client_id", self.client.id.as_str()).set("request", object).login(&self.client)
    }

    /// Pushes the request; returns its name.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn push(&self, service: &Service) -> String {
        request_uri(&self.push_call().send(service).await)
    }

    /// Opens `/oauth/authorize` with all parameters in the query.
    pub async fn open_plain(&self, service: &Service) -> Response {
        authorize(service, &form(&self.parameters)).await
    }

    /// Opens `/oauth/authorize` with the name of a pushed request.
    pub async fn open_pushed(&self, service: &Service, request_uri: &str) -> Response {
        authorize(service, &form(&[("client_id", self.client.id.as_str()), ("request_uri", request_uri)])).await
    }

    /// Pushes the request, opens it and lets `alice` agree to all of it; returns the code.
    ///
    /// # Panics
    /// Where any of that fails.
    pub async fn code(&self, service: &Service) -> String {
        let pushed = self.push(service).await;
        let interaction = interaction(&self.open_pushed(service, &pushed).await);
        self.code_of(&accept(service, &interaction, json!({"sub": "alice"})).await)
    }

    /// The code in an answer, after checking what every answer must have.
    ///
    /// # Panics
    /// Where there is none, or anything is missing.
    pub fn code_of(&self, answer: &str) -> String {
        let answer = self.answer(answer);
        assert!(!answer.contains_key("error"), "{answer:?}");
        let code = answer.get("code").unwrap_or_else(|| panic!("no code in {answer:?}"));
        assert!(code.starts_with("kbc_") && code.len() == 47, "{code}");
        code.clone()
    }

    /// The parameters of an answer at the redirect URI, after checking what every answer must have.
    ///
    /// # Panics
    /// Where it goes elsewhere, or `state` or `iss` is not as it must be.
    pub fn answer(&self, location: &str) -> BTreeMap<String, String> {
        let (target, query) = location.split_once('?').unwrap_or_else(|| panic!("no query in {location}"));
        assert_eq!(target, self.parameter("redirect_uri").unwrap_or(REDIRECT_URI), "{location}");
        let answer = pairs(query);
        assert_eq!(answer.get("state").map(String::as_str), self.parameter("state"), "{answer:?}");
        assert_eq!(answer.get("iss").map(String::as_str), Some(self.issuer.as_str()), "{answer:?}");
        answer
    }

    /// A good token request with this code and a fresh proof.
    pub fn redeem(&self, code: &str) -> Call {
        let mut call = Call::new(Endpoint::Token, &self.issuer).set("grant_type", "authorization_code").set("code", code);
        call = call.set("code_verifier", self.verifier.as_str());
        if let Some(redirect_uri) = self.parameter("redirect_uri") {
            call = call.set("redirect_uri", redirect_uri);
        }
        call.login(&self.client).prove(&self.key)
    }

    /// The whole flow.
    ///
    /// # Panics
    /// Where anything is refused.
    pub async fn tokens(&self, service: &Service) -> Value {
        let code = self.code(service).await;
        self.redeem(&code).send(service).await.tokens()
    }
}

/// The name in the answer to a pushed request, after checking what such an answer must have.
///
/// # Panics
/// Where anything is missing.
pub fn request_uri(answer: &Answer) -> String {
    let response = &answer.response;
    assert_eq!(response.status, 201, "{response}");
    assert_eq!(response.header("Cache-Control"), Some("no-store"), "{response}");
    let body = response.json();
    assert!(body["expires_in"].as_u64().is_some_and(|seconds| (1..600).contains(&seconds)), "{body}");
    let name = body["request_uri"].as_str().unwrap_or_else(|| panic!("no request_uri in {body}"));
    assert!(name.starts_with("urn:ietf:params:oauth:request_uri:"), "{name}");
    name.to_owned()
}

/// `GET /oauth/authorize`.
pub async fn authorize(service: &Service, query: &str) -> Response {
    service.send(&Request::new("GET", &format!("/oauth/authorize?{query}"))).await
}

/// Where a redirect leads, after checking what every redirect of the authorization endpoint must have.
///
/// # Panics
/// Where it is none.
pub fn location(response: &Response) -> String {
    assert_eq!(response.status, 303, "{response}");
    assert_eq!(response.header("Cache-Control"), Some("no-store"), "{response}");
    assert_eq!(response.header("Referrer-Policy"), Some("no-referrer"), "{response}");
    response.header("Location").unwrap_or_else(|| panic!("no Location: {response}")).to_owned()
}

/// The interaction that a redirect to the login application names.
///
/// # Panics
/// Where it leads elsewhere.
pub fn interaction(response: &Response) -> String {
    let location = location(response);
    let (target, query) = location.split_once('?').unwrap_or_else(|| panic!("no query in {location}"));
    assert_eq!(target, LOGIN_URL, "{location}");
    pairs(query).remove("interaction").unwrap_or_else(|| panic!("no interaction in {location}"))
}

/// `POST /admin/interactions/{id}/accept`; returns where the browser goes.
///
/// # Panics
/// Where it is refused.
pub async fn accept(service: &Service, interaction: &str, body: Value) -> String {
    redirect_to(&service.manage("POST", &format!("/admin/interactions/{interaction}/accept"), Some(body)).await)
}

/// `POST /admin/interactions/{id}/reject`; returns where the browser goes.
///
/// # Panics
/// Where it is refused.
pub async fn reject(service: &Service, interaction: &str, body: Value) -> String {
    redirect_to(&service.manage("POST", &format!("/admin/interactions/{interaction}/reject"), Some(body)).await)
}

fn redirect_to(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()["redirect_to"].as_str().unwrap_or_else(|| panic!("no redirect_to: {answer}")).to_owned()
}

/// A page for a person that tells of an error: never a redirect.
///
/// # Panics
/// Where it is anything else, or does not name the code.
pub fn error_page(response: &Response, code: &str) {
    assert_eq!(response.status, 400, "{response}");
    assert_eq!(response.header("Location"), None, "{response}");
    assert_eq!(response.header("Cache-Control"), Some("no-store"), "{response}");
    assert_eq!(response.header("Referrer-Policy"), Some("no-referrer"), "{response}");
    assert_eq!(response.header("X-Frame-Options"), Some("DENY"), "{response}");
    assert!(response.header("Content-Type").is_some_and(|value| value.starts_with("text/html")), "{response}");
    assert!(response.text().contains(&format!("<code>{code}</code>")), "{response}");
}

/// The decoded pairs of a query, each name once.
///
/// # Panics
/// Where a name is there twice or a triplet is broken.
pub fn pairs(query: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        assert!(pairs.insert(unescape(name), unescape(value)).is_none(), "{name} twice in {query}");
    }
    pairs
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let triplet = std::str::from_utf8(&tail[..2]).expect("ASCII");
                bytes.push(u8::from_str_radix(triplet, 16).expect("a triplet"));
                rest = &tail[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
