//! What clients in the field rely on beyond the letter of the RFCs, one test for each rule. tests/clients runs such clients.

use keybound_testkit::authorization::{self, CodeFlow, request_uri};
use keybound_testkit::flow::{ASSERTION_TYPE, assertion};
use keybound_testkit::jose::{Key, b64, sha256};
use keybound_testkit::{Call, Client, Endpoint, Proof, Request, Response, Service, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

async fn start(store: Store, nonce: &str) -> Service {
    start_with(store, authorization::settings().with("dpop.nonce", nonce)).await
}

/// A request for userinfo.
fn userinfo(service: &Service, access_token: &str, key: &Key, nonce: Option<&str>) -> Request {
    let mut proof = Proof::new(key, "GET", &format!("{}/oauth/userinfo", service.issuer())).claim("ath", b64(sha256(access_token)));
    if let Some(nonce) = nonce {
        proof = proof.nonce(nonce);
    }
    Request::new("GET", "/oauth/userinfo").header("Authorization", format!("DPoP {access_token}")).header("DPoP", proof.sign(key))
}

/// `POST /oauth/revoke` of a public client.
async fn revoke(service: &Service, client: &str, token: &str) -> Response {
    service.send(&Request::new("POST", "/oauth/revoke").form(&[("client_id", client), ("token", token)])).await
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name} in {tokens}"))
}

/// Sends a call with a proof that has no nonce, then the very same call with the same proof, assertion and `jti` and the nonce.
async fn challenged_then_sent(service: &Service, call: Call, key: &Key) -> keybound_testkit::Answer {
    let proof = call.fresh_proof(key);
    let nonce = call.clone().proof(proof.sign(key)).send(service).await.nonce_challenge();
    call.proof(proof.nonce(&nonce).sign(key)).send(service).await
}

/// Rule 1, NON-12, PKJ-08: some clients repeat the same client assertion, some the same `jti`, all of them the same code and tokens.
async fn wire_rule_01_a_nonce_challenge_uses_nothing_up(store: Store) {
    let service = start(store, "required").await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let pushed = request_uri(&challenged_then_sent(&service, flow.push_call(), &flow.key).await);
    let interaction = authorization::interaction(&flow.open_pushed(&service, &pushed).await);
    let code = flow.code_of(&authorization::accept(&service, &interaction, json!({"sub": "alice"})).await);
    let tokens = challenged_then_sent(&service, flow.redeem(&code), &flow.key).await.tokens();
    let refresh = Call::new(Endpoint::Token, service.issuer())
        .set("grant_type", "refresh_token")
        .set("refresh_token", text(&tokens, "refresh_token"))
        .login(&flow.client);
    challenged_then_sent(&service, refresh, &flow.key).await.tokens();
}

/// Rule 2, NON-01: [`keybound_testkit::Answer::nonce_challenge`] judges status, body and headers.
async fn wire_rule_02_a_challenge_has_the_form_that_all_clients_know(store: Store) {
    let service = start(store, "required").await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        let nonce = session.call(endpoint).send(&service).await.nonce_challenge();
        let stale = session.call(endpoint).prove_with_nonce(&session.key, "a-nonce-from-elsewhere").send(&service).await.nonce_challenge();
        assert_ne!(stale, "a-nonce-from-elsewhere");
        session.call(endpoint).prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    }
}

/// Rule 3: clients repeat whatever comes with a new nonce, and would post a dead refresh token twice or hide the error.
async fn wire_rule_03_other_errors_bring_no_nonce(store: Store) {
    let service = start(store, "required").await;
    let session = service.session("spa").await;
    let nonce = session.refresh().send(&service).await.nonce_challenge();
    for endpoint in Endpoint::ALL {
        let call = || session.call(endpoint).prove_with_nonce(&session.key, &nonce);
        // `refused`, which all of these end in, allows `DPoP-Nonce` with `use_dpop_nonce` alone.
        call().set("refresh_token", "kbr_AAAA").send(&service).await.invalid_grant();
        call().set("client_id", "nobody").send(&service).await.refused(401, "invalid_client");
        call().set("scope", "more").send(&service).await.refused(400, "invalid_scope");
        call().proof("a.b.c").send(&service).await.invalid_proof();
        let good = call().send(&service).await;
        good.tokens();
        assert_eq!(good.response.header("DPoP-Nonce"), None, "the nonce that was sent is still the newest");
    }
}

