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

/// The shape of the answer to plugins.
async fn a_plugin_is_told_who_calls(store: Store) {
    let details = json!([{"type": "account_information", "actions": ["list"]}]);
    let service = start(store).await;
    let session = service.session_with("spa", Key::es256(), json!({"authorization_details": details})).await;
    let tokens = session.refresh().send(&service).await.tokens();
    let token = text(&tokens, "access_token");
    let claims = split(&token).1;
    let judged = Verify::good("GET", URL, &token, &session.key).ask(Dialect::Json, &service).await.passes();
    let expected = json!({"active": true, "sub": "alice", "client_id": "spa", "scope": "accounts openid payments", "aud": claims["aud"],
        "exp": claims["exp"], "jti": claims["jti"], "grant_id": session.grant_id, "cnf": {"jkt": session.key.jkt()},
        "authorization_details": details});
    assert_eq!(judged.whole, expected);
    let refused = Verify::new("GET", URL).token(&token).ask(Dialect::Json, &service).await.refused(401, "invalid_dpop_proof");
    let names: Vec<&String> = refused.whole.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["active", "status", "error", "error_description", "headers"]);
    assert_eq!((&refused.whole["active"], &refused.whole["status"]), (&json!(false), &json!(401)));
}

/// RS-02, DPOP-4.3-01, DPOP-4.3-02, DPOP-4.1-01: none, two, two joined by a comma, and no JWT at all.
async fn exactly_one_proof_is_needed(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let sign = || caller.proof().sign(&caller.key);
    for dialect in Dialect::ALL {
        let call = || Verify::new("GET", URL).token(&caller.token);
        for call in [
            call(),
            call().proof(sign()).proof(sign()),
            call().proof(format!("{},{}", sign(), sign())),
            call().proof(format!("{}, {}", sign(), sign())),
            call().proof(""),
            call().proof("a.b.c"),
            call().proof(format!("DPoP {}", sign())),
            call().proof(caller.token.clone()),
        ] {
            call.ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
        }
        call().proof(sign()).ask(dialect, &service).await.passes();
    }
}

/// DPOP-4.2-07, DPOP-4.3-06, DPOP-4.3-08, DPOP-4.3-09, DPOP-4.3-11, DPOP-4.3-12, HTU-12: each part of a proof is for this very call.
async fn a_proof_for_another_call_is_refused(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let other = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        for proof in [
            caller.proof().claim("htm", "POST"),
            caller.proof().claim("htm", "get"),
            caller.proof().claim("htu", "https://api.example.test/accounts/2"),
            caller.proof().claim("htu", "https://api.example.test/accounts"),
            caller.proof().claim("htu", "http://api.example.test/accounts/1"),
            caller.proof().claim("htu", "https://as.example.test/verify/nginx"),
            caller.proof().claim("ath", b64(sha256(&other.token))),
            caller.proof().without_claim("ath"),
            caller.proof().iat_offset(-62),
            caller.proof().iat_offset(13),
            caller.proof().without_claim("jti"),
            caller.proof().header("typ", "JWT"),
            caller.proof().header("alg", "none"),
        ] {
            caller.call_with(&proof).ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
        }
        let broken = caller.proof().with_signature([1; 64]);
        Verify::new("GET", URL).token(&caller.token).proof(broken).ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
        for proof in [caller.proof().iat_offset(-55), caller.proof().iat_offset(8), caller.proof().claim("htu", format!("{URL}?a=b#c"))] {
            caller.call_with(&proof).ask(dialect, &service).await.passes();
        }
        // The method is the one that the client used, whatever the gateway asks with.
        let post = Verify::good("POST", URL, &caller.token, &caller.key);
        post.ask(dialect, &service).await.passes();
    }
}

/// RS-02, CNF-03, DPOP-4.3-12: the token of one key, the proof of another.
async fn another_key_can_not_use_the_token(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let thief = Key::es256();
    for dialect in Dialect::ALL {
        Verify::good("GET", URL, &caller.token, &thief).ask(dialect, &service).await.refused(401, "invalid_token");
        caller.call().ask(dialect, &service).await.passes();
    }
}

