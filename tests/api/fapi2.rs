//! `profile = "fapi2"`: the FAPI 2.0 Security Profile at the token endpoints. `docs/fapi2.md` lists what holds each of its rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use keybound_testkit::authorization::{
    CodeFlow, LOGIN_URL, REDIRECT_URI, accept, authorize, interaction, location, pairs, reject, request_uri,
};
use keybound_testkit::flow::assertion;
use keybound_testkit::jose::{b64, random, split};
use keybound_testkit::service::signer_key;
use keybound_testkit::{Answer, Call, Client, ClientLogin, Endpoint, Key, Proof, Service, Session, Settings, Store, both_stores, time};
use serde_json::{Value, json};

use crate::start_with;

const SCOPE: &str = "accounts openid payments";

fn registration(id: &str, key: &Key) -> Value {
    json!({"client_id": id, "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.jwk()]},
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"], "redirect_uris": [REDIRECT_URI], "scope": SCOPE})
}

/// `signer`, whose key the kit knows, and clients with a key of each other kind.
struct Fapi {
    service: Service,
    rsa: Key,
    ed25519: Key,
}

async fn start(store: Store) -> Fapi {
    start_as(store, |settings| settings).await
}

async fn start_as(store: Store, change: impl FnOnce(Settings) -> Settings) -> Fapi {
    let (rsa, ed25519) = (Key::ps256(), Key::ed25519());
    let clients = json!([registration("signer", &signer_key()), registration("rsa", &rsa), registration("edwards", &ed25519)]);
    let settings = Settings::default().with("profile", "fapi2").with("client", clients).with("interaction.url", LOGIN_URL);
    Fapi { service: start_with(store, change(settings)).await, rsa, ed25519 }
}

impl Fapi {
    fn signer(&self) -> Client {
        Client::known("signer")
    }

    /// A good request for an access token of the client's own.
    fn call(&self, client: &Client) -> Call {
        client.credentials_call(&Key::es256(), self.service.issuer())
    }

    /// Another client of the same service.
    fn other(&self) -> Client {
        Client { id: "rsa".to_owned(), login: ClientLogin::Assertion(self.rsa.clone()) }
    }

    /// A good authorization request of `signer`.
    fn flow(&self) -> CodeFlow {
        CodeFlow::new(self.service.issuer(), self.signer())
    }

    /// The answer to a request with this assertion of `signer`.
    async fn ask_with(&self, assertion: &str) -> Answer {
        self.call(&self.signer()).assertion(assertion).send(&self.service).await
    }

    /// The answer to a request with an assertion of `signer` with these claims.
    async fn ask(&self, claims: &Value) -> Answer {
        self.ask_with(&assertion(&signer_key(), claims)).await
    }

    fn claims(&self, name: &str, value: Value) -> Value {
        let mut claims = self.signer().assertion_claims(self.service.issuer());
        claims[name] = value;
        claims
    }
}

/// FAPI-AS-01, FAPI-AS-02, FAPI-CR-01: the metadata offers what the profile allows, and nothing else.
async fn metadata_offers_nothing_else(store: Store) {
    let fapi = start(store).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = fapi.service.get(path).await.json();
        assert_eq!(metadata["issuer"], fapi.service.issuer());
        assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
        assert_eq!(metadata["require_pushed_authorization_requests"], true);
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(metadata["response_types_supported"], json!(["code"]));
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        for list in [
            "dpop_signing_alg_values_supported",
            "token_endpoint_auth_signing_alg_values_supported",
            "id_token_signing_alg_values_supported",
        ] {
            let names = metadata[list].as_array().unwrap_or_else(|| panic!("no {list} in {metadata}"));
            let allowed = |name: &Value| ["PS256", "ES256", "EdDSA", "Ed25519"].contains(&name.as_str().unwrap_or_default());
            assert!(!names.is_empty() && names.iter().all(allowed), "{list}: {names:?}");
        }
    }
    let answer = Call::new(Endpoint::Token, fapi.service.issuer()).set("grant_type", "password").login(&fapi.signer());
    answer.send(&fapi.service).await.refused(400, "unsupported_grant_type");
}

/// FAPI-AS-03, FAPI-AS-04, FAPI-AS-05, FAPI-AS-06, FAPI-AS-08, FAPI-AS-09, FAPI-AZ-03: who can't keep to the profile is not registered.
async fn other_clients_are_not_registered(store: Store) {
    let fapi = start(store).await;
    let register = async |changes: Value| {
        let mut body = registration("new", &Key::es256());
        for (name, value) in changes.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        if changes["jwks"] == json!(null) && changes.get("jwks").is_some() {
            body.as_object_mut().expect("an object").remove("jwks");
        }
        fapi.service.manage("POST", "/admin/clients", Some(body)).await
    };
    for bad in [
        json!({"token_endpoint_auth_method": "none", "jwks": null, "grant_types": ["refresh_token"]}),
        json!({"token_endpoint_auth_method": "client_secret_basic", "client_secret": "a secret of some length", "jwks": null}),
        json!({"token_endpoint_auth_method": "client_secret_post", "client_secret": "a secret of some length", "jwks": null}),
        json!({"dpop_bound_access_tokens": false}),
        json!({"refresh_token_rotation": "always"}),
        json!({"client_assertion_audience": "compat"}),
        json!({"require_pushed_authorization_requests": false}),
        json!({"token_endpoint_auth_signing_alg": "RS256"}),
        json!({"token_endpoint_auth_signing_alg": "ES384"}),
        json!({"redirect_uris": ["http://app.example.test/cb"]}),
    ] {
        let answer = register(bad.clone()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_client_metadata")), "{bad}: {answer}");
    }
    let good = register(json!({"refresh_token_rotation": "never", "redirect_uris": ["https://app.example.test/cb"]})).await;
    assert_eq!(good.status, 201, "{good}");
    fapi.call(&Client { id: "new".to_owned(), login: ClientLogin::Public }).send(&fapi.service).await.refused(401, "invalid_client");
}

/// FAPI-AS-04, TOK-04: no access token without a proof.
async fn every_access_token_is_bound(store: Store) {
    let fapi = start(store).await;
    fapi.call(&fapi.signer()).without_proof().send(&fapi.service).await.invalid_proof();
    let tokens = fapi.call(&fapi.signer()).send(&fapi.service).await.tokens();
    assert_eq!(tokens["token_type"], "DPoP");
    let session = fapi.service.session("signer").await;
    for endpoint in Endpoint::ALL {
        session.call(endpoint).without_proof().send(&fapi.service).await.invalid_proof();
        assert_eq!(session.call(endpoint).send(&fapi.service).await.tokens()["token_type"], "DPoP");
    }
}

/// FAPI-CR-01: PS256, ES256 and EdDSA, by both of its names, for proofs and for assertions; nothing else.
async fn algorithms_are_those_of_the_profile(store: Store) {
    let fapi = start(store).await;
    let signer = fapi.signer();
    for key in [Key::es256(), Key::ps256(), Key::ed25519()] {
        signer.credentials_call(&key, fapi.service.issuer()).send(&fapi.service).await.tokens();
    }
    let ed25519 = Key::ed25519();
    let call = fapi.call(&signer);
    let named = call.fresh_proof(&ed25519).header("alg", "Ed25519").sign(&ed25519);
    call.proof(named).send(&fapi.service).await.tokens();
    signer.credentials_call(&Key::es384(), fapi.service.issuer()).send(&fapi.service).await.invalid_proof();
    let call = fapi.call(&signer);
    let unsigned = call.fresh_proof(&Key::es256()).header("alg", "none").with_signature([1]);
    call.proof(unsigned).send(&fapi.service).await.invalid_proof();
    let call = fapi.call(&signer);
    let rs256 = call.fresh_proof(&fapi.rsa).header("alg", "RS256");
    let signature = fapi.rsa.sign_rs256(rs256.signing_input().as_bytes());
    call.proof(rs256.with_signature(signature)).send(&fapi.service).await.invalid_proof();

    for (id, key) in [("rsa", &fapi.rsa), ("edwards", &fapi.ed25519)] {
        let client = Client { id: id.to_owned(), login: ClientLogin::Assertion(key.clone()) };
        fapi.call(&client).send(&fapi.service).await.tokens();
    }
    let tokens = fapi.call(&signer).send(&fapi.service).await.tokens();
    let (header, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    assert!(["PS256", "ES256", "EdDSA"].contains(&header["alg"].as_str().unwrap_or_default()), "{header}");
}

/// FAPI-CR-01, PKJ-06: an assertion signed with RS256 by the client's own key, and one without a signature.
async fn weaker_assertions_are_refused(store: Store) {
    let fapi = start(store).await;
    let client = Client { id: "rsa".to_owned(), login: ClientLogin::Assertion(fapi.rsa.clone()) };
    let claims = client.assertion_claims(fapi.service.issuer());
    for alg in ["RS256", "none", "HS256"] {
        let input = format!("{}.{}", b64(json!({"alg": alg}).to_string()), b64(claims.to_string()));
        let signature = fapi.rsa.sign_rs256(input.as_bytes());
        let weak = format!("{input}.{}", b64(signature));
        fapi.call(&client).assertion(&weak).send(&fapi.service).await.refused(401, "invalid_client");
    }
    fapi.call(&client).send(&fapi.service).await.tokens();
}

/// FAPI-AS-08, PKJ-01, PKJ-02: for the issuer alone, as one string.
async fn an_assertion_is_for_the_issuer_alone(store: Store) {
    let fapi = start(store).await;
    let issuer = fapi.service.issuer().to_owned();
    for audience in [
        json!([issuer]),
        json!([issuer, "https://elsewhere.example.test"]),
        json!(format!("{issuer}/oauth/token")),
        json!(format!("{issuer}/oauth/par")),
        json!(format!("{issuer}/")),
        json!("https://elsewhere.example.test"),
        json!(null),
    ] {
        fapi.ask(&fapi.claims("aud", audience)).await.refused(401, "invalid_client");
    }
    fapi.ask(&fapi.claims("aud", json!(issuer))).await.tokens();
    let mut without_sub = fapi.claims("jti", json!(b64(random::<16>())));
    without_sub.as_object_mut().expect("an object").remove("sub");
    fapi.ask(&without_sub).await.refused(401, "invalid_client");
    fapi.ask(&fapi.claims("sub", json!("rsa"))).await.refused(401, "invalid_client");
}

/// FAPI-AS-13, PKJ-05: 0 to 10 s ahead is accepted, more than 60 s ahead is refused; so is what expired 5 minutes ago.
async fn an_assertion_is_of_now(store: Store) {
    let fapi = start(store).await;
    let now = time::now();
    for name in ["iat", "nbf"] {
        for ahead in [0, 8, 10] {
            fapi.ask(&fapi.claims(name, json!(now + ahead))).await.tokens();
        }
        fapi.ask(&fapi.claims(name, json!(now + 65))).await.refused(401, "invalid_client");
    }
    fapi.ask(&fapi.claims("exp", json!(now - 300))).await.refused(401, "invalid_client");
    let once = assertion(&signer_key(), &fapi.claims("jti", json!(b64(random::<16>()))));
    fapi.ask_with(&once).await.tokens();
    fapi.ask_with(&once).await.refused(401, "invalid_client");
}

/// FAPI-AS-13, DPOP-4.3-11, DPOP-4.3-14: a proof from 10 s ago or 10 s ahead, and one with `nbf` and `exp`; not one from more than a minute
/// ahead.
async fn a_proof_is_of_now(store: Store) {
    let fapi = start(store).await;
    let key = Key::es256();
    let ask = async |change: &dyn Fn(Proof) -> Proof| {
        let call = fapi.call(&fapi.signer());
        let proof = change(call.fresh_proof(&key)).sign(&key);
        call.proof(proof).send(&fapi.service).await
    };
    for offset in [-10, 0, 8, 10] {
        ask(&|proof| proof.iat_offset(offset)).await.tokens();
    }
    for offset in [65, 3600, -3600] {
        ask(&|proof| proof.iat_offset(offset)).await.invalid_proof();
    }
    let now = time::now();
    ask(&|proof| proof.claim("nbf", now).claim("exp", now + 60)).await.tokens();
    ask(&|proof| proof.claim("exp", now - 60)).await.invalid_proof();
}

/// FAPI-AS-09, TOK-06, SEC-13: no rotation; the same refresh token works on, with a fresh key each time.
async fn refresh_tokens_do_not_rotate(store: Store) {
    let fapi = start(store).await;
    let mut session = fapi.service.session("signer").await;
    let first = session.refresh_token.clone();
    for key in [Key::es256(), Key::ed25519(), Key::ps256(), Key::es256()] {
        session.key = key;
        let tokens = session.rotate(&fapi.service).await;
        assert_eq!(tokens["refresh_token"], first.as_str());
        assert_eq!(split(tokens["access_token"].as_str().unwrap_or_default()).1["cnf"]["jkt"], session.key.jkt());
    }
}

/// REF-01, FAPI-AS-06: a refresh token is its own client's, and the client authenticates.
async fn a_refresh_token_needs_its_client(store: Store) {
    let fapi = start(store).await;
    let session = fapi.service.session("signer").await;
    let rsa = Client { id: "rsa".to_owned(), login: ClientLogin::Assertion(fapi.rsa.clone()) };
    let stolen = Session { client: rsa, ..session.clone() };
    for endpoint in Endpoint::ALL {
        stolen.call(endpoint).send(&fapi.service).await.invalid_grant();
        let anonymous = session.call(endpoint).without("client_assertion").without("client_assertion_type");
        anonymous.clone().send(&fapi.service).await.refused(400, "invalid_request");
        anonymous.set("client_id", "signer").send(&fapi.service).await.refused(401, "invalid_client");
        session.call(endpoint).send(&fapi.service).await.tokens();
    }
}

/// FAPI-AS-10, NON-10: with nonces on, the same assertion goes with the second proof.
async fn a_nonce_challenge_keeps_the_assertion(store: Store) {
    let clients = json!([registration("signer", &signer_key())]);
    let settings = Settings::default().with("profile", "fapi2").with("client", clients).with("dpop.nonce", "required");
    let service = start_with(store, settings).await;
    let session = service.session("signer").await;
    for endpoint in Endpoint::ALL {
        let call = session.call(endpoint);
        let nonce = call.clone().send(&service).await.nonce_challenge();
        call.prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    }
}

/// FAPI-AZ-01, FAPI-AZ-02, FAPI-AZ-04, FAPI-AZ-07, FAPI-AZ-10, FAPI-AZ-11, FAPI-AZ-14, TOK-02: the whole flow, whatever the order of the scope,
/// without state, without nonce, with a nonce of 64 characters, a longer one, and a long state.
async fn the_code_flow_leads_to_bound_tokens(store: Store) {
    let fapi = start(store).await;
    let flow = || fapi.flow().set("scope", "openid accounts payments");
    for flow in [
        flow(),
        flow().set("scope", "payments accounts openid"),
        flow().without("state"),
        flow().without("nonce"),
        flow().set("nonce", "n".repeat(64)),
        flow().set("nonce", "n".repeat(200)),
        flow().set("state", "s".repeat(1200)),
        flow().set("claims", r#"{"id_token":{"given_name":null},"userinfo":{"email":{"essential":true}}}"#),
    ] {
        let tokens = flow.tokens(&fapi.service).await;
        assert_eq!(tokens["token_type"], "DPoP");
        let (_, claims, _, _) = split(tokens["id_token"].as_str().expect("an ID token"));
        assert_eq!(claims["nonce"].as_str(), flow.parameter("nonce"));
        let mut session = Session {
            client: fapi.signer(),
            key: Key::es256(),
            issuer: fapi.service.issuer().to_owned(),
            refresh_token: tokens["refresh_token"].as_str().expect("a refresh token").to_owned(),
            grant_id: String::new(),
        };
        session.rotate(&fapi.service).await;
    }
}

/// FAPI-AZ-03, PAR-01: what was not pushed by an authenticated client is no request.
async fn only_pushed_requests_are_taken(store: Store) {
    let fapi = start(store).await;
    let plain = fapi.flow().open_plain(&fapi.service).await;
    let location = location(&plain);
    let (target, query) = location.split_once('?').expect("a query");
    assert_eq!((target, pairs(query)["error"].as_str()), (REDIRECT_URI, "invalid_request"));
    let call = fapi.flow().push_call();
    let anonymous = call.clone().without("client_assertion").without("client_assertion_type");
    anonymous.send(&fapi.service).await.refused(401, "invalid_client");
    let foreign = assertion(&fapi.rsa, &fapi.signer().assertion_claims(fapi.service.issuer()));
    call.clone().assertion(&foreign).send(&fapi.service).await.refused(401, "invalid_client");
    request_uri(&call.send(&fapi.service).await);
}

/// FAPI-AS-07, FAPI-AZ-01, FAPI-AZ-05, FAPI-AZ-06, FAPI-AZ-08, PAR-02, PKCE-01, TEP-03: judged when it is pushed.
async fn a_pushed_request_is_judged_by_the_profile(store: Store) {
    let fapi = start(store).await;
    let flow = || fapi.flow();
    for (bad, code) in [
        (flow().set("response_type", "token"), "unsupported_response_type"),
        (flow().set("response_type", "code id_token"), "unsupported_response_type"),
        (flow().without("response_type"), "invalid_request"),
        (flow().without("code_challenge"), "invalid_request"),
        (flow().set("code_challenge_method", "plain"), "invalid_request"),
        (flow().without("code_challenge_method"), "invalid_request"),
        (flow().without("redirect_uri"), "invalid_request"),
        (flow().set("redirect_uri", "https://elsewhere.example.test/cb"), "invalid_request"),
        (flow().set("redirect_uri", "http://app.example.test/cb"), "invalid_request"),
        (flow().set("request_uri", "urn:ietf:params:oauth:request_uri:x"), "invalid_request"),
        (flow().add("state", "twice"), "invalid_request"),
        (flow().set("scope", "openid admin"), "invalid_scope"),
    ] {
        let answer = bad.push_call().send(&fapi.service).await;
        assert_eq!((answer.status(), &answer.response.json()["error"]), (400, &json!(code)), "{bad:?}: {}", answer.response);
    }
    request_uri(&flow().push_call().send(&fapi.service).await);
}

/// FAPI-AS-08, FAPI-AS-13, PKJ-02, PKJ-05: at PAR as at the token endpoint.
async fn an_assertion_at_par_is_for_the_issuer_alone_and_of_now(store: Store) {
    let fapi = start(store).await;
    let issuer = fapi.service.issuer().to_owned();
    let now = time::now();
    let push = async |name: &str, value: Value| {
        let assertion = assertion(&signer_key(), &fapi.claims(name, value));
        fapi.flow().push_call().assertion(&assertion).send(&fapi.service).await
    };
    for audience in [json!([issuer]), json!(format!("{issuer}/oauth/par")), json!(format!("{issuer}/oauth/token"))] {
        push("aud", audience).await.refused(401, "invalid_client");
    }
    push("nbf", json!(now + 65)).await.refused(401, "invalid_client");
    push("exp", json!(now - 300)).await.refused(401, "invalid_client");
    request_uri(&push("nbf", json!(now + 8)).await);
    request_uri(&push("aud", json!(issuer)).await);
}

/// FAPI-AS-12, JKT-01, JKT-03, JKT-04, JKT-06: a code is bound by the parameter and by the proof at PAR.
async fn a_code_is_bound_to_the_key(store: Store) {
    let fapi = start(store).await;
    let finish = async |flow: &CodeFlow, call: Call| {
        let pushed = request_uri(&call.send(&fapi.service).await);
        let opened = interaction(&flow.open_pushed(&fapi.service, &pushed).await);
        flow.code_of(&accept(&fapi.service, &opened, json!({"sub": "alice"})).await)
    };
    let by_name = fapi.flow();
    let by_name = by_name.clone().set("dpop_jkt", by_name.key.jkt());
    let by_proof = fapi.flow();
    for (flow, call) in [(&by_name, by_name.push_call()), (&by_proof, by_proof.push_call().prove(&by_proof.key))] {
        let code = finish(flow, call).await;
        let answer = flow.redeem(&code).prove(&Key::es256()).send(&fapi.service).await;
        answer.refused(400, "invalid_grant");
        assert_eq!(flow.redeem(&code).send(&fapi.service).await.tokens()["token_type"], "DPoP");
    }
    let both = by_name.push_call().prove(&Key::es256()).send(&fapi.service).await;
    assert_eq!(both.status(), 400, "{}", both.response);
    request_uri(&by_name.push_call().prove(&by_name.key).send(&fapi.service).await);
    for offset in [-10, 8, 10] {
        let call = fapi.flow().push_call();
        let proof = call.fresh_proof(&by_name.key).iat_offset(offset).sign(&by_name.key);
        request_uri(&call.proof(proof).send(&fapi.service).await);
    }
}

/// FAPI-AS-11, FAPI-AZ-09, PKCE-01: a code is its client's, for its verifier, once, and not for long.
async fn a_code_is_short_lived_and_single_use(store: Store) {
    let fapi = start(store).await;
    let flow = fapi.flow();
    let code = flow.code(&fapi.service).await;
    let stolen = CodeFlow { client: fapi.other(), ..flow.clone() };
    stolen.redeem(&code).send(&fapi.service).await.refused(400, "invalid_grant");
    flow.redeem(&code).set("code_verifier", "x".repeat(43)).send(&fapi.service).await.refused(400, "invalid_grant");
    flow.redeem(&code).without("code_verifier").send(&fapi.service).await.refused(400, "invalid_grant");
    flow.redeem(&code).without_proof().send(&fapi.service).await.invalid_proof();
    let unauthenticated = flow.redeem(&code).without("client_assertion").without("client_assertion_type");
    unauthenticated.set("client_id", "signer").send(&fapi.service).await.refused(401, "invalid_client");
    let tokens = flow.redeem(&code).send(&fapi.service).await.tokens();
    tokio::time::sleep(Duration::from_secs(1)).await;
    flow.redeem(&code).send(&fapi.service).await.refused(400, "invalid_grant");
    let session = Session {
        client: fapi.signer(),
        key: flow.key.clone(),
        issuer: fapi.service.issuer().to_owned(),
        refresh_token: tokens["refresh_token"].as_str().expect("a refresh token").to_owned(),
        grant_id: String::new(),
    };
    session.refresh().send(&fapi.service).await.invalid_grant();

    let brief = start_as(store, |settings| settings.with("authorize.code_lifetime_s", 1)).await;
    let flow = brief.flow();
    let code = flow.code(&brief.service).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    flow.redeem(&code).send(&brief.service).await.refused(400, "invalid_grant");
}

/// FAPI-AZ-12, PAR-04: a request_uri is its client's; it may be opened again before the sign-in is over, and not after.
async fn a_request_uri_is_used_once(store: Store) {
    let fapi = start(store).await;
    let flow = fapi.flow();
    let pushed = flow.push(&fapi.service).await;
    let foreign = CodeFlow { client: fapi.other(), ..flow.clone() };
    refused_at_authorize(&foreign.open_pushed(&fapi.service, &pushed).await);
    let first = interaction(&flow.open_pushed(&fapi.service, &pushed).await);
    let again = interaction(&flow.open_pushed(&fapi.service, &pushed).await);
    let code = flow.code_of(&accept(&fapi.service, &again, json!({"sub": "alice"})).await);
    flow.redeem(&code).send(&fapi.service).await.tokens();
    refused_at_authorize(&flow.open_pushed(&fapi.service, &pushed).await);
    let late = fapi.service.manage("POST", &format!("/admin/interactions/{first}/accept"), Some(json!({"sub": "alice"}))).await;
    assert_ne!(late.status, 200, "{late}");

    let brief = start_as(store, |settings| settings.with("authorize.request_uri_lifetime_s", 1)).await;
    let flow = brief.flow();
    let pushed = flow.push(&brief.service).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    refused_at_authorize(&flow.open_pushed(&brief.service, &pushed).await);
    let nobody = authorize(&brief.service, "client_id=signer&request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Anothing").await;
    refused_at_authorize(&nobody);
}

/// `invalid_request_uri`, on a page or at the client; never a sign-in.
fn refused_at_authorize(response: &keybound_testkit::Response) {
    match response.status {
        303 => {
            let location = location(response);
            let (target, query) = location.split_once('?').expect("a query");
            assert_eq!((target, pairs(query)["error"].as_str()), (REDIRECT_URI, "invalid_request_uri"));
        }
        400 => assert!(response.text().contains("invalid_request_uri"), "{response}"),
        _ => panic!("{response}"),
    }
}

/// FAPI-AZ-07: the client learns of a refusal, with `iss` and `state`.
async fn a_rejection_reaches_the_client(store: Store) {
    let fapi = start(store).await;
    let flow = fapi.flow();
    let pushed = flow.push(&fapi.service).await;
    let opened = interaction(&flow.open_pushed(&fapi.service, &pushed).await);
    let answer = flow.answer(&reject(&fapi.service, &opened, json!({"error": "access_denied"})).await);
    assert_eq!(answer["error"], "access_denied");
    assert!(!answer.contains_key("code"));
}

/// Each test that `docs/fapi2.md` names in its tables is a test.
#[test]
fn every_test_that_the_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/fapi2.md")).expect("the document");
    let mut sources = String::new();
    for folder in ["tests/api", "src/domain/client"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of tests") {
            sources.push_str(&fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default());
        }
    }
    let (_, tables) = document.split_once("## The profile, item by item").expect("the tables");
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name =
        |name: &&str| name.contains('_') && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let names: BTreeSet<&str> = names.filter(is_name).collect();
    let missing: Vec<_> = names.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(names.len() > 50 && missing.is_empty(), "{missing:?}");
}

both_stores!(
    metadata_offers_nothing_else,
    the_code_flow_leads_to_bound_tokens,
    only_pushed_requests_are_taken,
    a_pushed_request_is_judged_by_the_profile,
    an_assertion_at_par_is_for_the_issuer_alone_and_of_now,
    a_code_is_bound_to_the_key,
    a_code_is_short_lived_and_single_use,
    a_request_uri_is_used_once,
    a_rejection_reaches_the_client,
    other_clients_are_not_registered,
    every_access_token_is_bound,
    algorithms_are_those_of_the_profile,
    weaker_assertions_are_refused,
    an_assertion_is_for_the_issuer_alone,
    an_assertion_is_of_now,
    a_proof_is_of_now,
    refresh_tokens_do_not_rotate,
    a_refresh_token_needs_its_client,
    a_nonce_challenge_keeps_the_assertion,
);
