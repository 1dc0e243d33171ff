//! `GET|POST /oauth/userinfo`: a resource that wants the token's key (RFC 9449 section 7).

use keybound_testkit::http::Request;
use keybound_testkit::jose::{b64, sha256, split};
use keybound_testkit::{Client, Key, Proof, Response, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::access::{Access, USERINFO, text};
use crate::{start, start_with};

const METADATA: &str = "resource_metadata=\"https://as.example.test/.well-known/oauth-protected-resource/oauth/userinfo\"";

async fn access(service: &Service) -> Access {
    Access::of(service, &mut service.session("spa").await).await
}

/// A token of a public client that is bound to no key.
async fn bearer(service: &Service) -> Access {
    Access::of(service, &mut service.session("bearer-spa").await).await
}

/// The one challenge line of a refusal, which no cache keeps; its nonce is there iff one is due.
fn challenge(answer: &Response, status: u16, nonce: bool) -> String {
    assert_eq!(answer.status, status, "{answer}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
    assert_eq!(answer.header("DPoP-Nonce").is_some(), nonce, "{answer}");
    let line = answer.header("WWW-Authenticate").unwrap_or_else(|| panic!("no challenge: {answer}"));
    assert!(line.contains(METADATA) && line.contains("algs=\"ES256 "), "{line}");
    line.to_owned()
}

/// The line of a refusal with an error in the challenge of the DPoP scheme alone, and the same error in the body.
fn refused(answer: &Response, status: u16, code: &str) -> String {
    let line = challenge(answer, status, code == "use_dpop_nonce");
    assert!(line.starts_with(&format!("DPoP error=\"{code}\", error_description=\"")), "{line}");
    assert!(!line.contains("Bearer"), "{line}");
    let body = answer.json();
    assert_eq!((text(&body, "error").as_str(), body["error_uri"].is_string()), (code, true), "{body}");
    for name in ["error", "error_description", "scope", "algs", "resource_metadata"] {
        assert!(line.matches(&format!(" {name}=\"")).count() <= 1, "{name} stands once: {line}");
    }
    line
}

/// RS-02, CNF-03, FAPI-RS-01, FAPI-RS-03
async fn the_holder_of_the_key_learns_about_the_end_user(store: Store) {
    let service = start(store).await;
    let claims =
        json!({"name": "Alice", "email": "alice@example.com", "department": "chess", "sub": "mallory", "iss": "https://evil.example"});
    let mut session = service.session_with("spa", Key::es256(), json!({"claims": claims})).await;
    let access = Access::of(&service, &mut session).await;
    for method in ["GET", "POST"] {
        let request = Request::new(method, "/oauth/userinfo").header("Authorization", format!("DPoP {}", access.token));
        let answer = service.send(&request.header("DPoP", access.proof_for(method).sign(&access.key))).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json(), json!({"sub": "alice", "name": "Alice", "email": "alice@example.com", "department": "chess"}));
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{answer}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
        assert_eq!((answer.header("WWW-Authenticate"), answer.header("DPoP-Nonce")), (None, None), "{answer}");
    }
}

/// A claim that a scope stands for is shown to tokens with that scope.
async fn a_narrowed_token_shows_less(store: Store) {
    let client = json!({"client_id": "mail-app", "token_endpoint_auth_method": "none", "grant_types": ["refresh_token"]});
    let service = start_with(store, Settings::default().client(client)).await;
    let granted = json!({"scope": "openid profile email", "claims": {"name": "Alice", "email": "alice@example.com"}});
    let session = service.session_with("mail-app", Key::es256(), granted).await;
    for (scope, shown) in [
        ("openid profile email", json!({"sub": "alice", "name": "Alice", "email": "alice@example.com"})),
        ("openid email", json!({"sub": "alice", "email": "alice@example.com"})),
        ("openid", json!({"sub": "alice"})),
    ] {
        let tokens = session.refresh().set("scope", scope).send(&service).await.tokens();
        let access = Access { token: text(&tokens, "access_token"), key: session.key.clone() };
        assert_eq!(access.userinfo(&service).await.json(), shown, "{scope}");
    }
}

/// RS-01
async fn the_scheme_has_no_case_and_any_number_of_spaces(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    for scheme in ["DPoP", "dpop", "DPOP", "dPoP  ", "DPoP      "] {
        let answer = service.send(&access.presented(scheme).header("DPoP", access.proof().sign(&access.key))).await;
        assert_eq!(answer.status, 200, "{scheme:?}: {answer}");
    }
    let token = &access.token;
    for value in [
        "DPoP".to_owned(),
        "DPoP ".to_owned(),
        format!("DPoP\t{token}"),
        format!("DPoP {token} x"),
        format!("DPoP {token},"),
        format!("DPoP \"{token}\""),
        format!("DPoP token={token}"),
        format!("DPoP {token}\u{e9}"),
    ] {
        let proof = access.proof().sign(&access.key);
        let answer = service.send(&Request::new("GET", "/oauth/userinfo").header("Authorization", &value).header("DPoP", proof)).await;
        refused(&answer, 400, "invalid_request");
    }
}

/// RS-02
async fn a_bound_token_needs_a_proof(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    refused(&service.send(&access.presented("DPoP")).await, 401, "invalid_dpop_proof");
    let proof = access.proof().sign(&access.key);
    let two = access.presented("DPoP").header("DPoP", &proof).header("DPoP", access.proof().sign(&access.key));
    refused(&service.send(&two).await, 401, "invalid_dpop_proof");
    refused(&service.send(&access.presented("DPoP").header("DPoP", "not.a.proof")).await, 401, "invalid_dpop_proof");
    assert_eq!(service.send(&access.presented("DPoP").header("DPoP", proof)).await.status, 200);
}

/// RS-02, DPOP-4.3-08, DPOP-4.3-09, DPOP-4.3-11: every rule about proofs holds here too.
async fn a_proof_for_something_else_is_refused(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    let good = access.proof();
    let other_url = |url: &str| good.clone().claim("htu", url);
    for (what, proof) in [
        ("htm", access.proof_for("POST")),
        ("refresh", other_url("https://as.example.test/oauth/refresh")),
        ("trailing slash", other_url(&format!("{USERINFO}/"))),
        ("host", other_url("https://as.evil.test/oauth/userinfo")),
        ("too old", good.clone().iat_offset(-63)),
        ("too new", good.clone().iat_offset(13)),
        ("typ", good.clone().header("typ", "JWT")),
        ("no jti", good.clone().without_claim("jti")),
    ] {
        refused(&service.send(&access.request_with(&proof)).await, 401, "invalid_dpop_proof");
        assert_eq!(access.userinfo(&service).await.status, 200, "{what}");
    }
    assert_eq!(service.send(&access.request_with(&other_url(&format!("{USERINFO}?a=b#c")))).await.status, 200);
}

/// DPOP-4.2-07, DPOP-4.3-12, CNF-06
async fn the_proof_names_the_token(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    let good = b64(sha256(&access.token));
    for ath in
        [json!(b64(sha256("another token"))), json!(format!("{good}=")), json!(good[..42]), json!(""), json!(null), json!(1), json!([good])]
    {
        let proof = access.proof().claim("ath", ath);
        refused(&service.send(&access.request_with(&proof)).await, 401, "invalid_dpop_proof");
    }
    refused(&service.send(&access.request_with(&access.proof().without_claim("ath"))).await, 401, "invalid_dpop_proof");
    assert_eq!(service.send(&access.request_with(&access.proof().claim("ath", good))).await.status, 200);
}

/// DPOP-4.3-12, CNF-03: another key's proof is good in itself; the token is not that key's.
async fn another_key_can_not_use_the_token(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    for key in [Key::es256(), Key::ed25519()] {
        let thief = Access { token: access.token.clone(), key };
        let line = refused(&thief.userinfo(&service).await, 401, "invalid_token");
        assert!(!line.contains(&access.key.jkt()), "the key is not named");
    }
    assert_eq!(access.userinfo(&service).await.status, 200);
}

/// RS-03, RS-07
async fn a_bound_token_is_no_bearer_token(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    let with_proof = access.presented("Bearer").header("DPoP", access.proof().sign(&access.key));
    for request in [access.presented("Bearer"), access.presented("bearer "), with_proof] {
        let answer = service.send(&request).await;
        let line = challenge(&answer, 401, false);
        let (bearer, dpop) = line.split_once(", DPoP ").expect("two challenges");
        assert!(bearer.starts_with("Bearer error=\"invalid_token\""), "{line}");
        assert!(!dpop.contains("error"), "{line}");
        assert_eq!(text(&answer.json(), "error"), "invalid_token");
    }
}

/// RS-04
async fn an_unbound_token_does_not_fit_the_dpop_scheme(store: Store) {
    let service = start(store).await;
    let access = bearer(&service).await;
    refused(&access.userinfo(&service).await, 401, "invalid_token");
    let answer = service.send(&access.presented("Bearer")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"sub": "alice"})), "{answer}");
}

