//! Token exchange (RFC 8693): what it takes, what it gives, and that it never gives more.

use keybound_testkit::jose::{b64, random, sha256, split};
use keybound_testkit::service::SECRET;
use keybound_testkit::{Answer, Call, Client, ClientLogin, Endpoint, Host, Key, Service, Settings, Store, both_stores, time};
use serde_json::{Value, json};

use crate::start_with;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";

/// The issuer of the bearer deployment that is left behind.
const OLD_ISSUER: &str = "https://old.example.test";

struct Bench {
    service: Service,
    old: Key,
}

impl Bench {
    async fn new(store: Store) -> Self {
        Self::with(store, |settings| settings).await
    }

    async fn with(store: Store, change: impl FnOnce(Settings) -> Settings) -> Self {
        let old = Key::es256();
        let trusted = json!([{"issuer": OLD_ISSUER, "jwks": {"keys": [old.jwk()]}, "clients": ["app", "backend", "bearer-backend"]}]);
        let settings = clients().with("trusted_issuer", trusted);
        Self { service: start_with(store, change(settings)).await, old }
    }

    /// A token of the old issuer, with these claims changed.
    fn old_token(&self, changes: Value) -> String {
        let now = time::now();
        let mut claims = json!({"iss": OLD_ISSUER, "aud": self.service.issuer(), "sub": "alice", "client_id": "app",
            "scope": "accounts payments other", "iat": now, "exp": now + 100, "jti": b64(random::<16>())});
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        self.old.jws(&json!({"alg": "ES256", "typ": "JWT"}), &claims)
    }

    /// An exchange of this token by this client, without a proof.
    fn bare(&self, client: &Client, token: &str) -> Call {
        let call = Call::new(Endpoint::Token, self.service.issuer()).set("grant_type", GRANT);
        call.set("subject_token", token).set("subject_token_type", ACCESS_TOKEN).login(client)
    }

    /// The same with a fresh proof of a key that the token has nothing to do with.
    fn exchange(&self, client: &Client, token: &str, key: &Key) -> Call {
        self.bare(client, token).prove(key)
    }

    /// The same with a fresh proof for the use of the token.
    fn exchange_as_holder(&self, client: &Client, token: &str, key: &Key) -> Call {
        let call = self.bare(client, token);
        let proof = call.fresh_proof(key).claim("ath", b64(sha256(token))).sign(key);
        call.proof(proof)
    }

    /// Access token and key of a new session of `app`, which is public.
    async fn own_token(&self) -> (String, Key) {
        let session = self.service.session("app").await;
        let tokens = session.refresh().send(&self.service).await.tokens();
        (text(&tokens, "access_token"), session.key)
    }

    async fn send(&self, call: Call) -> Answer {
        call.send(&self.service).await
    }
}

fn clients() -> Settings {
    let scope = "accounts openid payments";
    let registered =
        |id: &str| json!({"client_id": id, "token_endpoint_auth_method": "none", "grant_types": ["refresh_token", GRANT], "scope": scope});
    let confidential = |id: &str, changes: Value| {
        let mut client = registered(id);
        client["token_endpoint_auth_method"] = json!("client_secret_basic");
        client["client_secret"] = json!(SECRET);
        for (name, value) in changes.as_object().into_iter().flatten() {
            client[name] = value.clone();
        }
        client
    };
    Settings::default()
        .client(registered("app"))
        .client(registered("other-app"))
        .client(confidential("backend", json!({})))
        .client(confidential("bearer-backend", json!({"dpop_bound_access_tokens": false})))
        .client(confidential("on-behalf", json!({"bound_subject_without_proof": true, "dpop_bound_access_tokens": false})))
        .client(confidential("accounts-only", json!({"scope": "accounts"})))
}

fn app() -> Client {
    Client { id: "app".to_owned(), login: ClientLogin::Public }
}

