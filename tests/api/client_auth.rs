//! Client authentication (RFC 6749 section 2.3, RFC 7523, draft-ietf-oauth-rfc7523bis).

use keybound_testkit::flow::{ASSERTION_TYPE, assertion};
use keybound_testkit::jose::b64;
use keybound_testkit::service::{SECRET, signer_key};
use keybound_testkit::{Answer, Call, Client, Endpoint, Key, Service, Settings, Store, both_stores, time};
use serde_json::{Value, json};

use crate::{start, start_with};

/// `client_credentials` with a client that has not shown yet who it is.
fn bare(service: &Service) -> Call {
    Call::new(Endpoint::Token, service.issuer()).set("grant_type", "client_credentials").prove(&Key::es256())
}

fn basic(raw: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(raw))
}

/// 401 `invalid_client` with a challenge for Basic, which is what the client used.
fn refused_basic(answer: &Answer) {
    answer.refused(401, "invalid_client");
    let challenge = answer.response.header("WWW-Authenticate").unwrap_or_else(|| panic!("no challenge: {}", answer.response));
    assert!(challenge.starts_with("Basic"), "{challenge}");
}

/// 401 `invalid_client`; Basic is named only where the client used it.
fn refused_otherwise(answer: &Answer) {
    answer.refused(401, "invalid_client");
    let challenge = answer.response.header("WWW-Authenticate").unwrap_or_default();
    assert!(!challenge.contains("Basic"), "{challenge}");
}

/// TEP-07, TEP-08
async fn basic_is_decoded_and_compared(store: Store) {
    let service = start(store).await;
    for id in ["web", "odd: id+%41"] {
        let client = Client::known(id);
        bare(&service).header("Authorization", client.basic(SECRET)).send(&service).await.tokens();
        bare(&service).header("Authorization", client.basic("another secret 0123456789")).send(&service).await;
        refused_basic(&bare(&service).header("Authorization", client.basic(&SECRET[1..])).send(&service).await);
        refused_basic(&bare(&service).header("Authorization", client.basic("")).send(&service).await);
    }
    // Some clients leave unreserved characters alone and write a space as a plus sign.
    let plus = "odd%3A+id%2B%2541:p%40ss%3A+%2B%2F%2541%26%3Dword~0123456789";
    bare(&service).header("Authorization", basic(plus)).send(&service).await.tokens();
    let lower = "web:p%40ss%3a%20%2b%2f%2541%26%3dword~0123456789";
    bare(&service).header("Authorization", basic(lower)).send(&service).await.tokens();
    let answer = bare(&service).header("Authorization", basic("unknown-client:unknown-secret")).send(&service).await;
    refused_basic(&answer);
}

/// TEP-07, TEP-08
async fn a_malformed_authorization_header_is_refused(store: Store) {
    let service = start(store).await;
    for value in ["Basic", "Basic ", "Basic %%%", &basic("web"), &basic(b"\xff\xfe:x"), &basic("web:%zz"), "Bearer abc", "Digest x"] {
        let answer = bare(&service).header("Authorization", value).send(&service).await;
        assert!(matches!(answer.status(), 400 | 401), "{value}: {}", answer.response);
        let error = answer.response.json()["error"].clone();
        assert!(error == "invalid_client" || error == "invalid_request", "{value}: {error}");
    }
    let web = Client::known("web").basic(SECRET);
    let twice = bare(&service).header("Authorization", &web).header("Authorization", &web).send(&service).await;
    assert!(matches!(twice.status(), 400 | 401), "{}", twice.response);
    bare(&service).header("Authorization", web.replacen("Basic", "bAsIc", 1)).send(&service).await.tokens();
}

/// TEP-07: each client authenticates the way it is registered for.
async fn the_registered_method_counts(store: Store) {
    let service = start(store).await;
    bare(&service).set("client_id", "poster").set("client_secret", SECRET).send(&service).await.tokens();
    let web_by_post = bare(&service).set("client_id", "web").set("client_secret", SECRET).send(&service).await;
    refused_otherwise(&web_by_post);
    refused_basic(&bare(&service).header("Authorization", Client::known("poster").basic(SECRET)).send(&service).await);
    refused_basic(&bare(&service).header("Authorization", Client::known("signer").basic(SECRET)).send(&service).await);
    refused_otherwise(&bare(&service).set("client_id", "poster").set("client_secret", "wrong wrong wrong wrong").send(&service).await);
    refused_otherwise(&bare(&service).set("client_id", "poster").send(&service).await);
    refused_otherwise(&bare(&service).set("client_id", "nobody").send(&service).await);
}