/// Rule 4, NON-07: requests-oauth2client raises an error of its own about a 401 that has no nonce.
async fn wire_rule_04_a_challenge_for_a_resource_brings_a_nonce_while_nonces_are_on(store: Store) {
    let service = start(store, "required").await;
    let session = service.session("spa").await;
    let nonce = service.nonce().await;
    let tokens = session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    let access_token = text(&tokens, "access_token");
    let broken = format!("{access_token}x");
    for request in [
        userinfo(&service, access_token, &session.key, None),
        userinfo(&service, access_token, &Key::es256(), Some(&nonce)),
        userinfo(&service, &broken, &session.key, Some(&nonce)),
        Request::new("GET", "/oauth/userinfo"),
    ] {
        let answer = service.send(&request).await;
        assert_eq!(answer.status, 401, "{answer}");
        assert!(answer.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("DPoP ")), "{answer}");
        assert!(answer.header("DPoP-Nonce").is_some(), "{answer}");
    }
    let answer = service.send(&userinfo(&service, access_token, &session.key, Some(&nonce))).await;
    assert_eq!(answer.status, 200, "{answer}");
}

/// Rule 5, TEP-09: openid-client takes any answer with `WWW-Authenticate` for a refusal, a success too, and does not read its body.
async fn wire_rule_05_challenges_stand_only_where_they_belong(store: Store) {
    let service = start(store, "off").await;
    let flow = CodeFlow::known(&service, "webapp");
    let code = flow.code(&service).await;
    let tokens = flow.redeem(&code).send(&service).await;
    assert_eq!(tokens.response.header("WWW-Authenticate"), None);
    let again = flow.redeem(&code).send(&service).await;
    again.refused(400, "invalid_grant");
    assert_eq!(again.response.header("WWW-Authenticate"), None);
    let wrong = |call: Call| call.without_header("Authorization").header("Authorization", flow.client.basic("wrong"));
    for call in [flow.push_call(), flow.redeem(&code)] {
        let with_header = wrong(call.clone()).send(&service).await;
        with_header.refused(401, "invalid_client");
        assert!(with_header.response.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Basic")), "{with_header:?}");
        let in_body = call.without_header("Authorization").set("client_id", "webapp").set("client_secret", "wrong").send(&service).await;
        in_body.refused(401, "invalid_client");
        assert_eq!(in_body.response.header("WWW-Authenticate"), None, "{in_body:?}");
    }
}

/// Rule 6, NON-05: clients keep one nonce for each origin, for a minute or for ever. Here userinfo shares the origin.
async fn wire_rule_06_one_nonce_serves_the_whole_origin_and_a_stale_one_costs_one_repetition(store: Store) {
    let service = start(store, "required").await;
    let session = service.session("spa").await;
    let stale = "a-nonce-from-last-week";
    let nonce = session.refresh().prove_with_nonce(&session.key, stale).send(&service).await.nonce_challenge();
    let tokens = session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    let access_token = text(&tokens, "access_token");
    assert_eq!(service.send(&userinfo(&service, access_token, &session.key, Some(&nonce))).await.status, 200);
    let challenge = service.send(&userinfo(&service, access_token, &session.key, Some(stale))).await;
    let given = challenge.header("DPoP-Nonce").unwrap_or_else(|| panic!("no nonce: {challenge}")).to_owned();
    assert_eq!(challenge.status, 401, "{challenge}");
    session.refresh().prove_with_nonce(&session.key, &given).send(&service).await.tokens();
}

/// Rule 7, TOK-03: `DPoP` in exactly these letters, a number, the scope even where it is what was asked for, and `sub`.
async fn wire_rule_07_a_token_response_has_all_that_clients_read(store: Store) {
    let service = start(store, "off").await;
    let flow = CodeFlow::known(&service, "app");
    let first = flow.tokens(&service).await;
    let refreshed = Call::new(Endpoint::Token, service.issuer())
        .set("grant_type", "refresh_token")
        .set("refresh_token", text(&first, "refresh_token"))
        .login(&flow.client)
        .prove(&flow.key);
    for tokens in [first, refreshed.send(&service).await.tokens()] {
        assert_eq!(tokens["token_type"], "DPoP");
        assert!(tokens["expires_in"].is_u64(), "{tokens}");
        assert_eq!(text(&tokens, "scope"), "accounts openid");
        assert_eq!(text(&tokens, "sub"), "alice");
    }
}

/// Rule 8, JOSE-04: an Ed25519 key signs under its old and its new name; atproto clients pick ES256K wherever it is listed.
async fn wire_rule_08_the_listed_algorithms_are_the_accepted_ones(store: Store) {
    let service = start(store, "off").await;
    let listed = service.get("/.well-known/openid-configuration").await.json()["dpop_signing_alg_values_supported"].clone();
    assert_eq!(listed, json!(["ES256", "ES384", "PS256", "EdDSA", "Ed25519"]));
    for (key, alg) in
        [(Key::es256(), "ES256"), (Key::es384(), "ES384"), (Key::ps256(), "PS256"), (Key::ed25519(), "EdDSA"), (Key::ed25519(), "Ed25519")]
    {
        let session = service.session_with("spa", key, json!({})).await;
        let proof = session.proof(Endpoint::Token).header("alg", alg).sign(&session.key);
        let tokens = session.call(Endpoint::Token).proof(proof).send(&service).await.tokens();
        assert_eq!(tokens["dpop_signing_alg"], alg);
    }
    let session = service.session("spa").await;
    for alg in ["RS256", "ES256K", "HS256", "none"] {
        let proof = session.proof(Endpoint::Token).header("alg", alg).sign(&session.key);
        session.call(Endpoint::Token).proof(proof).send(&service).await.invalid_proof();
    }
}

/// Rule 9, DPOP-4.2-03, JOSE-12: `Math.random().toString(36)` makes a `jti` too, and some JWKs say more than they must.
async fn wire_rule_09_a_jti_is_any_text_and_a_key_may_say_more(store: Store) {
    let service = start(store, "off").await;
    let session = service.session("spa").await;
    let send = async |proof: Proof| session.refresh().proof(proof.sign(&session.key)).send(&service).await;
    for jti in ["0".to_owned(), "k3v9x0qz1ab".to_owned(), "\u{e9} \u{1f511}".to_owned(), "j".repeat(256)] {
        send(session.proof(Endpoint::Refresh).claim("jti", jti)).await.tokens();
    }
    send(session.proof(Endpoint::Refresh).claim("jti", "j".repeat(257))).await.invalid_proof();
    send(session.proof(Endpoint::Refresh).claim("jti", "")).await.invalid_proof();
    let chatty = session.proof(Endpoint::Refresh).jwk("alg", "ES256").jwk("kid", "mine").jwk("use", "sig");
    send(chatty.jwk("key_ops", json!(["verify"])).jwk("ext", true)).await.tokens();
    send(session.proof(Endpoint::Refresh).jwk("d", "AAAA")).await.invalid_proof();
}

/// Rule 10, PKJ-01: openid-client form-encodes both halves of Basic; most send `client_id` beside an assertion.
async fn wire_rule_10_each_way_to_authenticate_works_as_clients_write_it(store: Store) {
    let service = start(store, "off").await;
    for id in ["odd: id+%41", "poster", "web"] {
        service.session(id).await.call(Endpoint::Token).send(&service).await.tokens();
    }
    let session = service.session("signer").await;
    let call = session.call(Endpoint::Token);
    call.clone().set("client_id", "signer").send(&service).await.tokens();
    let claims = session.client.assertion_claims(service.issuer());
    let signed = |aud: Value| {
        let mut claims = claims.clone();
        claims["aud"] = aud;
        assertion(&keybound_testkit::service::signer_key(), &claims)
    };
    let with =
        |signed: String| call.clone().set("client_assertion_type", ASSERTION_TYPE).set("client_assertion", signed).prove(&session.key);
    let endpoint = format!("{}/oauth/token", service.issuer());
    with(signed(json!(endpoint))).send(&service).await.refused(401, "invalid_client");
    with(signed(json!(service.issuer()))).send(&service).await.tokens();
}

/// Rule 11, META-5.1: clients look at either place for the metadata; MCP clients start at the resource's challenge.
async fn wire_rule_11_everything_can_be_discovered(store: Store) {
    let service = start(store, "off").await;
    let oauth = service.get("/.well-known/oauth-authorization-server").await;
    let openid = service.get("/.well-known/openid-configuration").await;
    assert_eq!(oauth.body, openid.body);
    let challenge = service.get("/oauth/userinfo").await;
    let challenge = challenge.header("WWW-Authenticate").unwrap_or_else(|| panic!("no challenge: {challenge}")).to_owned();
    let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap_or_else(|| panic!("no pointer in {challenge}"));
    let (pointer, _) = rest.split_once('"').expect("a closing quote");
    let path = pointer.strip_prefix(service.issuer()).unwrap_or_else(|| panic!("{pointer} is elsewhere"));
    let described = service.get(path).await.json();
    assert_eq!(described["authorization_servers"], json!([service.issuer()]));

    let below = start_with(store, authorization::settings().with("issuer", "https://as.example.test/tenant")).await;
    let at_root = below.get("/.well-known/oauth-authorization-server/tenant").await;
    assert_eq!(at_root.json()["issuer"], "https://as.example.test/tenant");
    let inside = below.get("/tenant/.well-known/openid-configuration").await;
    assert_eq!(at_root.body, inside.body);
}

/// Rule 12, BCP-12: pages read the nonce and the challenge; none of these answers is for their cookies.
async fn wire_rule_12_pages_of_any_origin_may_call_all_but_the_authorization_endpoint(store: Store) {
    let service = start(store, "off").await;
    let origin = ("Origin", "https://page.example.test");
    let lists = |answer: &Response, name: &str, wanted: &[&str]| {
        let listed = answer.header_lines(name).join(",").to_lowercase();
        let listed: Vec<&str> = listed.split(',').map(str::trim).collect();
        assert!(wanted.iter().all(|name| listed.contains(&name.to_lowercase().as_str())), "{name}: {answer}");
    };
    for path in ["token", "refresh", "par", "revoke", "userinfo"] {
        let preflight = Request::new("OPTIONS", &format!("/oauth/{path}")).header(origin.0, origin.1);
        let preflight = preflight.header("Access-Control-Request-Method", "POST");
        let answer = service.send(&preflight.header("Access-Control-Request-Headers", "authorization,content-type,dpop")).await;
        assert!(answer.status < 300, "{path}: {answer}");
        lists(&answer, "Access-Control-Allow-Headers", &["DPoP", "Authorization", "Content-Type"]);
        assert!(answer.header("Access-Control-Max-Age").is_some(), "{path}: {answer}");
        let answer =
            service.send(&Request::new("POST", &format!("/oauth/{path}")).header(origin.0, origin.1).form::<&str, &str>(&[])).await;
        assert!(answer.header("Access-Control-Allow-Origin").is_some(), "{path}: {answer}");
        lists(&answer, "Access-Control-Expose-Headers", &["DPoP-Nonce", "WWW-Authenticate"]);
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None, "{path}: {answer}");
    }
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth/jwks"] {
        let answer = service.send(&Request::new("GET", path).header(origin.0, origin.1)).await;
        assert!(answer.header("Access-Control-Allow-Origin").is_some(), "{path}: {answer}");
    }
    let answer = service.send(&Request::new("GET", "/oauth/authorize").header(origin.0, origin.1)).await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{answer}");
}

