//! A client, a gateway, the service and an API, connected.

use keybound_testkit::jose::{b64, sha256};
use keybound_testkit::{Connection, Key, Proof, Request, Response, Service, Session, Settings, Store};
use serde_json::json;

use crate::gateway::{Addresses, Gateway, Kind};
use crate::upstream::{Seen, Upstream};

/// The public origin of the API in the shipped configurations.
pub(crate) const ORIGIN: &str = "https://api.example.com";
/// Its host.
pub(crate) const HOST: &str = "api.example.com";

/// Everything that one test needs.
pub(crate) struct Rig {
    pub(crate) kind: Kind,
    pub(crate) service: Service,
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
    pub(crate) session: Session,
    /// An access token for both resources.
    pub(crate) token: String,
}

/// `/accounts`, plain; `/payments`, where nonces are required and the API gets a token of its own. Both have one audience.
pub(crate) fn settings() -> Settings {
    Settings::default().with("dpop.nonce_step_s", 10).with(
        "resource",
        json!([
            {"id": "accounts-api", "url": format!("{ORIGIN}/accounts"), "audience": ORIGIN, "scopes": ["accounts"]},
            {"id": "payments-api", "url": format!("{ORIGIN}/payments"), "audience": ORIGIN, "scopes": ["payments"],
                "nonce": "required", "upstream_authorization": "bearer"},
        ]),
    )
}

impl Rig {
    pub(crate) async fn start(kind: Kind) -> Self {
        let service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, settings()).await;
        let upstream = Upstream::start().await;
        let keybound = if kind == Kind::EnvoyGrpc { service.gateway_grpc } else { service.gateway };
        let gateway = Gateway::start(kind, &Addresses { keybound: vec![keybound], api: upstream.address }).await;
        let mut session = service.session("spa").await;
        let token = token(&service, &mut session).await;
        Self { kind, service, upstream, gateway, session, token }
    }

    /// A call of `target` with nothing in it but the host.
    pub(crate) fn bare(method: &str, target: &str) -> Request {
        Request::new(method, target).header("Host", HOST)
    }

    /// A call with the token, and without a proof.
    pub(crate) fn unproven(&self, method: &str, target: &str) -> Request {
        Self::bare(method, target).header("Authorization", format!("DPoP {}", self.token))
    }

    /// A good call.
    pub(crate) fn good(&self, method: &str, target: &str) -> Request {
        self.unproven(method, target).header("DPoP", self.proof(method, target).sign(&self.session.key))
    }

    /// A good proof for a call of `target`, not signed yet.
    pub(crate) fn proof(&self, method: &str, target: &str) -> Proof {
        proof(&self.session.key, &self.token, method, target)
    }

    /// Sends a call through the gateway, on a connection of its own.
    pub(crate) async fn send(&self, request: &Request) -> Response {
        let answer = Connection::new(self.gateway.address).send(request).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{request:?}\n{}\n{}", self.gateway.log(), self.service.log()))
    }

    /// Sends a call that must reach the API, and tells what the API got.
    pub(crate) async fn pass(&self, request: &Request) -> (Response, Seen) {
        let before = self.upstream.reached();
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{:?}: {answer}\n{request:?}\n{}\n{}", self.kind, self.gateway.log(), self.service.log());
        assert_eq!(self.upstream.reached(), before + 1, "{:?}: answered by the API", self.kind);
        assert!(answer.header_lines("WWW-Authenticate").is_empty(), "{answer}");
        let seen = Seen(answer.json());
        (answer, seen)
    }

    /// Sends a call that must be refused with this status before it reaches the API: one challenge of the DPoP scheme with this error,
    /// and nothing about anybody's identity.
    pub(crate) async fn refused(&self, request: &Request, status: u16, error: &str) -> Response {
        let before = self.upstream.reached();
        let answer = self.send(request).await;
        let told = || format!("{:?}: {answer}\n{request:?}\n{}\n{}", self.kind, self.gateway.log(), self.service.log());
        assert_eq!(answer.status, status, "{}", told());
        assert_eq!(self.upstream.reached(), before, "{}", told());
        let challenges = answer.header_lines("WWW-Authenticate");
        assert_eq!(challenges.len(), 1, "{}", told());
        assert!(challenges[0].starts_with("DPoP ") && challenges[0].contains("algs=\""), "{}", told());
        assert_eq!(challenges[0].contains(&format!("error=\"{error}\"")), !error.is_empty(), "{}", told());
        assert!(answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-dpop-")), "{}", told());
        answer
    }

    /// Sends a call that must not reach the API, whoever refuses it and how.
    pub(crate) async fn stopped(&self, request: &Request) -> Response {
        let before = self.upstream.reached();
        let answer = self.send(request).await;
        assert!(answer.status >= 400, "{:?}: {answer}\n{request:?}", self.kind);
        assert_eq!(self.upstream.reached(), before, "{:?}: {answer}\n{request:?}", self.kind);
        assert!(answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-dpop-")), "{answer}");
        answer
    }
}

/// A good proof of `key` for a call of `target` with `token`, not signed yet.
pub(crate) fn proof(key: &Key, token: &str, method: &str, target: &str) -> Proof {
    let path = target.split('?').next().unwrap_or_default();
    Proof::new(key, method, &format!("{ORIGIN}{path}")).claim("ath", b64(sha256(token)))
}

/// An access token for all that the session is granted.
pub(crate) async fn token(service: &Service, session: &mut Session) -> String {
    let tokens = session.rotate(service).await;
    tokens["access_token"].as_str().unwrap_or_else(|| panic!("no access token in {tokens}")).to_owned()
}