fn confidential(id: &str) -> Client {
    Client { id: id.to_owned(), login: ClientLogin::Basic(SECRET.to_owned()) }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

fn claims(answer: &Value) -> Value {
    split(&text(answer, "access_token")).1
}

/// TX-01, TOK-01: how a bearer deployment gets bound tokens.
async fn a_bearer_token_of_a_trusted_issuer_becomes_a_bound_token(store: Store) {
    let bench = Bench::new(store).await;
    let (token, key) = (bench.old_token(json!({})), Key::es256());
    let answer = bench.send(bench.exchange(&app(), &token, &key)).await.tokens();
    assert_eq!(answer["issued_token_type"], ACCESS_TOKEN);
    assert_eq!((&answer["token_type"], &answer["sub"], &answer["scope"]), (&json!("DPoP"), &json!("alice"), &json!("accounts payments")));
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none(), "{answer}");
    let issued = claims(&answer);
    assert_eq!(issued["cnf"], json!({"jkt": key.jkt()}));
    assert_eq!((&issued["iss"], &issued["sub"], &issued["client_id"]), (&json!(bench.service.issuer()), &json!("alice"), &json!("app")));
    assert_eq!(issued["aud"], json!(["https://api.example.test/accounts", "https://api.example.test/payments"]));
    assert!(issued.get("act").is_none(), "the client is the one that the token was issued to: {issued}");
    // The same token may be exchanged again, by another key too: it is a bearer token.
    bench.send(bench.exchange(&app(), &token, &Key::ed25519())).await.tokens();
    // And with a proof that names it.
    bench.send(bench.exchange_as_holder(&app(), &token, &key)).await.tokens();
}

/// TX-01, TOK-01, DPOP-4.3-15: the rules for proofs are those of every grant, but that `ath` may name the subject token.
async fn an_exchange_takes_a_proof_like_any_grant(store: Store) {
    let bench = Bench::new(store).await;
    let (token, key) = (bench.old_token(json!({})), Key::es256());
    bench.send(bench.bare(&app(), &token)).await.invalid_proof();
    bench.send(bench.bare(&confidential("backend"), &token)).await.invalid_proof();
    let used = bench.exchange(&app(), &token, &key);
    bench.send(used.clone()).await.tokens();
    bench.send(used).await.invalid_proof();
    let other_token = bench.old_token(json!({}));
    let call = bench.bare(&app(), &token);
    let proof = call.fresh_proof(&key).claim("ath", b64(sha256(&other_token))).sign(&key);
    bench.send(call.proof(proof)).await.invalid_proof();
    bench.send(bench.exchange(&app(), &token, &key)).await.tokens();
}

/// NON-10: a nonce challenge uses nothing up.
async fn an_exchange_survives_a_nonce_challenge(store: Store) {
    let bench = Bench::with(store, |settings| settings.with("dpop.nonce", "required")).await;
    let (token, key) = (bench.old_token(json!({})), Key::es256());
    let call = bench.exchange(&app(), &token, &key);
    let nonce = bench.send(call.clone()).await.nonce_challenge();
    bench.send(call.prove_with_nonce(&key, &nonce)).await.tokens();
}

/// A client that may have bearer tokens gets one for a bearer token, and a bound one as soon as it sends a proof.
async fn a_bearer_client_moves_to_bound_tokens_by_sending_a_proof(store: Store) {
    let bench = Bench::new(store).await;
    let token = bench.old_token(json!({}));
    let client = confidential("bearer-backend");
    let bearer = bench.send(bench.bare(&client, &token)).await.tokens();
    assert_eq!(bearer["token_type"], "Bearer");
    let key = Key::es256();
    let bound = bench.send(bench.exchange(&client, &token, &key)).await.tokens();
    assert_eq!(claims(&bound)["cnf"]["jkt"], key.jkt());
}