/// Rule 13, TEP-01: clients do not follow redirects, and some name the charset of their form.
async fn wire_rule_13_paths_are_exact_and_a_form_may_name_its_charset(store: Store) {
    let service = start(store, "off").await;
    let session = service.session("spa").await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", session.refresh_token.as_str()), ("client_id", "spa")];
    let request = |path: &str| {
        let body = keybound_testkit::http::form(&form);
        let proof = session.proof(Endpoint::Token).sign(&session.key);
        Request::new("POST", path).header("DPoP", proof).body("application/x-www-form-urlencoded;charset=UTF-8", body)
    };
    assert_eq!(service.send(&request("/oauth/token")).await.status, 200);
    for path in ["/oauth/token/", "/oauth//token", "//oauth/token", "/OAuth/token", "/oauth/./token"] {
        let answer = service.send(&request(path)).await;
        assert_eq!(answer.status, 404, "{path}: {answer}");
        assert_eq!(answer.header("Location"), None, "{path}: {answer}");
    }
}

/// Rule 14, REF-03: clients post a refresh token again when an answer is lost; and keep one that never rotates.
async fn wire_rule_14_a_repeated_refresh_gives_the_same_successor(store: Store) {
    let service = start(store, "off").await;
    let session = service.session("spa").await;
    let first = session.call(Endpoint::Token).send(&service).await.tokens();
    let second = session.call(Endpoint::Token).send(&service).await.tokens();
    assert_eq!(first["refresh_token"], second["refresh_token"]);
    session.call(Endpoint::Token).prove(&Key::es256()).send(&service).await.refused(400, "invalid_grant");
    let steady = service.session("steady").await;
    let kept = steady.call(Endpoint::Token).send(&service).await.tokens();
    assert_eq!(text(&kept, "refresh_token"), steady.refresh_token);
}

