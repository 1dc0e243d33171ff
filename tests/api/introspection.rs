//! `POST /oauth/introspect` (RFC 7662, RFC 9701).

use keybound_testkit::flow::assertion;
use keybound_testkit::http::Request;
use keybound_testkit::jose::{b64, split};
use keybound_testkit::{Client, ClientLogin, Key, Service, Store, both_stores};
use serde_json::{Value, json};

use crate::access::{Access, RESOURCE_SECRET, accounts_api, form, introspect, settings, signed, text};
use crate::{start, start_with};

const PATH: &str = "/oauth/introspect";

async fn started(store: Store) -> (Service, Key) {
    let payments = Key::es256();
    (start_with(store, settings(&payments)).await, payments)
}

fn payments_api(key: &Key) -> Client {
    Client { id: "payments-api".to_owned(), login: ClientLogin::Assertion(key.clone()) }
}

async fn asked_for(service: &Service, caller: &Client, token: &str, accept: &str) -> keybound_testkit::Response {
    service.send(&form(PATH, caller, &[("token", token)]).header("Accept", accept)).await
}

/// INT-01, CNF-01, CNF-04
async fn a_resource_learns_about_a_bound_token_for_it(store: Store) {
    let (service, payments) = started(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    let (_, claims, _, _) = split(&access.token);
    let told = introspect(&service, &accounts_api(), &access.token).await;
    assert_eq!(told["active"], true);
    assert_eq!(told["token_type"], "DPoP");
    assert_eq!(told["cnf"], json!({"jkt": access.key.jkt()}));
    for name in ["iss", "sub", "aud", "client_id", "exp", "iat", "jti", "grant_id"] {
        assert_eq!(told[name], claims[name], "{name}");
    }
    assert_eq!(told["grant_id"], session.grant_id);
    let told = introspect(&service, &payments_api(&payments), &access.token).await;
    assert_eq!((&told["active"], &told["scope"]), (&json!(true), &json!("payments")));
}

/// CNF-04: the members of the grant come along, and a bearer token says that it is one.
async fn details_and_sign_in_come_along(store: Store) {
    let (service, _) = started(store).await;
    let session = service.session_with("bearer-spa", Key::es256(), json!({"auth_time": 1_700_000_000, "acr": "urn:mfa"})).await;
    let tokens = session.refresh().send(&service).await.tokens();
    let told = introspect(&service, &accounts_api(), &text(&tokens, "access_token")).await;
    assert_eq!((&told["token_type"], told.get("cnf")), (&json!("Bearer"), None));
    assert_eq!((&told["auth_time"], &told["acr"]), (&json!(1_700_000_000), &json!("urn:mfa")));

    let details = json!([{"type": "account_information", "actions": ["list_accounts"]}]);
    let client = json!({"client_id": "planner", "client_secret": keybound_testkit::service::SECRET, "scope": "accounts",
        "grant_types": ["client_credentials"], "authorization_details_types": ["account_information"]});
    let types = json!([{"type": "account_information", "schema": {"type": "object"}}]);
    let service = start_with(store, settings(&Key::es256()).client(client).with("authorization_details_type", types)).await;
    let described = service.get("/.well-known/oauth-protected-resource/accounts-api").await.json();
    assert_eq!(described["authorization_details_types_supported"], json!(["account_information"]));
    let planner = Client { id: "planner".to_owned(), login: Client::known("web").login };
    let call = planner.credentials_call(&Key::es256(), service.issuer()).set("authorization_details", details.to_string());
    let tokens = call.send(&service).await.tokens();
    let told = introspect(&service, &accounts_api(), &text(&tokens, "access_token")).await;
    assert_eq!(told["authorization_details"], details);
    assert_eq!(told.get("grant_id"), None);
}

/// INT-06
async fn a_resource_learns_of_its_own_scope_only(store: Store) {
    let (service, _) = started(store).await;
    let mut session = service.session("spa").await;
    let access = Access::of(&service, &mut session).await;
    assert_eq!(introspect(&service, &accounts_api(), &access.token).await["scope"], "accounts");
}

/// INT-01: by header, by body, by assertion; and by nothing else.
async fn a_caller_must_authenticate(store: Store) {
    let (service, payments) = started(store).await;
    let mut session = service.session("web").await;
    let token = Access::of(&service, &mut session).await.token;
    let in_body = Client { id: "accounts-api".to_owned(), login: ClientLogin::Post(RESOURCE_SECRET.to_owned()) };
    for caller in [accounts_api(), in_body, payments_api(&payments), Client::known("web")] {
        assert_eq!(introspect(&service, &caller, &token).await["active"], true, "{caller:?}");
    }
    let with_basic = |id: &str, secret: &str| Client { id: id.to_owned(), login: ClientLogin::Basic(secret.to_owned()) };
    let strangers = [
        with_basic("accounts-api", "a wrong secret of the resource"),
        with_basic("payments-api", RESOURCE_SECRET),
        with_basic("silent-api", RESOURCE_SECRET),
        with_basic("nobody", RESOURCE_SECRET),
        payments_api(&Key::es256()),
        Client { id: "accounts-api".to_owned(), login: ClientLogin::Assertion(payments.clone()) },
        Client { id: "accounts-api".to_owned(), login: ClientLogin::Public },
        Client { id: "silent-api".to_owned(), login: ClientLogin::Public },
        Client::known("spa"),
    ];
    for caller in strangers {
        let answer = service.send(&form(PATH, &caller, &[("token", &token)])).await;
        assert_eq!(answer.status, 401, "{caller:?}: {answer}");
        assert_eq!(answer.json()["error"], "invalid_client", "{answer}");
        let challenge = answer.header("WWW-Authenticate").is_some_and(|line| line.starts_with("Basic "));
        assert_eq!(challenge, matches!(caller.login, ClientLogin::Basic(_)), "{answer}");
    }
    let nobody = service.send(&Request::new("POST", PATH).form(&[("token", token.as_str())])).await;
    assert_eq!((nobody.status, text(&nobody.json(), "error").as_str()), (400, "invalid_request"), "{nobody}");
}

/// INT-01: an assertion of a resource works once.
async fn an_assertion_works_once(store: Store) {
    let (service, payments) = started(store).await;
    let mut session = service.session("web").await;
    let token = Access::of(&service, &mut session).await.token;
    let used = assertion(&payments, &payments_api(&payments).assertion_claims(service.issuer()));
    let question = Request::new("POST", PATH).form(&[
        ("token", token.as_str()),
        ("client_assertion_type", keybound_testkit::flow::ASSERTION_TYPE),
        ("client_assertion", used.as_str()),
    ]);
    assert_eq!(service.send(&question).await.json()["active"], true);
    let again = service.send(&question).await;
    assert_eq!((again.status, text(&again.json(), "error").as_str()), (401, "invalid_client"), "{again}");
}

/// INT-06: the credentials of a resource get no tokens and revoke none.
async fn a_resource_is_no_client(store: Store) {
    let (service, _) = started(store).await;
    let answer = service.send(&form("/oauth/token", &accounts_api(), &[("grant_type", "client_credentials")])).await;
    assert_eq!((answer.status, text(&answer.json(), "error").as_str()), (401, "invalid_client"), "{answer}");
    let answer = service.send(&form("/oauth/revoke", &accounts_api(), &[("token", "anything")])).await;
    assert_eq!((answer.status, text(&answer.json(), "error").as_str()), (401, "invalid_client"), "{answer}");
}

/// INT-02: what can't be told apart.
async fn nothing_is_told_about_other_tokens(store: Store) {
    let (service, payments) = started(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    let narrowed = session.refresh().set("resource", "https://api.example.test/payments").send(&service).await.tokens();
    let for_payments = text(&narrowed, "access_token");
    assert_eq!(introspect(&service, &payments_api(&payments), &for_payments).await["active"], true);
    let inactive = json!({"active": false});
    let (kept, last) = access.token.split_at(access.token.len() - 4);
    let forged = format!("{}{}{last}", &kept[..kept.len() - 1], if kept.ends_with('x') { 'y' } else { 'x' });
    let (header, _, _, _) = split(&access.token);
    let stranger = Key::es256().jws(&header, &split(&access.token).1);
    let id_token = text(&narrowed, "id_token");
    for token in [&for_payments, &forged, &stranger, &id_token, "unknown", "kbr_unknown", &session.refresh_token, &access.token.repeat(20)]
    {
        assert_eq!(introspect(&service, &accounts_api(), token).await, inactive, "{token}");
    }
    for token in [&access.token, &session.refresh_token] {
        assert_eq!(introspect(&service, &Client::known("other-web"), token).await, inactive);
        assert_eq!(introspect(&service, &Client::known("web"), token).await["active"], true);
    }
    service.revoke(&session.grant_id).await;
    assert_eq!(introspect(&service, &accounts_api(), &access.token).await, inactive);
    assert_eq!(introspect(&service, &Client::known("web"), &access.token).await, inactive);
    assert_eq!(introspect(&service, &Client::known("web"), &session.refresh_token).await, inactive);
}

/// INT-02: a token is good for as long as it says, and no longer.
async fn an_expired_token_is_inactive(store: Store) {
    let service = start_with(store, settings(&Key::es256()).with("tokens.access_token_lifetime_s", 10)).await;
    let token = Access::of_client(&service, "web").await.token;
    assert_eq!(introspect(&service, &accounts_api(), &token).await["active"], true);
    let exp = split(&token).1["exp"].as_i64().expect("exp");
    while keybound_testkit::time::now() < exp {
        assert_eq!(introspect(&service, &Client::known("web"), &token).await["active"], true, "it is good until its exp");
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    assert_eq!(introspect(&service, &accounts_api(), &token).await, json!({"active": false}));
}

/// INT-02: a client learns about its own refresh tokens: the newest, and the one whose answer may have been lost.
async fn a_client_learns_about_its_refresh_tokens(store: Store) {
    let service = start(store).await;
    let mut session = service.session("web").await;
    let web = Client::known("web");
    let first = session.refresh_token.clone();
    let told = introspect(&service, &web, &first).await;
    assert_eq!(told["active"], true);
    assert_eq!((&told["sub"], &told["client_id"], &told["scope"]), (&json!("alice"), &json!("web"), &json!("accounts openid payments")));
    assert_eq!((told.get("token_type"), &told["grant_id"]), (None, &json!(session.grant_id)));
    assert!(told["exp"].as_i64().is_some_and(|exp| exp > keybound_testkit::time::now()), "{told}");
    session.rotate(&service).await;
    assert_eq!(introspect(&service, &web, &first).await["active"], true);
    session.rotate(&service).await;
    assert_eq!(introspect(&service, &web, &first).await, json!({"active": false}));
    assert_eq!(introspect(&service, &web, &session.refresh_token).await["active"], true);
}

/// INT-03
async fn a_hint_is_only_a_hint(store: Store) {
    let service = start(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    for token in [&access.token, &session.refresh_token] {
        for hint in ["access_token", "refresh_token", "pigeon"] {
            let answer = service.send(&form(PATH, &Client::known("web"), &[("token", token), ("token_type_hint", hint)])).await;
            assert_eq!(answer.json()["active"], true, "{hint}: {answer}");
        }
    }
}

/// CNF-05: there is no proof at this endpoint, and one that is there is not looked at.
async fn a_proof_is_ignored(store: Store) {
    let (service, _) = started(store).await;
    let mut session = service.session("spa").await;
    let access = Access::of(&service, &mut session).await;
    let question = form(PATH, &accounts_api(), &[("token", &access.token)]).header("DPoP", "not a proof").header("DPoP", "nor this");
    assert_eq!(service.send(&question).await.json()["active"], true);
}

/// INT-04, INT-08
async fn the_answer_may_be_a_jwt_for_its_caller(store: Store) {
    let (service, _) = started(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    let answer = asked_for(&service, &accounts_api(), &access.token, "application/token-introspection+jwt").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/token-introspection+jwt")), "{answer}");
    let claims = signed(&service, &answer.text(), "token-introspection+jwt").await;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(service.issuer()), &json!("accounts-api")));
    assert!(claims["iat"].is_i64());
    assert_eq!((claims.get("sub"), claims.get("exp")), (None, None));
    assert_eq!(claims["token_introspection"], introspect(&service, &accounts_api(), &access.token).await);
    // It is no access token, here or anywhere.
    assert_eq!(introspect(&service, &accounts_api(), &answer.text()).await, json!({"active": false}));
    let inactive = asked_for(&service, &accounts_api(), "unknown", "application/token-introspection+jwt").await;
    let claims = signed(&service, &inactive.text(), "token-introspection+jwt").await;
    assert_eq!(claims["token_introspection"], json!({"active": false}));
}

/// INT-05: for a signed answer 400, for JSON 401.
async fn a_stranger_gets_no_signed_answer(store: Store) {
    let (service, _) = started(store).await;
    let stranger = Client { id: "accounts-api".to_owned(), login: ClientLogin::Basic("a wrong secret of the resource".to_owned()) };
    let answer = asked_for(&service, &stranger, "unknown", "application/token-introspection+jwt").await;
    assert_eq!((answer.status, text(&answer.json(), "error").as_str()), (400, "invalid_client"), "{answer}");
    assert_eq!(asked_for(&service, &stranger, "unknown", "application/json").await.status, 401);
}

/// INT-06: a gateway gets a token that the service behind it can read, and that holds nothing for others.
async fn an_active_token_may_be_exchanged_for_its_jwt(store: Store) {
    let (service, _) = started(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    let answer = asked_for(&service, &accounts_api(), &access.token, "application/jwt").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/jwt")), "{answer}");
    let claims = signed(&service, &answer.text(), "at+jwt").await;
    let (_, original, _, _) = split(&access.token);
    for name in ["iss", "sub", "client_id", "exp", "iat", "jti", "cnf", "grant_id"] {
        assert_eq!(claims[name], original[name], "{name}");
    }
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://api.example.test/accounts"), &json!("accounts")));
    assert_eq!((claims.get("active"), claims.get("token_type")), (None, None));
    let inactive = asked_for(&service, &accounts_api(), "unknown", "application/jwt").await;
    assert_eq!((inactive.status, inactive.json()), (200, json!({"active": false})), "{inactive}");
}

/// INT-07: the algorithm is published, and it is the one that is used.
async fn the_algorithm_of_signed_answers_is_published(store: Store) {
    let service = start_with(store, settings(&Key::es256()).with("tokens.access_token_alg", "PS256")).await;
    let document = service.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["introspection_signing_alg_values_supported"], json!(["PS256"]));
    assert_eq!(document["introspection_endpoint"], format!("{}{PATH}", service.issuer()));
    let methods = document["introspection_endpoint_auth_methods_supported"].as_array().expect("methods");
    assert!(!methods.contains(&json!("none")) && methods.contains(&json!("private_key_jwt")), "{methods:?}");
    let answer = asked_for(&service, &accounts_api(), "unknown", "application/token-introspection+jwt").await;
    assert_eq!(split(&answer.text()).0["alg"], "PS256");
}

/// INT-01, BCP-13
async fn the_request_is_a_form_with_one_token(store: Store) {
    let (service, _) = started(store).await;
    let refused = |answer: keybound_testkit::Response, status: u16| {
        assert_eq!((answer.status, text(&answer.json(), "error").as_str()), (status, "invalid_request"), "{answer}");
    };
    refused(service.send(&form(PATH, &accounts_api(), &[])).await, 400);
    refused(service.send(&form(PATH, &accounts_api(), &[("token", "a"), ("token", "b")])).await, 400);
    refused(service.send(&form(&format!("{PATH}?token=a"), &accounts_api(), &[("token", "a")])).await, 400);
    let basic = accounts_api().basic(RESOURCE_SECRET);
    refused(service.send(&Request::new("POST", PATH).header("Authorization", &basic).json(&json!({"token": "a"}))).await, 415);
    refused(service.send(&Request::new("GET", PATH).header("Authorization", &basic)).await, 405);
    assert_eq!(introspect(&service, &accounts_api(), "a").await, json!({"active": false}));
}

/// AT-01, AT-02, AT-03: claims of ours under another header, another key or another issuer are nothing.
async fn only_tokens_of_this_service_count(store: Store) {
    let (service, _) = started(store).await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    assert_eq!(introspect(&service, &accounts_api(), &access.token).await["active"], true);
    let (header, claims, input, signature) = split(&access.token);
    let key = Key::es256();
    let with = |value: &Value, name: &str, member: Value| {
        let mut changed = value.clone();
        changed[name] = member;
        changed
    };
    let unsigned = format!("{}.{}.", b64(with(&header, "alg", json!("none")).to_string()), b64(claims.to_string()));
    let resigned = |header: &Value| format!("{}.{}.{}", b64(header.to_string()), b64(claims.to_string()), b64(&signature));
    let tokens = [
        unsigned,
        input.clone(),
        format!("{input}."),
        resigned(&with(&header, "typ", json!("JWT"))),
        resigned(&with(&header, "kid", json!("other"))),
        resigned(&with(&header, "crit", json!(["exp"]))),
        key.jws(&header, &claims),
        key.jws(&with(&header, "jwk", key.jwk()), &claims),
        key.jws(&header, &with(&claims, "iss", json!("https://evil.example"))),
    ];
    for token in tokens {
        assert_eq!(introspect(&service, &accounts_api(), &token).await, json!({"active": false}), "{token}");
    }
}

both_stores!(
    a_resource_learns_about_a_bound_token_for_it,
    details_and_sign_in_come_along,
    a_resource_learns_of_its_own_scope_only,
    a_caller_must_authenticate,
    an_assertion_works_once,
    a_resource_is_no_client,
    nothing_is_told_about_other_tokens,
    an_expired_token_is_inactive,
    a_client_learns_about_its_refresh_tokens,
    a_hint_is_only_a_hint,
    a_proof_is_ignored,
    the_answer_may_be_a_jwt_for_its_caller,
    a_stranger_gets_no_signed_answer,
    an_active_token_may_be_exchanged_for_its_jwt,
    the_algorithm_of_signed_answers_is_published,
    the_request_is_a_form_with_one_token,
    only_tokens_of_this_service_count,
);