/// TX-02
async fn a_bad_subject_token_is_an_invalid_request(store: Store) {
    let bench = Bench::new(store).await;
    let key = Key::es256();
    let now = time::now();
    let good = bench.old_token(json!({}));
    let (head, _) = good.rsplit_once('.').expect("a signature");
    let stranger = Key::es256();
    let own_claims = json!({"iss": bench.service.issuer(), "aud": "https://api.example.test/accounts", "sub": "alice", "client_id": "app",
        "scope": "accounts", "iat": now, "exp": now + 100, "jti": "x"});
    for (what, token) in [
        ("opaque", "opaque".to_owned()),
        ("unsigned", format!("{}.{}.", b64(r#"{"alg":"none"}"#), good.split('.').nth(1).expect("claims"))),
        ("another signature", format!("{head}.{}", b64([0; 64]))),
        ("a stranger's key", stranger.jws(&json!({"alg": "ES256"}), &split(&good).1)),
        ("a forged token of ours", stranger.jws(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "x"}), &own_claims)),
        ("an issuer nobody trusts", bench.old_token(json!({"iss": "https://evil.example.test"}))),
        ("no issuer", bench.old_token(json!({"iss": null}))),
        ("another audience", bench.old_token(json!({"aud": "https://elsewhere.example.test"}))),
        ("no audience", bench.old_token(json!({"aud": null}))),
        ("expired", bench.old_token(json!({"exp": now - 1}))),
        ("no expiry", bench.old_token(json!({"exp": null}))),
        ("from the future", bench.old_token(json!({"nbf": now + 60}))),
        ("no subject", bench.old_token(json!({"sub": null}))),
        ("another kind of JWT", bench.old.jws(&json!({"alg": "ES256", "typ": "logout+jwt"}), &split(&good).1)),
    ] {
        let answer = bench.send(bench.exchange(&app(), &token, &key)).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.response);
        answer.refused(400, "invalid_request");
    }
    let call = || bench.exchange(&app(), &good, &key);
    for changed in [
        call().without("subject_token"),
        call().without("subject_token_type"),
        call().set("subject_token_type", REFRESH_TOKEN),
        call().set("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        call().set("subject_token_type", "access_token"),
        call().set("requested_token_type", REFRESH_TOKEN),
        call().set("requested_token_type", JWT),
        call().set("actor_token", good.as_str()),
        call().set("actor_token_type", ACCESS_TOKEN),
        call().set("actor_token", "opaque").set("actor_token_type", ACCESS_TOKEN),
        call().query("?subject_token=x"),
    ] {
        bench.send(changed).await.refused(400, "invalid_request");
    }
    bench.send(call().set("subject_token_type", JWT).set("requested_token_type", ACCESS_TOKEN)).await.tokens();
}

/// TX-02: who may exchange is for the operator to say.
async fn only_a_client_that_is_allowed_to_exchanges(store: Store) {
    let bench = Bench::new(store).await;
    let token = bench.old_token(json!({}));
    let key = Key::es256();
    for client in ["spa", "web"] {
        bench.send(bench.exchange(&Client::known(client), &token, &key)).await.refused(400, "unauthorized_client");
    }
    let unlisted = Client { id: "other-app".to_owned(), login: ClientLogin::Public };
    bench.send(bench.exchange(&unlisted, &token, &key)).await.refused(400, "invalid_request");
    let (own, own_key) = bench.own_token().await;
    bench.send(bench.exchange_as_holder(&unlisted, &own, &own_key)).await.refused(400, "invalid_request");
    bench.send(bench.exchange_as_holder(&app(), &own, &own_key)).await.tokens();
    bench.send(bench.exchange(&app(), &token, &key)).await.tokens();
}

/// TX-03
async fn a_bound_token_is_exchanged_by_its_key_alone(store: Store) {
    let bench = Bench::new(store).await;
    let (token, key) = bench.own_token().await;
    let other = Key::es256();
    // No `ath`, another key, another key without `ath`, and no proof from a client that is not bound to send one.
    bench.send(bench.exchange(&app(), &token, &key)).await.refused(400, "invalid_request");
    bench.send(bench.exchange_as_holder(&app(), &token, &other)).await.refused(400, "invalid_request");
    bench.send(bench.exchange(&confidential("backend"), &token, &other)).await.refused(400, "invalid_request");
    bench.send(bench.bare(&confidential("bearer-backend"), &token)).await.refused(400, "invalid_request");
    let answer = bench.send(bench.exchange_as_holder(&app(), &token, &key)).await.tokens();
    assert_eq!(claims(&answer)["cnf"]["jkt"], key.jkt());

    let foreign = bench.old_token(json!({"cnf": {"jkt": key.jkt()}}));
    bench.send(bench.exchange(&app(), &foreign, &other)).await.refused(400, "invalid_request");
    bench.send(bench.exchange_as_holder(&app(), &foreign, &key)).await.tokens();
    for unreadable in [json!({}), json!({"jkt": "x"}), json!({"x5t#S256": b64([1; 32])}), json!("x")] {
        let foreign = bench.old_token(json!({"cnf": unreadable}));
        bench.send(bench.exchange_as_holder(&app(), &foreign, &key)).await.refused(400, "invalid_request");
    }
}

/// TX-03: the explicit policy, which still gives nothing unbound.
async fn a_policy_may_excuse_from_the_subjects_proof_and_never_unbinds(store: Store) {
    let bench = Bench::new(store).await;
    let (token, _) = bench.own_token().await;
    let (client, own) = (confidential("on-behalf"), Key::es256());
    bench.send(bench.bare(&client, &token)).await.refused(400, "invalid_request");
    let answer = bench.send(bench.exchange(&client, &token, &own)).await.tokens();
    let issued = claims(&answer);
    assert_eq!(issued["cnf"]["jkt"], own.jkt());
    assert_eq!((&issued["sub"], &issued["client_id"]), (&json!("alice"), &json!("on-behalf")));
    assert_eq!(issued["act"], json!({"sub": "on-behalf"}));

    let old = Key::es256();
    let trusted = json!([{"issuer": OLD_ISSUER, "jwks": {"keys": [old.jwk()]}, "clients": ["app"], "bound_subject_without_proof": true}]);
    let service = start_with(store, clients().with("trusted_issuer", trusted)).await;
    let bench = Bench { service, old };
    for cnf in [json!({"jkt": Key::es256().jkt()}), json!({"x5t#S256": b64([1; 32])})] {
        let answer = bench.send(bench.exchange(&app(), &bench.old_token(json!({"cnf": cnf})), &own)).await.tokens();
        assert_eq!(claims(&answer)["cnf"]["jkt"], own.jkt());
    }
}

/// TX-04
async fn the_result_is_never_wider(store: Store) {
    let bench = Bench::new(store).await;
    let key = Key::es256();
    let token = bench.old_token(json!({"scope": "accounts openid", "exp": time::now() + 30}));
    let call = || bench.exchange(&app(), &token, &key);
    let answer = bench.send(call()).await.tokens();
    assert_eq!(answer["scope"], "accounts openid");
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| seconds <= 30), "{answer}");
    let issued = claims(&answer);
    assert!(issued["exp"].as_i64() <= split(&token).1["exp"].as_i64(), "{issued}");
    bench.send(call().set("scope", "payments")).await.refused(400, "invalid_scope");
    bench.send(call().set("scope", "accounts payments")).await.refused(400, "invalid_scope");
    assert_eq!(bench.send(call().set("scope", "accounts")).await.tokens()["scope"], "accounts");
    bench.send(call().set("audience", "https://nobody.example.test")).await.refused(400, "invalid_target");
    bench.send(call().set("resource", "https://nobody.example.test")).await.refused(400, "invalid_target");
    // Nor wider than the client.
    let client = confidential("accounts-only");
    let (own, own_key) = bench.own_token().await;
    let narrow = bench.send(bench.exchange_as_holder(&client, &own, &own_key)).await.tokens();
    assert_eq!((&narrow["scope"], &claims(&narrow)["aud"]), (&json!("accounts"), &json!("https://api.example.test/accounts")));
    bench.send(bench.exchange_as_holder(&client, &own, &own_key).set("scope", "payments")).await.refused(400, "invalid_scope");
}