/// RS-03, RS-07: no downgrade; the one challenge names the scheme that works.
async fn a_token_is_not_taken_as_a_bearer_token(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let session = service.session("bearer-spa").await;
    let unbound = text(&session.refresh().send(&service).await.tokens(), "access_token");
    for dialect in Dialect::ALL {
        for value in
            [format!("Bearer {}", caller.token), format!("bearer  {}", caller.token), format!("Bearer {unbound}"), "Bearer x".into()]
        {
            let call = Verify::new("GET", URL).authorization(&value);
            call.ask(dialect, &service).await.refused(401, "invalid_token");
            call.proof(caller.proof().sign(&caller.key)).ask(dialect, &service).await.refused(401, "invalid_token");
        }
        caller.call().ask(dialect, &service).await.passes();
    }
}

/// RS-04
async fn a_token_without_a_key_does_not_fit(store: Store) {
    let service = start(store).await;
    let session = service.session("bearer-spa").await;
    let unbound = text(&session.refresh().send(&service).await.tokens(), "access_token");
    for dialect in Dialect::ALL {
        Verify::good("GET", URL, &unbound, &session.key).ask(dialect, &service).await.refused(401, "invalid_token");
    }
    Caller::new(&service).await.call().ask(Dialect::Nginx, &service).await.passes();
}

/// RS-01
async fn the_scheme_has_no_case_and_any_number_of_spaces(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        for scheme in ["DPoP ", "dpop ", "DPOP    "] {
            let call = Verify::new("GET", URL).authorization(&format!("{scheme}{}", caller.token));
            call.proof(caller.proof().sign(&caller.key)).ask(dialect, &service).await.passes();
        }
        for value in ["DPoP".to_owned(), format!("DPoP\t{}", caller.token), format!("DPoP {} x", caller.token), "DPoP =".to_owned()] {
            let call = Verify::new("GET", URL).authorization(&value).proof(caller.proof().sign(&caller.key));
            call.ask(dialect, &service).await.refused(401, "invalid_request");
        }
    }
}

/// RS-09, RS-10, FAPI-RS-02: one token, in one line of `Authorization`, and none in the query.
async fn one_token_in_one_place(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let token = format!("DPoP {}", caller.token);
    for dialect in Dialect::ALL {
        let call = || Verify::new("GET", URL).proof(caller.proof().sign(&caller.key));
        for call in [
            call().authorization(&token).authorization(&token),
            call().authorization(&token).authorization("Basic eDp5"),
            call().authorization(&format!("{token}, {token}")),
            call().authorization(&format!("{token},Bearer x")),
        ] {
            call.ask(dialect, &service).await.refused(401, "invalid_request");
        }
        call().header("proxy-authorization", &token).ask(dialect, &service).await.refused(401, "");
        let with_query = |query: &str| {
            let proof = caller.proof().sign(&caller.key);
            Verify::new("GET", &format!("{URL}?{query}")).authorization(&token).proof(proof)
        };
        for query in ["access_token=x", "page=1&access_token", "%61ccess%5Ftoken=x"] {
            with_query(query).ask(dialect, &service).await.refused(401, "invalid_request");
        }
        with_query("access_tokens=x&x=access_token").ask(dialect, &service).await.passes();
        call().authorization(&token).ask(dialect, &service).await.passes();
    }
}

/// RS-05, RS-06, DPOP-4-02: nothing presented, no error named.
async fn without_credentials_no_error_is_named(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        let nothing = Verify::new("GET", URL);
        for call in [nothing.clone(), nothing.clone().authorization("Basic eDp5"), nothing.proof(caller.proof().sign(&caller.key))] {
            let judged = call.ask(dialect, &service).await.refused(401, "");
            let line = judged.challenge.expect("a challenge");
            assert!(!line.contains("error") && line.contains("algs=\"ES256 ES384 PS256 EdDSA Ed25519\""), "{line}");
        }
    }
}

/// RS-08, RS-13, PRM-02: the challenge leads to a document about the resource.
async fn a_challenge_leads_to_the_metadata_of_the_resource(store: Store) {
    let service = start(store).await;
    for (url, resource) in
        [(URL, "https://api.example.test/accounts"), ("https://api.example.test/payments", "https://api.example.test/payments")]
    {
        let judged = Verify::new("GET", url).ask(Dialect::Nginx, &service).await;
        let line = judged.challenge.expect("a challenge");
        let (_, rest) = line.split_once("resource_metadata=\"https://as.example.test").expect("an address");
        let path = rest.split('"').next().expect("an address");
        assert_eq!(service.get(path).await.json()["resource"], resource);
        assert_eq!(line.matches("resource_metadata=").count(), 1);
    }
}

