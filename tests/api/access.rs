//! What the tests of introspection, revocation, userinfo and resource metadata share.

use keybound_testkit::flow::{ASSERTION_TYPE, assertion};
use keybound_testkit::http::Request;
use keybound_testkit::jose::{b64, sha256, split, verify};
use keybound_testkit::{Client, ClientLogin, ISSUER, Key, Proof, Response, Service, Session, Settings};
use serde_json::{Value, json};

/// The secret of the resource `accounts-api`.
pub(crate) const RESOURCE_SECRET: &str = "accounts: secret +/%41&=";

/// The URL that proofs for userinfo are made for.
pub(crate) const USERINFO: &str = "https://as.example.test/oauth/userinfo";

/// The usual settings, with credentials for `accounts-api` (a secret) and `payments-api` (this key), and a resource without any.
pub(crate) fn settings(payments: &Key) -> Settings {
    let resource = |id: &str| {
        let url = format!("https://api.example.test/{id}");
        json!({"id": format!("{id}-api"), "url": url, "audience": url, "scopes": [id]})
    };
    let with = |mut resource: Value, name: &str, value: Value| {
        resource[name] = value;
        resource
    };
    Settings::default().with(
        "resource",
        json!([
            with(resource("accounts"), "client_secret", json!(RESOURCE_SECRET)),
            with(resource("payments"), "jwks", json!({"keys": [payments.jwk()]})),
            resource("silent"),
        ]),
    )
}

/// The resource `accounts-api` as a caller.
pub(crate) fn accounts_api() -> Client {
    Client { id: "accounts-api".to_owned(), login: ClientLogin::Basic(RESOURCE_SECRET.to_owned()) }
}

/// A form for an endpoint that knows its caller.
pub(crate) fn form(path: &str, caller: &Client, parameters: &[(&str, &str)]) -> Request {
    let mut pairs: Vec<(&str, String)> = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let mut request = Request::new("POST", path);
    match &caller.login {
        ClientLogin::Public => pairs.push(("client_id", caller.id.clone())),
        ClientLogin::Basic(secret) => request = request.header("Authorization", caller.basic(secret)),
        ClientLogin::Post(secret) => pairs.extend([("client_id", caller.id.clone()), ("client_secret", secret.clone())]),
        ClientLogin::Assertion(key) => pairs.extend([
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", assertion(key, &caller.assertion_claims(ISSUER))),
        ]),
    }
    request.form(&pairs)
}

/// Asks about a token and expects JSON.
pub(crate) async fn introspect(service: &Service, caller: &Client, token: &str) -> Value {
    let answer = service.send(&form("/oauth/introspect", caller, &[("token", token)])).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
    assert_eq!(answer.header("WWW-Authenticate"), None, "{answer}");
    answer.json()
}

/// The claims of a JWT of this type that verifies with the published keys.
pub(crate) async fn signed(service: &Service, jwt: &str, typ: &str) -> Value {
    let jwks = service.get("/oauth/jwks").await.json();
    let (header, claims, input, signature) = split(jwt);
    assert_eq!(header["typ"], typ);
    let key = jwks["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"]).expect("a published key").clone();
    assert!(verify(&key, header["alg"].as_str().expect("alg"), input.as_bytes(), &signature), "the signature verifies");
    claims
}

/// An access token and the key it is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) token: String,
    pub(crate) key: Key,
}

impl Access {
    /// From the first refresh of a session.
    pub(crate) async fn of(service: &Service, session: &mut Session) -> Self {
        let tokens = session.rotate(service).await;
        Self { token: text(&tokens, "access_token"), key: session.key.clone() }
    }

    /// Of a client on its own behalf.
    pub(crate) async fn of_client(service: &Service, client: &str) -> Self {
        let key = Key::es256();
        let tokens = Client::known(client).credentials_call(&key, service.issuer()).send(service).await.tokens();
        Self { token: text(&tokens, "access_token"), key }
    }

    /// A good proof for a `GET` of userinfo.
    pub(crate) fn proof(&self) -> Proof {
        self.proof_for("GET")
    }

    /// A good proof for userinfo.
    pub(crate) fn proof_for(&self, method: &str) -> Proof {
        Proof::new(&self.key, method, USERINFO).claim("ath", b64(sha256(&self.token)))
    }

    /// A good request for userinfo.
    pub(crate) fn request(&self) -> Request {
        self.request_with(&self.proof())
    }

    /// A request for userinfo with this proof, signed with the token's key.
    pub(crate) fn request_with(&self, proof: &Proof) -> Request {
        self.presented("DPoP").header("DPoP", proof.sign(&self.key))
    }

    /// A request for userinfo that presents the token under this scheme.
    pub(crate) fn presented(&self, scheme: &str) -> Request {
        Request::new("GET", "/oauth/userinfo").header("Authorization", format!("{scheme} {}", self.token))
    }

    /// Asks userinfo.
    pub(crate) async fn userinfo(&self, service: &Service) -> Response {
        service.send(&self.request()).await
    }
}

/// A member that must be text.
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