/// TX-04: a token for one resource gives none for another.
async fn a_token_of_ours_keeps_within_its_audience(store: Store) {
    let bench = Bench::new(store).await;
    let (token, key) = bench.own_token().await;
    let accounts = "https://api.example.test/accounts";
    let call = bench.exchange_as_holder(&app(), &token, &key).set("audience", accounts);
    let narrow = bench.send(call).await.tokens();
    assert_eq!((&claims(&narrow)["aud"], &narrow["scope"]), (&json!(accounts), &json!("accounts openid")));
    let narrow = text(&narrow, "access_token");
    let again = || bench.exchange_as_holder(&app(), &narrow, &key);
    bench.send(again().set("resource", "https://api.example.test/payments")).await.refused(400, "invalid_target");
    bench.send(again().set("scope", "payments")).await.refused(400, "invalid_scope");
    assert_eq!(claims(&bench.send(again()).await.tokens())["aud"], accounts);
    assert_eq!(claims(&bench.send(again().set("resource", accounts)).await.tokens())["aud"], accounts);
}

/// RAR-03, TX-04
async fn authorization_details_are_handed_on_and_never_widened(store: Store) {
    let registered = json!({"client_id": "payer", "token_endpoint_auth_method": "none", "grant_types": [GRANT],
        "scope": "payments", "authorization_details_types": ["account_information"]});
    let old = Key::es256();
    let trusted = json!([{"issuer": OLD_ISSUER, "jwks": {"keys": [old.jwk()]}, "clients": ["payer"]}]);
    let service = start_with(store, clients().client(registered).with("trusted_issuer", trusted)).await;
    let bench = Bench { service, old };
    let client = Client { id: "payer".to_owned(), login: ClientLogin::Public };
    let detail = |actions: Value| json!({"type": "account_information", "actions": actions, "identifier": "1"});
    let token =
        bench.old_token(json!({"scope": "payments", "authorization_details": [detail(json!(["list", "read"])), {"type": "unregistered"}]}));
    let call = || bench.exchange(&client, &token, &Key::es256());
    assert_eq!(bench.send(call()).await.tokens()["authorization_details"], json!([detail(json!(["list", "read"]))]));
    let less = json!([{"type": "account_information", "actions": ["read"]}]);
    let answer = bench.send(call().set("authorization_details", less.to_string())).await.tokens();
    assert_eq!(claims(&answer)["authorization_details"], json!([detail(json!(["read"]))]));
    for more in [
        json!([detail(json!(["read", "write"]))]),
        json!([{"type": "unregistered"}]),
        json!([{"type": "account_information", "identifier": "2"}]),
    ] {
        bench.send(call().set("authorization_details", more.to_string())).await.refused(400, "invalid_authorization_details");
    }
}