/// RS-12, AT-03, AT-04, AT-05: a token is for the resources that its audience names, and needs one of their scopes.
async fn audience_and_scope_must_reach(store: Store) {
    let service = start(store).await;
    let payments = "https://api.example.test/payments/7";
    let only_accounts = Caller::narrowed(&service, &[("scope", "accounts")]).await;
    let no_scope = Caller::narrowed(&service, &[("scope", "openid"), ("resource", "https://api.example.test/accounts")]).await;
    let both = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        let call = |caller: &Caller, url: &str| Verify::good("GET", url, &caller.token, &caller.key);
        call(&only_accounts, URL).ask(dialect, &service).await.passes();
        call(&only_accounts, payments).ask(dialect, &service).await.refused(401, "invalid_token");
        let judged = call(&no_scope, URL).ask(dialect, &service).await.refused(403, "insufficient_scope");
        assert!(judged.challenge.expect("a challenge").contains(" scope=\"accounts\""));
        call(&both, URL).ask(dialect, &service).await.passes();
        call(&both, payments).ask(dialect, &service).await.passes();
    }
    // A plugin may ask for more.
    let asked = |caller: &Caller, scope: &str| caller.call().member("scope", scope);
    asked(&both, "accounts payments").ask(Dialect::Json, &service).await.passes();
    asked(&both, "").ask(Dialect::Json, &service).await.passes();
    let judged = asked(&only_accounts, "accounts payments").ask(Dialect::Json, &service).await.refused(403, "insufficient_scope");
    assert!(judged.challenge.expect("a challenge").contains(" scope=\"accounts payments\""));
}

/// HTU-08, HTU-11: what no resource claims is refused, and nothing is used up.
async fn only_registered_urls_are_answered_for(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        for url in [
            "https://api.example.test/accountsx/1",
            "https://api.example.test/accounts%2F1",
            "https://api.example.test/ACCOUNTS/1",
            "https://api.example.test/",
            "https://api.example.test//accounts/1",
            "https://api.example.test/accounts/../other",
            "https://api.example.test:8443/accounts/1",
            "https://api.example.test.evil.test/accounts/1",
            "https://as.example.test/accounts/1",
            "https://[::1]/accounts/1",
        ] {
            Verify::good("GET", url, &caller.token, &caller.key).ask(dialect, &service).await.refused(403, "invalid_target");
        }
        for url in ["https://api.example.test/accounts", "https://API.example.test:443/x/../accounts/?q"] {
            Verify::good("GET", url, &caller.token, &caller.key).ask(dialect, &service).await.passes();
        }
    }
    let named = |id: &str| caller.call().member("resource", id);
    named("accounts-api").ask(Dialect::Json, &service).await.passes();
    named("payments-api").ask(Dialect::Json, &service).await.refused(403, "invalid_target");
    named("nobody").ask(Dialect::Json, &service).await.refused(403, "invalid_target");
}

/// HTU-09: an alias is a target of its own.
async fn a_proof_names_the_url_that_the_call_went_to(store: Store) {
    let resource = json!([{"id": "accounts-api", "url": "https://api.example.test/accounts", "aliases": ["https://mtls.example.test/a"],
        "scopes": ["accounts"], "audience": "urn:accounts"}]);
    let service = start_with(store, Settings::default().with("resource", resource)).await;
    let caller = Caller::new(&service).await;
    let alias = "https://mtls.example.test/a/1";
    for dialect in Dialect::ALL {
        Verify::good("GET", alias, &caller.token, &caller.key).ask(dialect, &service).await.passes();
        caller.call().ask(dialect, &service).await.passes();
        let crossed = Verify::new("GET", alias).token(&caller.token).proof(caller.proof().sign(&caller.key));
        crossed.ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
    }
}