/// TEP-06
async fn two_mechanisms_at_once_are_refused(store: Store) {
    let service = start(store).await;
    let web = Client::known("web").basic(SECRET);
    let signed = assertion(&signer_key(), &Client::known("signer").assertion_claims(service.issuer()));
    let with_basic = bare(&service).header("Authorization", &web);
    with_basic.clone().set("client_id", "web").set("client_secret", SECRET).send(&service).await.refused(400, "invalid_request");
    with_basic.clone().assertion(&signed).send(&service).await.refused(400, "invalid_request");
    let both = bare(&service).set("client_id", "poster").set("client_secret", SECRET).assertion(&signed);
    both.send(&service).await.refused(400, "invalid_request");
    with_basic.send(&service).await.tokens();
}

/// TEP-09
async fn the_body_names_the_same_client(store: Store) {
    let service = start(store).await;
    let call = bare(&service).header("Authorization", Client::known("web").basic(SECRET));
    call.clone().set("client_id", "web").send(&service).await.tokens();
    let answer = call.prove(&Key::es256()).set("client_id", "other-web").send(&service).await;
    assert!(matches!(answer.status(), 400 | 401), "{}", answer.response);
}

/// REF-01, TEP-08: a public client has no secret to show.
async fn a_public_client_with_a_secret_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    refused_otherwise(&session.refresh().set("client_secret", SECRET).send(&service).await);
    refused_basic(&session.refresh().header("Authorization", Client::known("spa").basic(SECRET)).send(&service).await);
    session.refresh().send(&service).await.tokens();
}

/// TEP-08, REF-04: an unknown client and a wrong secret are told the same.
async fn an_unknown_client_and_a_wrong_secret_are_told_the_same(store: Store) {
    let service = start(store).await;
    let unknown = bare(&service).header("Authorization", basic("nobody:0123456789abcdef")).send(&service).await;
    let wrong = bare(&service).header("Authorization", basic("web:0123456789abcdef")).send(&service).await;
    assert_eq!(unknown.response.text(), wrong.response.text());
    let public = service.session("spa").await;
    refused_otherwise(&public.refresh().set("client_id", "nobody").send(&service).await);
}

/// What a client that signs its assertions sends, with one change.
async fn assert_with(service: &Service, change: impl FnOnce(&mut Value)) -> Answer {
    let mut claims = Client::known("signer").assertion_claims(service.issuer());
    change(&mut claims);
    bare(service).assertion(&assertion(&signer_key(), &claims)).send(service).await
}

/// PKJ-01
async fn an_assertion_names_its_client_as_issuer_and_subject(store: Store) {
    let service = start(store).await;
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        refused_otherwise(
            &assert_with(&service, |claims| {
                claims.as_object_mut().expect("an object").remove(name);
            })
            .await,
        );
        refused_otherwise(&assert_with(&service, |claims| claims[name] = json!(null)).await);
    }
    for name in ["iss", "sub"] {
        refused_otherwise(&assert_with(&service, |claims| claims[name] = json!("web")).await);
        refused_otherwise(&assert_with(&service, |claims| claims[name] = json!(["signer"])).await);
    }
    assert_with(&service, |_| {}).await.tokens();
}

/// PKJ-02
async fn an_assertion_is_for_the_issuer_alone(store: Store) {
    let service = start(store).await;
    let issuer = service.issuer().to_owned();
    for aud in [
        json!(format!("{issuer}/oauth/token")),
        json!(format!("{issuer}/oauth/refresh")),
        json!(format!("{issuer}/")),
        json!([issuer]),
        json!([issuer, "https://other.example.test"]),
        json!("https://other.example.test"),
        json!(issuer.to_uppercase()),
        json!(""),
    ] {
        let answer = assert_with(&service, |claims| claims["aud"] = aud.clone()).await;
        assert_eq!(answer.status(), 401, "{aud}: {}", answer.response);
        refused_otherwise(&answer);
    }
    assert_with(&service, |claims| claims["aud"] = json!(issuer)).await.tokens();
}

