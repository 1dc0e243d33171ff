//! The service from outside, over HTTP, on both stores: one file per concern, requirement IDs in the doc comments.

mod access;
mod authorize;
mod claims_time;
mod client_auth;
mod client_documents;
mod code;
mod cookie;
mod cors;
mod coverage;
mod details;
mod errors;
mod fapi2;
mod htu;
mod introspection;
mod jose;
mod key_change;
mod management;
mod metadata;
mod nonce;
mod par;
mod proof_header;
mod protected_resource;
mod redis_tls;
mod refresh;
mod registration;
mod revocation;
mod signin;
mod token_endpoint;
mod token_exchange;
mod userinfo;
mod verify;
mod verify_dialects;
mod verify_htu;
mod verify_listener;
mod verify_nonce;
mod verify_tokens;
mod wire_rules;

use keybound_testkit::{Answer, Endpoint, Proof, Service, Session, Settings, Store};

async fn start(store: Store) -> Service {
    start_with(store, Settings::default()).await
}

async fn start_with(store: Store, settings: Settings) -> Service {
    Service::start(env!("CARGO_BIN_EXE_keybound"), store, settings).await
}

/// A public client's grant whose first refresh token is presented again and again: by G4 that never costs the session, so
/// every good proof is accepted, and only the proof differs between an accepted request and a refused one.
struct Bench {
    service: Service,
    session: Session,
}

impl Bench {
    async fn new(store: Store) -> Self {
        let service = start(store).await;
        let session = service.session("spa").await;
        Self { service, session }
    }

    async fn with_key(store: Store, key: keybound_testkit::Key) -> Self {
        let service = start(store).await;
        let session = service.session_with("spa", key, serde_json::json!({})).await;
        Self { service, session }
    }

    /// A good proof for `/oauth/refresh`.
    fn proof(&self) -> Proof {
        self.session.proof(Endpoint::Refresh)
    }

    fn sign(&self, proof: &Proof) -> String {
        proof.sign(&self.session.key)
    }

    async fn present(&self, proof: impl AsRef<[u8]>) -> Answer {
        self.session.refresh().proof(proof).send(&self.service).await
    }

    async fn accepts(&self, what: &str, proof: impl AsRef<[u8]>) {
        let answer = self.present(proof).await;
        assert_eq!(answer.status(), 200, "{what}: {}", answer.response);
        answer.tokens();
    }

    async fn refuses(&self, what: &str, proof: impl AsRef<[u8]>) {
        let answer = self.present(proof).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.response);
        answer.invalid_proof();
    }

    /// Refuses the signed proof, and accepts a good one afterwards: nothing but the proof was wrong, and nothing was used up.
    async fn refuses_signed(&self, what: &str, proof: &Proof) {
        self.refuses(what, self.sign(proof)).await;
    }

    async fn accepts_signed(&self, what: &str, proof: &Proof) {
        self.accepts(what, self.sign(proof)).await;
    }

    /// The accepting twin of everything that was refused.
    async fn still_works(&self) {
        self.accepts_signed("a good proof", &self.proof()).await;
    }
}