/// RS-05, RS-07: the error stands in the challenge of the scheme that was used.
async fn a_bad_bearer_token_is_refused_under_its_scheme(store: Store) {
    let service = start(store).await;
    let answer = service.send(&Request::new("GET", "/oauth/userinfo").header("Authorization", "Bearer unknown")).await;
    let line = challenge(&answer, 401, false);
    let (dpop, bearer) = line.split_once(", Bearer ").expect("two challenges");
    assert!(dpop.starts_with("DPoP ") && !dpop.contains("error") && bearer.starts_with("error=\"invalid_token\""), "{line}");
}

/// RS-06, RS-10
async fn without_credentials_no_error_is_named(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    let request = || Request::new("GET", "/oauth/userinfo");
    for request in [
        request(),
        request().header("Authorization", Client::known("web").basic("secret")),
        request().header("DPoP", access.proof().sign(&access.key)),
        request().header("Proxy-Authorization", format!("DPoP {}", access.token)).header("DPoP", access.proof().sign(&access.key)),
    ] {
        let answer = service.send(&request).await;
        let line = challenge(&answer, 401, false);
        assert!(line.starts_with("DPoP ") && line.contains(", Bearer ") && !line.contains("error"), "{line}");
        assert_eq!(answer.body, b"", "{answer}");
    }
}

