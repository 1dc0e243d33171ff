//! Access tokens at the gateway: ours and those of trusted issuers (RFC 9068 section 4), and what goes on upstream.

use keybound_testkit::jose::{b64, random, split};
use keybound_testkit::{Dialect, Key, Service, Settings, Store, Verify, both_stores, time};
use serde_json::{Value, json};

use crate::access::{signed, text};
use crate::verify::{Caller, URL};
use crate::{start, start_with};

const FOREIGN: &str = "https://idp.example.test";

/// A call with a token that is bound to `key`.
fn call(token: &str, key: &Key) -> Verify {
    Verify::good("GET", URL, token, key)
}

/// RS-12, AT-01, AT-02, AT-03, CNF-02: what is no access token of this service.
async fn a_token_that_does_not_count_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let tokens = session.refresh().send(&service).await.tokens();
    let (token, key) = (text(&tokens, "access_token"), &session.key);
    let (header, claims, input, _) = split(&token);
    let forger = Key::es256();
    let changed = |value: &Value, name: &str, member: Value| {
        let mut changed = value.clone();
        changed[name] = member;
        changed
    };
    let bad = [
        "unknown".to_owned(),
        text(&tokens, "id_token"),
        session.refresh_token.clone(),
        format!("{input}.{}", b64(forger.sign(input.as_bytes()))),
        format!("{input}."),
        forger.jws(&changed(&header, "alg", json!("none")), &claims),
        forger.jws(&changed(&header, "alg", json!("HS256")), &claims),
        forger.jws(&changed(&header, "typ", json!("JWT")), &claims),
        forger.jws(&header, &changed(&claims, "iss", json!("https://other.example.test"))),
        forger.jws(&header, &changed(&claims, "exp", json!(4_000_000_000_i64))),
        forger.jws(&header, &changed(&claims, "cnf", json!({"x5t#S256": "x"}))),
    ];
    for dialect in Dialect::ALL {
        for token in &bad {
            call(token, key).ask(dialect, &service).await.refused(401, "invalid_token");
        }
        call(&token, key).ask(dialect, &service).await.passes();
    }
}