/// RFC 8693 sections 4.1 and 4.4
async fn whoever_acts_is_named_and_must_be_allowed(store: Store) {
    let bench = Bench::new(store).await;
    let (client, key) = (confidential("backend"), Key::es256());
    let act = |answer: Value| claims(&answer)["act"].clone();
    let exchange = |token: &str| bench.exchange(&client, token, &key);
    assert_eq!(act(bench.send(exchange(&bench.old_token(json!({})))).await.tokens()), json!({"sub": "backend"}));
    let acted = bench.old_token(json!({"act": {"sub": "first"}}));
    assert_eq!(act(bench.send(exchange(&acted)).await.tokens()), json!({"sub": "backend", "act": {"sub": "first"}}));
    // An actor token stands in for the client.
    let actor = bench.old_token(json!({"sub": "bob"}));
    let call = exchange(&bench.old_token(json!({}))).set("actor_token", actor.as_str()).set("actor_token_type", ACCESS_TOKEN);
    assert_eq!(act(bench.send(call).await.tokens()), json!({"sub": "bob", "iss": OLD_ISSUER}));
    let bound = bench.old_token(json!({"sub": "bob", "cnf": {"jkt": Key::es256().jkt()}}));
    let call = exchange(&bench.old_token(json!({}))).set("actor_token", bound.as_str()).set("actor_token_type", ACCESS_TOKEN);
    bench.send(call).await.refused(400, "invalid_request");
    // `may_act` names who may.
    for (may_act, allowed) in [
        (json!({"sub": "backend"}), true),
        (json!({"sub": "backend", "iss": bench.service.issuer()}), true),
        (json!({"sub": "backend", "iss": OLD_ISSUER}), false),
        (json!({"sub": "bob"}), false),
        (json!({}), false),
        (json!("backend"), false),
    ] {
        let answer = bench.send(exchange(&bench.old_token(json!({"may_act": may_act})))).await;
        assert_eq!(answer.status(), if allowed { 200 } else { 400 }, "{may_act}: {}", answer.response);
    }
    let mut chain = json!({"sub": "0"});
    for link in 1..8 {
        chain = json!({"sub": link.to_string(), "act": chain});
    }
    bench.send(exchange(&bench.old_token(json!({"act": chain["act"]})))).await.tokens();
    bench.send(exchange(&bench.old_token(json!({"act": chain})))).await.refused(400, "invalid_request");
}