/// SEC-03, SEC-07, R2: who answers for replays.
async fn a_gateway_and_a_service_behind_it_may_both_verify_one_call(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let with = |call: &Verify, replay: &str| call.clone().member("replay", replay);
    let call = caller.call();
    for replay in ["check", "none", "check", "none"] {
        with(&call, replay).ask(Dialect::Json, &service).await.passes();
    }
    with(&call, "consume").ask(Dialect::Json, &service).await.passes();
    with(&call, "none").ask(Dialect::Json, &service).await.passes();
    for replay in ["check", "consume", "check"] {
        with(&call, replay).ask(Dialect::Json, &service).await.refused(401, "invalid_dpop_proof");
    }
    call.ask(Dialect::Grpc, &service).await.refused(401, "invalid_dpop_proof");
    // One key uses one jti once, at whichever endpoint.
    let session = service.session_with("spa", caller.key.clone(), json!({})).await;
    let proof = session.proof(keybound_testkit::Endpoint::Refresh);
    session.refresh().proof(proof.sign(&session.key)).send(&service).await.tokens();
    let again = caller.proof().claim("jti", proof.jti());
    caller.call_with(&again).member("replay", "check").ask(Dialect::Json, &service).await.refused(401, "invalid_dpop_proof");
}

/// R2: whatever is refused before the proof is spent leaves it unused.
async fn a_refused_call_uses_nothing_up(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let only_accounts = Caller::narrowed(&service, &[("scope", "accounts")]).await;
    let proof = only_accounts.proof();
    for wrong in
        [proof.clone().claim("htm", "POST"), proof.clone().claim("ath", b64(sha256(&caller.token))), proof.clone().claim("nonce", "stale")]
    {
        assert_eq!(only_accounts.call_with(&wrong).ask(Dialect::Nginx, &service).await.status, 401);
    }
    let unscoped = only_accounts.call_with(&proof).member("scope", "payments");
    unscoped.ask(Dialect::Json, &service).await.refused(403, "insufficient_scope");
    only_accounts.call_with(&proof).ask(Dialect::Nginx, &service).await.passes();
}