/// RS-07, RS-09, FAPI-RS-02
async fn one_token_in_one_place(store: Store) {
    let service = start(store).await;
    let (bound, unbound) = (access(&service).await, bearer(&service).await);
    let both = |answer: &Response| {
        let line = challenge(answer, 400, false);
        assert!(line.starts_with("DPoP error=\"invalid_request\"") && line.contains(", Bearer error=\"invalid_request\""), "{line}");
        assert_eq!(text(&answer.json(), "error"), "invalid_request");
    };
    both(&service.send(&bound.request().header("Authorization", format!("Bearer {}", unbound.token))).await);
    both(&service.send(&bound.request().header("Authorization", format!("DPoP {}", bound.token))).await);
    let in_query = format!("/oauth/userinfo?access_token={}", unbound.token);
    both(&service.get(&in_query).await);
    both(&service.get(&format!("{in_query}&access_token=again")).await);
    both(&service.send(&Request::new("GET", &in_query).header("Authorization", format!("Bearer {}", unbound.token))).await);
    let form = || Request::new("POST", "/oauth/userinfo").form(&[("access_token", unbound.token.as_str())]);
    both(&service.send(&form()).await);
    both(&service.send(&form().header("Authorization", format!("Bearer {}", unbound.token))).await);
    // Without a token in it a body is of no interest.
    let empty = Request::new("POST", "/oauth/userinfo").header("Authorization", format!("DPoP {}", bound.token));
    for body in [empty.clone(), empty.clone().form(&[("schema", "openid")]), empty.json(&json!({"schema": "openid"}))] {
        let answer = service.send(&body.header("DPoP", bound.proof_for("POST").sign(&bound.key))).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
}

/// RS-12, AT-01, AT-03, FAPI-RS-03, INT-08: what is not a live access token of this service.
async fn a_token_that_does_not_count_is_refused(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let tokens = session.rotate(&service).await;
    let good = Access { token: text(&tokens, "access_token"), key: session.key.clone() };
    let (header, claims, input, _) = split(&good.token);
    let forger = Key::es256();
    let changed = |value: &Value, name: &str, member: Value| {
        let mut changed = value.clone();
        changed[name] = member;
        changed
    };
    for token in [
        "unknown".to_owned(),
        text(&tokens, "id_token"),
        session.refresh_token.clone(),
        format!("{input}.{}", b64(forger.sign(input.as_bytes()))),
        forger.jws(&changed(&header, "alg", json!("none")), &claims),
        forger.jws(&header, &changed(&claims, "cnf", json!({"jkt": forger.jkt()}))),
        forger.jws(&header, &changed(&claims, "exp", json!(4_000_000_000_i64))),
    ] {
        let presented = Access { token, key: good.key.clone() };
        refused(&presented.userinfo(&service).await, 401, "invalid_token");
    }
    assert_eq!(good.userinfo(&service).await.status, 200);
    service.revoke(&session.grant_id).await;
    refused(&good.userinfo(&service).await, 401, "invalid_token");
}

/// RS-12: until `exp`, and not after.
async fn an_expired_token_is_refused(store: Store) {
    let service = start_with(store, Settings::default().with("tokens.access_token_lifetime_s", 10)).await;
    let access = access(&service).await;
    assert_eq!(access.userinfo(&service).await.status, 200);
    let exp = split(&access.token).1["exp"].as_i64().expect("exp");
    while keybound_testkit::time::now() < exp {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    refused(&access.userinfo(&service).await, 401, "invalid_token");
}

/// RS-12, FAPI-RS-04
async fn the_scope_must_reach(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let narrowed = session.refresh().set("scope", "accounts").send(&service).await.tokens();
    let access = Access { token: text(&narrowed, "access_token"), key: session.key.clone() };
    let proof = access.proof();
    let line = refused(&service.send(&access.request_with(&proof)).await, 403, "insufficient_scope");
    assert!(line.contains(" scope=\"openid\""), "{line}");
    let wide = session.refresh().send(&service).await.tokens();
    let wide = Access { token: text(&wide, "access_token"), key: session.key.clone() };
    assert_eq!(wide.userinfo(&service).await.status, 200);
}

/// RS-12: a client has no claims about itself here.
async fn a_token_without_an_end_user_is_refused(store: Store) {
    let service = start(store).await;
    refused(&Access::of_client(&service, "web").await.userinfo(&service).await, 401, "invalid_token");
}

/// SEC-01, R1, R2: a proof works once; what was refused before was not used up.
async fn a_proof_works_once(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let access = Access::of(&service, &mut session).await;
    let proof = access.proof();
    let stranger = Access { token: "unknown".to_owned(), key: access.key.clone() };
    let jti = proof.jti();
    refused(&service.send(&stranger.request_with(&stranger.proof().claim("jti", jti))).await, 401, "invalid_token");
    assert_eq!(service.send(&access.request_with(&proof)).await.status, 200);
    refused(&service.send(&access.request_with(&proof)).await, 401, "invalid_dpop_proof");
    // One key uses one jti once, at whichever endpoint.
    let elsewhere = session.proof(keybound_testkit::Endpoint::Refresh).claim("jti", proof.jti()).sign(&session.key);
    session.refresh().proof(elsewhere).send(&service).await.invalid_proof();
}

/// NON-07, NON-08: the nonce is the authorization server's, with which this resource shares its origin.
async fn a_nonce_is_demanded_in_the_challenge(store: Store) {
    let service = start_with(store, Settings::default().with("dpop.nonce", "required")).await;
    let session = service.session("spa").await;
    let nonce = service.nonce().await;
    let tokens = session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    let access = Access { token: text(&tokens, "access_token"), key: session.key.clone() };
    for bad in [access.proof(), access.proof().nonce("stale"), access.proof().nonce("")] {
        let answer = service.send(&access.request_with(&bad)).await;
        refused(&answer, 401, "use_dpop_nonce");
        let fresh = answer.header("DPoP-Nonce").unwrap_or_default().to_owned();
        let answer = service.send(&access.request_with(&access.proof().nonce(&fresh))).await;
        assert_eq!((answer.status, answer.header("DPoP-Nonce")), (200, None), "{answer}");
    }
    // Every 401 brings a nonce then, so that the next try can succeed.
    let stranger = Access { token: "unknown".to_owned(), key: session.key.clone() };
    challenge(&service.send(&stranger.request_with(&stranger.proof().nonce(&nonce))).await, 401, true);
    challenge(&service.get("/oauth/userinfo").await, 401, true);
    challenge(&service.send(&access.presented("Bearer")).await, 401, true);
}

/// NON-10: the same `jti` works on the retry.
async fn a_nonce_challenge_leaves_no_trace(store: Store) {
    let service = start(store).await;
    let access = access(&service).await;
    let proof = access.proof();
    let answer = service.send(&access.request_with(&proof.clone().nonce("stale"))).await;
    refused(&answer, 401, "use_dpop_nonce");
    let nonce = answer.header("DPoP-Nonce").unwrap_or_default().to_owned();
    assert_eq!(service.send(&access.request_with(&proof.nonce(&nonce))).await.status, 200);
}

/// RS-11
async fn pages_of_other_origins_may_ask(store: Store) {
    let service = start(store).await;
    let preflight = Request::new("OPTIONS", "/oauth/userinfo").header("Origin", "https://app.example.test");
    let preflight =
        preflight.header("Access-Control-Request-Method", "GET").header("Access-Control-Request-Headers", "authorization, dpop");
    let answer = service.send(&preflight).await;
    assert!(matches!(answer.status, 200 | 204), "{answer}");
    let answer = service.send(&access(&service).await.request().header("Origin", "https://app.example.test")).await;
    assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (200, Some("*")), "{answer}");
    let answer = service.send(&Request::new("GET", "/oauth/userinfo").header("Origin", "https://app.example.test")).await;
    let exposed = answer.header_lines("Access-Control-Expose-Headers").join(",").to_lowercase();
    assert!(answer.status == 401 && exposed.contains("www-authenticate") && exposed.contains("dpop-nonce"), "{answer}");
}

/// FAPI-RS-05: where every token is bound no Bearer challenge is offered.
async fn under_fapi_only_bound_tokens_are_asked_for(store: Store) {
    let signer = Key::es256();
    let client = json!({"client_id": "signer", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [signer.jwk()]},
        "grant_types": ["refresh_token"], "scope": "openid"});
    let settings = Settings::default().with("profile", "fapi2").with("client", json!([client]));
    let service = start_with(store, settings).await;
    let line = challenge(&service.get("/oauth/userinfo").await, 401, false);
    assert!(line.starts_with("DPoP ") && !line.contains("Bearer"), "{line}");
}