/// RS-12, AT-03: until `exp`, and not after, cached or not.
async fn an_expired_token_is_refused(store: Store) {
    let service = start_with(store, Settings::default().with("tokens.access_token_lifetime_s", 10)).await;
    let caller = Caller::new(&service).await;
    let unseen = Caller::new(&service).await;
    caller.call().ask(Dialect::Nginx, &service).await.passes();
    let exp = split(&unseen.token).1["exp"].as_i64().expect("exp");
    while time::now() < exp {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for dialect in Dialect::ALL {
        caller.call().ask(dialect, &service).await.refused(401, "invalid_token");
        unseen.call().ask(dialect, &service).await.refused(401, "invalid_token");
    }
}

/// RS-12: a revocation is seen by the next call, on the node that heard of it.
async fn a_revoked_token_is_refused_at_once(store: Store) {
    let service = start(store).await;
    for dialect in Dialect::ALL {
        let caller = Caller::new(&service).await;
        caller.call().ask(dialect, &service).await.passes();
        service.revoke(&caller.grant_id).await;
        caller.call().ask(dialect, &service).await.refused(401, "invalid_token");
        caller.call().member("replay", "none").ask(Dialect::Json, &service).await.refused(401, "invalid_token");
    }
}

/// A service that trusts another issuer, and the key of that one.
async fn trusting(store: Store) -> (Service, Key) {
    let issuer = Key::es256();
    let trusted = json!([{"issuer": FOREIGN, "jwks": {"keys": [issuer.jwk()]}, "scopes": ["accounts"]}]);
    (start_with(store, Settings::default().with("trusted_issuer", trusted)).await, issuer)
}

/// A good token of the other issuer, which is bound to `key`.
fn foreign_claims(key: &Key) -> Value {
    let now = time::now();
    json!({"iss": FOREIGN, "sub": "bob", "aud": ["https://api.example.test/accounts"], "client_id": "their-app", "scope": "accounts",
        "iat": now, "exp": now + 100, "jti": b64(random::<16>()), "cnf": {"jkt": key.jkt()}, "grant_id": "theirs"})
}

fn at_jwt(issuer: &Key, claims: &Value) -> String {
    issuer.jws(&json!({"alg": issuer.alg(), "typ": "at+jwt"}), claims)
}

/// AT-01, AT-02, AT-03, RS-04, CNF-02: another issuer's tokens count as ours do, for as long as they are for this resource.
async fn a_token_of_a_trusted_issuer_counts(store: Store) {
    let (service, issuer) = trusting(store).await;
    let key = Key::es256();
    let good = at_jwt(&issuer, &foreign_claims(&key));
    for dialect in Dialect::ALL {
        let judged = call(&good, &key).ask(dialect, &service).await.passes();
        assert_eq!(
            (&judged.upstream["x-dpop-subject"], &judged.upstream["x-dpop-client-id"]),
            (&"bob".to_owned(), &"their-app".to_owned())
        );
    }
    let whole = call(&good, &key).ask(Dialect::Json, &service).await.passes().whole;
    assert_eq!((&whole["iss"], &whole["grant_id"]), (&json!(FOREIGN), &Value::Null));
    let edited = |name: &str, value: Value| {
        let mut claims = foreign_claims(&key);
        claims[name] = value;
        claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        claims
    };
    // Without a scope of its own it has that of the configuration.
    call(&at_jwt(&issuer, &edited("scope", json!(null))), &key).ask(Dialect::Nginx, &service).await.passes();
    for (name, value) in [
        ("iss", json!("https://stranger.example.test")),
        ("aud", json!(service.issuer())),
        ("aud", json!("https://api.example.test/payments")),
        ("exp", json!(time::now() - 1)),
        ("nbf", json!(time::now() + 60)),
        ("cnf", json!(null)),
        ("cnf", json!({})),
        ("cnf", json!({"x5t#S256": "x"})),
        ("sub", json!(null)),
        ("client_id", json!(null)),
        ("jti", json!(null)),
        ("iat", json!(null)),
        ("exp", json!(null)),
        ("aud", json!(null)),
    ] {
        let token = at_jwt(&issuer, &edited(name, value.clone()));
        let judged = call(&token, &key).ask(Dialect::Nginx, &service).await;
        assert_eq!((judged.status, judged.error.as_str()), (401, "invalid_token"), "{name} {value}");
    }
    for typ in ["JWT", "dpop+jwt", "id+jwt"] {
        let token = issuer.jws(&json!({"alg": issuer.alg(), "typ": typ}), &foreign_claims(&key));
        call(&token, &key).ask(Dialect::Nginx, &service).await.refused(401, "invalid_token");
    }
    call(&at_jwt(&Key::es256(), &foreign_claims(&key)), &key).ask(Dialect::Nginx, &service).await.refused(401, "invalid_token");
    let token = at_jwt(&issuer, &edited("scope", json!("other")));
    call(&token, &key).ask(Dialect::Nginx, &service).await.refused(403, "insufficient_scope");
    let token = at_jwt(&issuer, &foreign_claims(&key));
    call(&token, &Key::es256()).ask(Dialect::Nginx, &service).await.refused(401, "invalid_token");
}

/// Without a trusted issuer nobody else's tokens count; a token that names us is never another's.
async fn an_issuer_that_is_not_trusted_does_not_count(store: Store) {
    let service = start(store).await;
    let (key, issuer) = (Key::es256(), Key::es256());
    call(&at_jwt(&issuer, &foreign_claims(&key)), &key).ask(Dialect::Nginx, &service).await.refused(401, "invalid_token");
    let (service, issuer) = trusting(store).await;
    let mut claims = foreign_claims(&key);
    claims["iss"] = json!(service.issuer());
    call(&at_jwt(&issuer, &claims), &key).ask(Dialect::Nginx, &service).await.refused(401, "invalid_token");
    call(&at_jwt(&issuer, &foreign_claims(&key)), &key).ask(Dialect::Nginx, &service).await.passes();
}

/// What goes on in `Authorization`, in every dialect.
async fn the_service_behind_gets_the_authorization_it_wants(store: Store) {
    let resource = |id: &str, upstream: &str| {
        let url = format!("https://{id}.example.test");
        json!({"id": id, "url": url, "audience": url, "scopes": [id], "upstream_authorization": upstream})
    };
    let resources = json!([resource("accounts", "bearer"), resource("payments", "jwt")]);
    let service = start_with(store, Settings::default().with("resource", resources)).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        let ask = async |url: &str| Verify::good("GET", url, &caller.token, &caller.key).ask(dialect, &service).await.passes();
        let judged = ask("https://accounts.example.test/1").await;
        assert_eq!(judged.upstream["authorization"], format!("Bearer {}", caller.token));
        let judged = ask("https://payments.example.test/1").await;
        let jwt = judged.upstream["authorization"].strip_prefix("Bearer ").expect("a bearer token").to_owned();
        let claims = signed(&service, &jwt, "at+jwt").await;
        let original = split(&caller.token).1;
        for (name, value) in [
            ("iss", json!(service.issuer())),
            ("sub", json!("alice")),
            ("client_id", json!("spa")),
            ("aud", json!("https://payments.example.test")),
            ("scope", json!("payments")),
        ] {
            assert_eq!(claims[name], value, "{claims}");
        }
        assert!(claims["exp"].as_i64() <= original["exp"].as_i64() && claims["exp"].as_i64() <= Some(time::now() + 60), "{claims}");
        assert!(claims["jti"] != original["jti"] && claims.get("cnf").is_none(), "{claims}");
        // It is of use there and nowhere else: nothing here takes it for an access token.
        let introspected = service.get("/oauth/userinfo").await;
        assert_eq!(introspected.status, 401);
        let as_bearer = keybound_testkit::Request::new("GET", "/oauth/userinfo").header("Authorization", format!("Bearer {jwt}"));
        assert_eq!(service.send(&as_bearer).await.status, 401);
        Verify::good("GET", "https://payments.example.test/1", &jwt, &caller.key)
            .ask(dialect, &service)
            .await
            .refused(401, "invalid_token");
    }
}

both_stores!(
    a_token_that_does_not_count_is_refused,
    an_expired_token_is_refused,
    a_revoked_token_is_refused_at_once,
    a_token_of_a_trusted_issuer_counts,
    an_issuer_that_is_not_trusted_does_not_count,
    the_service_behind_gets_the_authorization_it_wants,
);