/// Which of the twelve checks failed, and what was not reached.
async fn a_developer_is_told_how_each_check_went(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let explain = async |call: Verify| {
        let judged = call.member("explain", true).ask(Dialect::Json, &service).await;
        let checks = judged.whole["checks"].as_array().expect("checks").clone();
        let numbers: Vec<u64> = checks.iter().filter_map(|check| check["check"].as_u64()).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
        assert!(checks.iter().all(|check| check["name"].is_string() && check["detail"].is_string()), "{checks:?}");
        let of = |pass: Value| {
            checks.iter().filter(|check| check["pass"] == pass).filter_map(|check| check["check"].as_u64()).collect::<Vec<_>>()
        };
        (judged.status, of(json!(true)), of(json!(false)))
    };
    let all: Vec<u64> = (1..=12).collect();
    assert_eq!(explain(caller.call()).await, (200, all.clone(), vec![]));
    let proof = || caller.proof();
    let two = caller.call().proof(proof().sign(&caller.key));
    for (call, failed, passed) in [
        (two, 1, vec![]),
        (Verify::new("GET", URL).token(&caller.token), 1, vec![]),
        (Verify::new("GET", URL).token(&caller.token).proof("x"), 2, vec![1]),
        (caller.call_with(&proof().without_claim("jti")), 3, vec![1, 2]),
        (caller.call_with(&proof().header("typ", "JWT")), 4, vec![1, 2]),
        (caller.call_with(&proof().header("alg", "HS256")), 5, vec![1, 2, 4]),
        (caller.call_with(&proof().jwk("d", "x")), 7, vec![1, 2, 4]),
        (caller.call_with(&proof().claim("htm", "PUT")), 8, vec![1, 2, 3, 4, 5, 7]),
        (caller.call_with(&proof().claim("htu", "https://x.test/")), 9, vec![1, 2, 3, 4, 5, 7, 8]),
        (caller.call_with(&proof().nonce("stale")), 10, vec![1, 2, 3, 4, 5, 7, 8, 9]),
        (caller.call_with(&proof().iat_offset(-100)), 11, vec![1, 2, 3, 4, 5, 7, 8, 9, 10]),
        (Verify::new("GET", URL).token(&caller.token).proof(proof().with_signature([1; 64])), 6, vec![1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        (caller.call_with(&proof().claim("ath", "x")), 12, (1..=11).collect()),
        (Verify::good("GET", URL, &caller.token, &Key::es256()), 12, (1..=11).collect()),
    ] {
        assert_eq!(explain(call).await, (401, passed, vec![failed]), "check {failed}");
    }
    let call = caller.call();
    assert_eq!(explain(call.clone()).await.0, 200);
    assert_eq!(explain(call).await, (401, all, vec![]), "a replay passes every check but the ledger's");
    assert!(caller.call().ask(Dialect::Json, &service).await.whole.get("checks").is_none());
}

/// A question that can't be read is the plugin's fault, not the client's.
async fn a_malformed_question_is_refused_as_such(store: Store) {
    let service = start(store).await;
    let ask = async |body: &str| service.ask_gateway(&Request::new("POST", "/verify").body("application/json", body)).await;
    for body in [
        "",
        "{}",
        "[]",
        "{\"method\":\"GET\"}",
        "{\"url\":\"https://api.example.test/accounts\"}",
        "{\"method\":\"GET\",\"url\":\"/accounts\"}",
        "{\"method\":\"GET\",\"url\":\"https://user@api.example.test/accounts\"}",
        "{\"method\":\"G ET\",\"url\":\"https://api.example.test/accounts\"}",
        "{\"method\":\"\",\"url\":\"https://api.example.test/accounts\"}",
        "{\"method\":1,\"url\":\"https://api.example.test/accounts\"}",
        "{\"method\":\"GET\",\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\"}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"dpop\":[1]}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"dpop\":{}}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"authorization\":1}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"replay\":\"Consume\"}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"reply\":\"check\"}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"scope\":\"a  b\"}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"explain\":\"true\"}",
        "{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\"} x",
    ] {
        let answer = ask(body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}: {answer}");
    }
    let good =
        ask("{\"method\":\"GET\",\"url\":\"https://api.example.test/accounts\",\"scope\":null,\"dpop\":[],\"authorization\":null}").await;
    assert_eq!((good.status, &good.json()["status"]), (200, &json!(401)), "{good}");
    assert_eq!(ask(&"x".repeat(70_000)).await.status, 413);
    assert_eq!(service.ask_gateway(&Request::new("GET", "/verify")).await.status, 405);
    assert_eq!(service.ask_gateway(&Request::new("GET", "/verify/other")).await.status, 404);
    // Text and lists are both taken.
    let caller = Caller::new(&service).await;
    let proof = caller.proof().sign(&caller.key);
    let body = json!({"method": "GET", "url": URL, "authorization": format!("DPoP {}", caller.token), "dpop": proof});
    assert_eq!(ask(&body.to_string()).await.json()["active"], true);
}

/// RS-02: a token without an end user is in the client's own name.
async fn a_client_calls_in_its_own_name(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    let call = Client::known("web").credentials_call(&key, service.issuer()).set("scope", "accounts");
    let token = text(&call.send(&service).await.tokens(), "access_token");
    for dialect in Dialect::ALL {
        let judged = Verify::good("GET", URL, &token, &key).ask(dialect, &service).await.passes();
        assert_eq!(judged.upstream["x-dpop-subject"], "web");
    }
    let judged = Verify::good("GET", URL, &token, &key).ask(Dialect::Json, &service).await.passes();
    assert_eq!(judged.whole["grant_id"], Value::Null);
}

both_stores!(
    a_good_call_passes_once_in_every_dialect,
    a_plugin_is_told_who_calls,
    exactly_one_proof_is_needed,
    a_proof_for_another_call_is_refused,
    another_key_can_not_use_the_token,
    a_token_is_not_taken_as_a_bearer_token,
    a_token_without_a_key_does_not_fit,
    the_scheme_has_no_case_and_any_number_of_spaces,
    one_token_in_one_place,
    without_credentials_no_error_is_named,
    a_challenge_leads_to_the_metadata_of_the_resource,
    audience_and_scope_must_reach,
    only_registered_urls_are_answered_for,
    a_proof_names_the_url_that_the_call_went_to,
    a_gateway_and_a_service_behind_it_may_both_verify_one_call,
    a_refused_call_uses_nothing_up,
    a_developer_is_told_how_each_check_went,
    a_malformed_question_is_refused_as_such,
    a_client_calls_in_its_own_name,
);