/// The path of the issuer is the path of userinfo too.
async fn an_issuer_with_a_path_has_its_own_userinfo(store: Store) {
    let service = start_with(store, Settings::default().with("issuer", "https://as.example.test/tenant")).await;
    let answer = service.get("/tenant/oauth/userinfo").await;
    let line = answer.header("WWW-Authenticate").unwrap_or_default().to_owned();
    let url = "https://as.example.test/.well-known/oauth-protected-resource/tenant/oauth/userinfo";
    assert!(answer.status == 401 && line.contains(&format!("resource_metadata=\"{url}\"")), "{answer}");
    let document = service.get(&url["https://as.example.test".len()..]).await.json();
    assert_eq!(document["resource"], "https://as.example.test/tenant/oauth/userinfo");
    let other = Proof::new(&Key::es256(), "GET", USERINFO).sign(&Key::es256());
    let request = Request::new("GET", "/tenant/oauth/userinfo").header("Authorization", "DPoP unknown").header("DPoP", other);
    assert_eq!(text(&service.send(&request).await.json(), "error"), "invalid_dpop_proof");
}

both_stores!(
    the_holder_of_the_key_learns_about_the_end_user,
    a_narrowed_token_shows_less,
    the_scheme_has_no_case_and_any_number_of_spaces,
    a_bound_token_needs_a_proof,
    a_proof_for_something_else_is_refused,
    the_proof_names_the_token,
    another_key_can_not_use_the_token,
    a_bound_token_is_no_bearer_token,
    an_unbound_token_does_not_fit_the_dpop_scheme,
    a_bad_bearer_token_is_refused_under_its_scheme,
    without_credentials_no_error_is_named,
    one_token_in_one_place,
    a_token_that_does_not_count_is_refused,
    an_expired_token_is_refused,
    the_scope_must_reach,
    a_token_without_an_end_user_is_refused,
    a_proof_works_once,
    a_nonce_is_demanded_in_the_challenge,
    a_nonce_challenge_leaves_no_trace,
    pages_of_other_origins_may_ask,
    under_fapi_only_bound_tokens_are_asked_for,
    an_issuer_with_a_path_has_its_own_userinfo,
);
