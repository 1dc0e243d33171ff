//! What API gateways are told, in every dialect.

use keybound_testkit::http::Request;
use keybound_testkit::jose::{b64, sha256, split};
use keybound_testkit::{Client, Dialect, Key, Service, Settings, Store, Verify, both_stores};
use serde_json::{Value, json};

use crate::access::text;
use crate::{start, start_with};

/// A URL of the resource `accounts-api`.
pub(crate) const URL: &str = "https://api.example.test/accounts/1";

/// A token for both resources, and its key.
pub(crate) struct Caller {
    pub(crate) token: String,
    pub(crate) key: Key,
    pub(crate) grant_id: String,
}

impl Caller {
    pub(crate) async fn new(service: &Service) -> Self {
        Self::narrowed(service, &[]).await
    }

    /// With these parameters of the refresh.
    pub(crate) async fn narrowed(service: &Service, parameters: &[(&str, &str)]) -> Self {
        let session = service.session("spa").await;
        let call = parameters.iter().fold(session.refresh(), |call, (name, value)| call.set(name, *value));
        let tokens = call.send(service).await.tokens();
        Self { token: text(&tokens, "access_token"), key: session.key, grant_id: session.grant_id }
    }

    /// A good call.
    pub(crate) fn call(&self) -> Verify {
        Verify::good("GET", URL, &self.token, &self.key)
    }

    /// A good proof for [`URL`].
    pub(crate) fn proof(&self) -> keybound_testkit::Proof {
        Verify::proof_for("GET", URL, &self.token, &self.key)
    }

    /// A call with this proof.
    pub(crate) fn call_with(&self, proof: &keybound_testkit::Proof) -> Verify {
        Verify::new("GET", URL).token(&self.token).proof(proof.sign(&self.key))
    }
}

/// RS-02, DPOP-4-01, SEC-03: a good call passes once, with the identity of its caller.
async fn a_good_call_passes_once_in_every_dialect(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let claims = split(&caller.token).1;
    for dialect in Dialect::ALL {
        let call = caller.call();
        let judged = call.ask(dialect, &service).await.passes();
        assert_eq!(judged.nonce, None);
        for (name, value) in [
            ("x-dpop-subject", json!("alice")),
            ("x-dpop-client-id", json!("spa")),
            ("x-dpop-scope", json!("accounts openid payments")),
            ("x-dpop-jkt", json!(caller.key.jkt())),
            ("x-dpop-token-id", claims["jti"].clone()),
        ] {
            assert_eq!(judged.upstream[name], value, "{dialect:?}");
        }
        assert_eq!(judged.upstream.len(), 5, "Authorization stays: {}", judged.whole);
        call.ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
    }
}

both_stores!(a_good_call_passes_once_in_every_dialect,);