/// Rule 15, JKT-06: a proof at PAR and `dpop_jkt` both bind the code; where both are there, they agree.
async fn wire_rule_15_a_pushed_request_binds_its_code(store: Store) {
    let service = start(store, "off").await;
    let flow = CodeFlow::known(&service, "app");
    let pushed = flow.push_call().set("dpop_jkt", flow.key.jkt()).prove(&flow.key).send(&service).await;
    let interaction = authorization::interaction(&flow.open_pushed(&service, &request_uri(&pushed)).await);
    let code = flow.code_of(&authorization::accept(&service, &interaction, json!({"sub": "alice"})).await);
    flow.redeem(&code).prove(&Key::es256()).send(&service).await.refused(400, "invalid_grant");
    flow.redeem(&code).send(&service).await.tokens();
    let torn = flow.push_call().set("dpop_jkt", Key::es256().jkt()).prove(&flow.key).send(&service).await;
    assert_eq!(torn.status(), 400, "{}", torn.response);
}

/// Rule 16, REV-01: an empty 200 is all that clients need, for either kind of token, and for one that is gone.
async fn wire_rule_16_either_token_can_be_revoked(store: Store) {
    let service = start(store, "off").await;
    for kind in ["refresh_token", "access_token"] {
        let mut session = service.session("spa").await;
        let tokens = session.rotate(&service).await;
        for _ in 0..2 {
            let answer = revoke(&service, "spa", text(&tokens, kind)).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer}");
        }
        session.refresh().send(&service).await.invalid_grant();
        let answer = service.send(&userinfo(&service, text(&tokens, "access_token"), &session.key, None)).await;
        assert_eq!(answer.status, 401, "{answer}");
    }
    let client = Client::known("spa");
    assert_eq!(revoke(&service, &client.id, "kbr_nothing").await.status, 200);
}

both_stores!(
    wire_rule_01_a_nonce_challenge_uses_nothing_up,
    wire_rule_02_a_challenge_has_the_form_that_all_clients_know,
    wire_rule_03_other_errors_bring_no_nonce,
    wire_rule_04_a_challenge_for_a_resource_brings_a_nonce_while_nonces_are_on,
    wire_rule_05_challenges_stand_only_where_they_belong,
    wire_rule_06_one_nonce_serves_the_whole_origin_and_a_stale_one_costs_one_repetition,
    wire_rule_07_a_token_response_has_all_that_clients_read,
    wire_rule_08_the_listed_algorithms_are_the_accepted_ones,
    wire_rule_09_a_jti_is_any_text_and_a_key_may_say_more,
    wire_rule_10_each_way_to_authenticate_works_as_clients_write_it,
    wire_rule_11_everything_can_be_discovered,
    wire_rule_12_pages_of_any_origin_may_call_all_but_the_authorization_endpoint,
    wire_rule_13_paths_are_exact_and_a_form_may_name_its_charset,
    wire_rule_14_a_repeated_refresh_gives_the_same_successor,
    wire_rule_15_a_pushed_request_binds_its_code,
    wire_rule_16_either_token_can_be_revoked,
);