/// G6: what came out of a grant ends with it.
async fn an_exchanged_token_ends_with_the_grant_of_its_subject(store: Store) {
    let bench = Bench::new(store).await;
    let session = bench.service.session("app").await;
    let tokens = session.refresh().send(&bench.service).await.tokens();
    let token = text(&tokens, "access_token");
    let exchanged = bench.send(bench.exchange_as_holder(&app(), &token, &session.key)).await.tokens();
    let exchanged = text(&exchanged, "access_token");
    bench.send(bench.exchange_as_holder(&app(), &exchanged, &session.key)).await.tokens();
    assert_eq!(bench.service.revoke(&session.grant_id).await.status, 204);
    for ended in [&token, &exchanged] {
        bench.send(bench.exchange_as_holder(&app(), ended, &session.key)).await.refused(400, "invalid_request");
    }
}

/// RELIABILITY, row JWKS: keys are fetched for a trusted issuer only, and a flood of invented names costs one fetch at most.
async fn published_keys_are_fetched_once_and_on_nobodys_word(store: Store) {
    let (host, old, next) = (Host::start().await, Key::es256(), Key::es256());
    let named = |key: &Key, kid: &str| {
        let mut jwk = key.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    host.publish(&json!({"keys": [named(&old, "a")]}));
    let trusted = json!([{"issuer": OLD_ISSUER, "jwks_uri": host.url("/jwks"), "clients": ["app"]}]);
    let service = start_with(store, clients().with("trusted_issuer", trusted)).await;
    let bench = Bench { service, old };
    let claims = split(&bench.old_token(json!({}))).1;
    let signed = |key: &Key, kid: &str| key.jws(&json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), &claims);
    // Neither another issuer, nor a client that may not, nor an expired token makes us ask.
    let evil = bench.old_token(json!({"iss": "https://evil.example.test", "jku": host.url("/evil")}));
    bench.send(bench.exchange(&app(), &evil, &Key::es256())).await.refused(400, "invalid_request");
    let unlisted = Client { id: "other-app".to_owned(), login: ClientLogin::Public };
    bench.send(bench.exchange(&unlisted, &signed(&bench.old, "a"), &Key::es256())).await.refused(400, "invalid_request");
    assert_eq!(host.asked(), 0);
    bench.send(bench.exchange(&app(), &signed(&bench.old, "a"), &Key::es256())).await.tokens();
    assert_eq!(host.asked(), 1);
    host.publish(&json!({"keys": [named(&next, "b")]}));
    for attempt in 0..20 {
        let invented = signed(&next, &format!("invented-{attempt}"));
        bench.send(bench.exchange(&app(), &invented, &Key::es256())).await.refused(400, "invalid_request");
    }
    assert_eq!(host.asked(), 1);
    bench.send(bench.exchange(&app(), &signed(&bench.old, "a"), &Key::es256())).await.tokens();
}

/// R4: keys that can't be had are no verdict on the token.
async fn keys_that_cannot_be_had_are_503(store: Store) {
    let host = Host::start().await;
    host.answer(500, "", "");
    let trusted = json!([{"issuer": OLD_ISSUER, "jwks_uri": host.url("/jwks"), "clients": ["app"]}]);
    let service = start_with(store, clients().with("trusted_issuer", trusted)).await;
    let bench = Bench { service, old: Key::es256() };
    let answer = bench.send(bench.exchange(&app(), &bench.old_token(json!({})), &Key::es256())).await;
    answer.refused(503, "temporarily_unavailable");
    assert_eq!(answer.response.header("Retry-After"), Some("1"));
}

both_stores!(
    a_bearer_token_of_a_trusted_issuer_becomes_a_bound_token,
    an_exchange_takes_a_proof_like_any_grant,
    an_exchange_survives_a_nonce_challenge,
    a_bearer_client_moves_to_bound_tokens_by_sending_a_proof,
    a_bad_subject_token_is_an_invalid_request,
    only_a_client_that_is_allowed_to_exchanges,
    a_bound_token_is_exchanged_by_its_key_alone,
    a_policy_may_excuse_from_the_subjects_proof_and_never_unbinds,
    the_result_is_never_wider,
    a_token_of_ours_keeps_within_its_audience,
    authorization_details_are_handed_on_and_never_widened,
    whoever_acts_is_named_and_must_be_allowed,
    an_exchanged_token_ends_with_the_grant_of_its_subject,
    published_keys_are_fetched_once_and_on_nobodys_word,
    keys_that_cannot_be_had_are_503,
);