/// PKJ-02: the older habit, for clients registered for it.
async fn a_client_may_be_registered_for_the_older_audiences(store: Store) {
    let key = Key::es256();
    let client = json!({"client_id": "old-style", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.jwk()]},
        "grant_types": ["client_credentials"], "scope": "accounts", "client_assertion_audience": "compat"});
    let service = start_with(store, Settings::default().client(client)).await;
    let issuer = service.issuer().to_owned();
    let old = Client { id: "old-style".to_owned(), login: keybound_testkit::ClientLogin::Assertion(key.clone()) };
    for aud in [json!(issuer), json!(format!("{issuer}/oauth/token")), json!([issuer])] {
        let mut claims = old.assertion_claims(&issuer);
        claims["aud"] = aud;
        bare(&service).assertion(&assertion(&key, &claims)).send(&service).await.tokens();
    }
    let mut claims = old.assertion_claims(&issuer);
    claims["aud"] = json!("https://other.example.test/oauth/token");
    refused_otherwise(&bare(&service).assertion(&assertion(&key, &claims)).send(&service).await);
}

/// PKJ-03, JOSE-22
async fn an_assertion_of_another_typ_is_refused(store: Store) {
    let service = start(store).await;
    let signer = Client::known("signer");
    let with_header = |header: Value| bare(&service).assertion(&signer_key().jws(&header, &signer.assertion_claims(service.issuer())));
    for typ in ["dpop+jwt", "at+jwt", "oauth-authz-req+jwt", "token-introspection+jwt", ""] {
        refused_otherwise(&with_header(json!({"alg": "ES256", "typ": typ})).send(&service).await);
    }
    for header in
        [json!({"alg": "ES256"}), json!({"alg": "ES256", "typ": "JWT"}), json!({"alg": "ES256", "typ": "client-authentication+jwt"})]
    {
        with_header(header).send(&service).await.tokens();
    }
    refused_otherwise(&with_header(json!({"alg": "ES256", "crit": ["x"], "x": 1})).send(&service).await);
}

/// PKJ-04
async fn an_assertion_is_used_once_and_ends(store: Store) {
    let service = start(store).await;
    let signed = assertion(&signer_key(), &Client::known("signer").assertion_claims(service.issuer()));
    bare(&service).assertion(&signed).send(&service).await.tokens();
    refused_otherwise(&bare(&service).assertion(&signed).send(&service).await);
    let now = time::now();
    refused_otherwise(&assert_with(&service, |claims| claims["exp"] = json!(now - 300)).await);
    refused_otherwise(&assert_with(&service, |claims| claims["exp"] = json!(now - 30)).await);
    refused_otherwise(&assert_with(&service, |claims| claims["exp"] = json!(now + 100_000)).await);
    refused_otherwise(&assert_with(&service, |claims| claims["exp"] = json!("soon")).await);
    refused_otherwise(&assert_with(&service, |claims| claims["jti"] = json!("")).await);
    refused_otherwise(&assert_with(&service, |claims| claims["jti"] = json!("x".repeat(257))).await);
    assert_with(&service, |claims| claims["exp"] = json!(now + 3000)).await.tokens();
}

/// PKJ-05
async fn an_assertion_from_a_fast_clock_is_tolerated(store: Store) {
    let service = start(store).await;
    let now = time::now();
    for name in ["iat", "nbf"] {
        for ahead in [8, -30] {
            assert_with(&service, |claims| claims[name] = json!(now + ahead)).await.tokens();
        }
        for ahead in [65, 3600] {
            refused_otherwise(
                &assert_with(&service, |claims| {
                    claims[name] = json!(now + ahead);
                    claims["exp"] = json!(now + ahead + 60);
                })
                .await,
            );
        }
    }
}

/// PKJ-06
async fn an_assertion_is_signed_by_a_registered_key(store: Store) {
    let (first, second, rsa) = (Key::es256(), Key::es256(), Key::ps256());
    let with_kid = |key: &Key, kid: &str| {
        let mut jwk = key.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    let client = json!({"client_id": "keyring", "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [with_kid(&first, "k"), with_kid(&rsa, "k"), with_kid(&second, "other")]},
        "grant_types": ["client_credentials"], "scope": "accounts"});
    let service = start_with(store, Settings::default().client(client)).await;
    let keyring = Client { id: "keyring".to_owned(), login: keybound_testkit::ClientLogin::Public };
    let sign = |key: &Key, header: Value| bare(&service).assertion(&key.jws(&header, &keyring.assertion_claims(service.issuer())));
    sign(&first, json!({"alg": "ES256", "kid": "k"})).send(&service).await.tokens();
    sign(&rsa, json!({"alg": "PS256", "kid": "k"})).send(&service).await.tokens();
    sign(&second, json!({"alg": "ES256", "kid": "other"})).send(&service).await.tokens();
    sign(&second, json!({"alg": "ES256"})).send(&service).await.tokens();
    refused_otherwise(&sign(&Key::es256(), json!({"alg": "ES256", "kid": "k"})).send(&service).await);
    refused_otherwise(&sign(&first, json!({"alg": "ES256", "jwk": first.jwk(), "kid": "unknown"})).send(&service).await);
    refused_otherwise(&sign(&Key::es256(), json!({"alg": "ES256", "jwk": Key::es256().jwk()})).send(&service).await);
    let claims = keyring.assertion_claims(service.issuer());
    let unsigned = format!("{}.{}.", b64(json!({"alg": "none"}).to_string()), b64(claims.to_string()));
    refused_otherwise(&bare(&service).assertion(&unsigned).send(&service).await);
    let input = format!("{}.{}", b64(json!({"alg": "RS256", "kid": "k"}).to_string()), b64(claims.to_string()));
    let rs256 = format!("{input}.{}", b64(rsa.sign_rs256(input.as_bytes())));
    refused_otherwise(&bare(&service).assertion(&rs256).send(&service).await);
    for garbage in ["x", "a.b.c", "..", &format!("{rs256}.x")] {
        refused_otherwise(&bare(&service).set("client_id", "keyring").assertion(garbage).send(&service).await);
    }
}

/// PKJ-07
async fn the_assertion_type_and_the_client_id_fit(store: Store) {
    let service = start(store).await;
    let signer = Client::known("signer");
    let fresh = || assertion(&signer_key(), &signer.assertion_claims(service.issuer()));
    for kind in
        ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", &ASSERTION_TYPE.to_uppercase(), &format!("{ASSERTION_TYPE} ")]
    {
        let answer = bare(&service).assertion(&fresh()).set("client_assertion_type", kind).send(&service).await;
        assert!(matches!(answer.status(), 400 | 401), "{kind}: {}", answer.response);
    }
    let alone = bare(&service).set("client_assertion_type", ASSERTION_TYPE).send(&service).await;
    assert!(matches!(alone.status(), 400 | 401), "{}", alone.response);
    bare(&service).assertion(&fresh()).set("client_id", "signer").send(&service).await.tokens();
    let other = bare(&service).assertion(&fresh()).set("client_id", "web").send(&service).await;
    assert!(matches!(other.status(), 400 | 401), "{}", other.response);
    let two = bare(&service).assertion(&fresh()).add("client_assertion", fresh()).send(&service).await;
    two.refused(400, "invalid_request");
}

/// SEC-12, PKJ-03: a proof is no assertion, not even one that has all of an assertion's claims.
async fn a_proof_is_not_client_authentication(store: Store) {
    let service = start(store).await;
    let mut claims = Client::known("signer").assertion_claims(service.issuer());
    claims["htm"] = json!("POST");
    claims["htu"] = json!(format!("{}/oauth/token", service.issuer()));
    let key = signer_key();
    let proof = key.jws(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}), &claims);
    refused_otherwise(&bare(&service).assertion(&proof).send(&service).await);
    let call = bare(&service).set("client_id", "signer").proof(proof);
    refused_otherwise(&call.send(&service).await);
}

both_stores!(
    basic_is_decoded_and_compared,
    a_malformed_authorization_header_is_refused,
    the_registered_method_counts,
    two_mechanisms_at_once_are_refused,
    the_body_names_the_same_client,
    a_public_client_with_a_secret_is_refused,
    an_unknown_client_and_a_wrong_secret_are_told_the_same,
    an_assertion_names_its_client_as_issuer_and_subject,
    an_assertion_is_for_the_issuer_alone,
    a_client_may_be_registered_for_the_older_audiences,
    an_assertion_of_another_typ_is_refused,
    an_assertion_is_used_once_and_ends,
    an_assertion_from_a_fast_clock_is_tolerated,
    an_assertion_is_signed_by_a_registered_key,
    the_assertion_type_and_the_client_id_fit,
    a_proof_is_not_client_authentication,
);
