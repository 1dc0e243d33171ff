//! Refreshing: binding, rotation, narrowing (RFC 6749 section 6, RFC 9449 section 5, RFC 9700 section 4.14).

use keybound_testkit::jose::{b64, split};
use keybound_testkit::{Answer, Endpoint, Key, Session, Store, both_stores};
use serde_json::{Value, json};

use crate::start;

/// The claims of the access token in an answer; who signed it is checked in `metadata.rs`.
fn access_claims(tokens: &Value) -> Value {
    split(tokens["access_token"].as_str().expect("an access token")).1
}

/// The text of a refusal, for comparing refusals with each other.
fn text(answer: &Answer) -> String {
    answer.response.text()
}

/// TOK-01, TOK-02, TOK-05, CNF-01, BCP-01, BCP-05
async fn a_refresh_gives_a_bound_token(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        let session = service.session("spa").await;
        let tokens = session.call(endpoint).send(&service).await.tokens();
        assert_eq!(tokens["token_type"], "DPoP");
        assert_eq!(tokens["dpop_access_token_bound"], true);
        assert_eq!(tokens["dpop_signing_alg"], "ES256");
        assert_eq!(tokens["expires_in"], 300);
        assert_eq!(tokens["scope"], "accounts openid payments");
        assert_eq!(tokens["sub"], "alice");
        let refresh_token = tokens["refresh_token"].as_str().expect("a refresh token");
        assert!(refresh_token.starts_with("kbr_") && refresh_token != session.refresh_token);
        assert_eq!(access_claims(&tokens)["cnf"], json!({"jkt": session.key.jkt()}));
    }
}

/// TOK-01: form and JSON bodies are the same request.
async fn a_refresh_may_be_sent_as_json(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let tokens = session.refresh().json().send(&service).await.tokens();
    session.keep(&tokens);
    let with_type = session.refresh().json().set("grant_type", "refresh_token").set("scope", "accounts");
    assert_eq!(with_type.send(&service).await.tokens()["scope"], "accounts");
    session.refresh().json().set("grant_type", "password").send(&service).await;
    let confidential = service.session("poster").await;
    confidential.refresh().json().send(&service).await.tokens();
}

/// TOK-05, REF-04, BCP-14: another key gets `invalid_grant`, and the family lives.
async fn another_key_is_refused_and_ends_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let old = session.refresh_token.clone();
    session.rotate(&service).await;
    session.rotate(&service).await;
    for endpoint in Endpoint::ALL {
        for token in [session.refresh_token.clone(), old.clone()] {
            session.call_with(endpoint, &token).prove(&Key::es256()).send(&service).await.invalid_grant();
            session.call_with(endpoint, &token).prove(&Key::ed25519()).send(&service).await.invalid_grant();
        }
        session.call(endpoint).without_proof().send(&service).await.invalid_proof();
    }
    session.rotate(&service).await;
}

/// TOK-07, REF-03
async fn a_rotated_token_stays_with_the_key(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    for _ in 0..3 {
        session.rotate(&service).await;
        session.refresh().prove(&Key::es256()).send(&service).await.invalid_grant();
    }
    session.rotate(&service).await;
}

/// TOK-06, SEC-13: a confidential client may use a new key at each refresh.
async fn a_confidential_client_may_change_its_key(store: Store) {
    let service = start(store).await;
    for client in ["web", "poster", "signer"] {
        let mut session = service.session(client).await;
        for key in [Key::es256(), Key::ed25519(), Key::es256()] {
            session.key = key;
            let tokens = session.rotate(&service).await;
            assert_eq!(access_claims(&tokens)["cnf"]["jkt"], session.key.jkt());
        }
        session.refresh().without_proof().send(&service).await.invalid_proof();
    }
}

/// TOK-03, TOK-09, META-5.2: without `dpop_bound_access_tokens` a proof is optional for confidential clients and binds.
async fn a_client_may_be_registered_for_bearer_tokens(store: Store) {
    let service = start(store).await;
    let session = service.session("bearer-web").await;
    for endpoint in Endpoint::ALL {
        let bearer = session.call(endpoint).without_proof().send(&service).await.tokens();
        assert_eq!((&bearer["token_type"], &bearer["dpop_access_token_bound"]), (&json!("Bearer"), &json!(false)));
        assert!(access_claims(&bearer).get("cnf").is_none());
        let bound = session.call(endpoint).send(&service).await.tokens();
        assert_eq!((&bound["token_type"], &bound["dpop_access_token_bound"]), (&json!("DPoP"), &json!(true)));
    }
}

/// TOK-03, TOK-05, BCP-01: a public client's refresh token is bound even where its access tokens are not.
async fn a_public_clients_refresh_token_is_always_bound(store: Store) {
    let service = start(store).await;
    let session = service.session("bearer-spa").await;
    session.refresh().without_proof().send(&service).await.invalid_proof();
    session.refresh().prove(&Key::es256()).send(&service).await.invalid_grant();
    let tokens = session.refresh().send(&service).await.tokens();
    assert_eq!((&tokens["token_type"], &tokens["dpop_access_token_bound"]), (&json!("Bearer"), &json!(false)));
    let ungranted =
        service.manage("POST", "/admin/grants", Some(json!({"client_id": "bearer-spa", "sub": "alice", "scope": "accounts"}))).await;
    assert_eq!(ungranted.status, 400, "no unbound family exists: {ungranted}");
}

/// META-5.2: a client is bound unless it is registered otherwise.
async fn a_bound_client_needs_a_proof(store: Store) {
    let service = start(store).await;
    for client in ["spa", "web", "signer"] {
        let session = service.session(client).await;
        for endpoint in Endpoint::ALL {
            session.call(endpoint).without_proof().send(&service).await.invalid_proof();
            session.call(endpoint).send(&service).await.tokens();
        }
    }
}

/// REF-04, BCP-03, PIPE-3: every token that is not good gets one and the same answer.
async fn tokens_that_are_no_good_are_indistinguishable(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let foreign = service.session("other-spa").await;
    let ended = service.session("spa").await;
    assert!(matches!(service.revoke(&ended.grant_id).await.status, 200 | 204));
    let good = session.refresh_token.clone();
    let mut mangled: Vec<String> = (4..good.len())
        .step_by(3)
        .map(|position| {
            let replacement = if &good[position..=position] == "A" { "B" } else { "A" };
            format!("{}{replacement}{}", &good[..position], &good[position + 1..])
        })
        .collect();
    mangled.extend([
        "unknown".to_owned(),
        "kbr_".to_owned(),
        format!("kbr_{}", b64([7; 38])),
        format!("{good}A"),
        good[..good.len() - 1].to_owned(),
    ]);
    mangled.extend([good.to_uppercase(), format!("{good}="), format!(" {good}"), good.replacen("kbr_", "", 1), "x".repeat(5000)]);
    mangled.push(foreign.refresh_token.clone());
    for endpoint in Endpoint::ALL {
        let expected = session.call(endpoint).prove(&Key::es256()).send(&service).await;
        expected.invalid_grant();
        for token in &mangled {
            let answer = session.call_with(endpoint, token).send(&service).await;
            answer.invalid_grant();
            assert_eq!(text(&answer), text(&expected), "{token}");
        }
        let answer = ended.call(endpoint).send(&service).await;
        answer.invalid_grant();
        assert_eq!(text(&answer), text(&expected), "revoked");
    }
    session.rotate(&service).await;
}

/// REF-01, REF-06
async fn a_token_belongs_to_one_client(store: Store) {
    let service = start(store).await;
    let session = service.session("web").await;
    let other = keybound_testkit::Client::known("other-web");
    session.refresh().login(&other).send(&service).await.invalid_grant();
    session.refresh().without_header("Authorization").set("client_id", "web").send(&service).await.refused(401, "invalid_client");
    session.refresh().send(&service).await.tokens();
    let public = service.session("spa").await;
    public.refresh().set("client_id", "other-spa").send(&service).await.invalid_grant();
    public.refresh().without("client_id").send(&service).await.refused(400, "invalid_request");
    public.refresh().send(&service).await.tokens();
}

/// REF-02, REF-03, REF-05, PIPE-2: narrower once, full again; wider never; a refusal uses up nothing.
async fn scope_is_narrowed_for_one_access_token(store: Store) {
    let service = start(store).await;
    let mut session = service.session_with("spa", Key::es256(), json!({"scope": "accounts payments"})).await;
    for endpoint in Endpoint::ALL {
        for wider in ["accounts admin", "admin", "accounts openid", "accounts  payments", "accounts \"x\"", "accounts\\payments"] {
            session.call(endpoint).set("scope", wider).send(&service).await.refused(400, "invalid_scope");
        }
        let narrow = session.call(endpoint).set("scope", "payments").send(&service).await.tokens();
        assert_eq!(narrow["scope"], "payments");
        assert_eq!(access_claims(&narrow)["scope"], "payments");
        session.keep(&narrow);
        for full in
            [session.call(endpoint), session.call(endpoint).set("scope", ""), session.call(endpoint).set("scope", "payments accounts")]
        {
            let full = full.send(&service).await.tokens();
            assert_eq!(full["scope"], "accounts payments");
        }
        session.rotate(&service).await;
    }
}

/// REF-05, BCP-04: `resource` limits the audience, and never beyond the grant.
async fn resource_narrows_the_audience(store: Store) {
    let service = start(store).await;
    let session = service.session_with("spa", Key::es256(), json!({"scope": "accounts payments"})).await;
    let full = access_claims(&session.refresh().send(&service).await.tokens());
    let mut audiences: Vec<String> =
        full["aud"].as_array().expect("two audiences").iter().map(|aud| aud.as_str().unwrap_or_default().to_owned()).collect();
    audiences.sort();
    assert_eq!(audiences, ["https://api.example.test/accounts", "https://api.example.test/payments"]);
    let one = session.refresh().set("resource", "https://api.example.test/accounts").send(&service).await.tokens();
    assert_eq!(access_claims(&one)["aud"], "https://api.example.test/accounts");
    for bad in ["https://elsewhere.example.test/", "not a URI", "https://api.example.test/accounts#fragment", "/relative"] {
        session.refresh().set("resource", bad).send(&service).await.refused(400, "invalid_target");
    }
    session.refresh().send(&service).await.tokens();
}

/// REF-05, BCP-04: a grant limited to one resource stays limited.
async fn a_grant_for_one_resource_reaches_no_other(store: Store) {
    let service = start(store).await;
    let extra = json!({"scope": "accounts payments", "resource": ["https://api.example.test/accounts"]});
    let session = service.session_with("spa", Key::es256(), extra).await;
    let tokens = session.refresh().send(&service).await.tokens();
    assert_eq!(access_claims(&tokens)["aud"], "https://api.example.test/accounts");
    session.refresh().set("resource", "https://api.example.test/payments").send(&service).await.refused(400, "invalid_target");
    session.refresh().set("resource", "https://api.example.test/accounts").send(&service).await.tokens();
}

fn account_details() -> Value {
    json!([{"type": "account_information", "actions": ["list_accounts", "read_balances"], "locations": ["https://example.com/accounts"],
        "data_types": ["balances"], "identifier": "account-12345", "constraints": {}}])
}

/// REF-05: authorization details are narrowed for one access token; a member left out keeps its granted value.
async fn authorization_details_are_narrowed_for_one_access_token(store: Store) {
    let service = start(store).await;
    let extra = json!({"authorization_details": account_details()});
    for endpoint in Endpoint::ALL {
        let session = service.session_with("spa", Key::es256(), extra.clone()).await;
        let full = session.call(endpoint).send(&service).await.tokens();
        assert_eq!(full["authorization_details"], account_details());
        assert_eq!(access_claims(&full)["authorization_details"], account_details());
        let asked = json!([{"type": "account_information", "actions": ["list_accounts"]}]);
        let narrow = session.call(endpoint).set("authorization_details", asked.to_string()).send(&service).await.tokens();
        let mut expected = account_details();
        expected[0]["actions"] = json!(["list_accounts"]);
        assert_eq!(narrow["authorization_details"], expected);
        assert_eq!(access_claims(&narrow)["authorization_details"], expected);
        let again = session.call(endpoint).send(&service).await.tokens();
        assert_eq!(again["authorization_details"], account_details(), "the grant did not shrink");
    }
}

/// REF-05: the JSON body takes the array itself and its JSON text.
async fn authorization_details_in_json_are_an_array_or_its_text(store: Store) {
    let service = start(store).await;
    let session = service.session_with("spa", Key::es256(), json!({"authorization_details": account_details()})).await;
    let asked = json!([{"type": "account_information", "actions": ["list_accounts"]}]);
    let as_array = session.refresh().json().set("authorization_details", asked.clone()).send(&service).await.tokens();
    let as_text = session.refresh().json().set("authorization_details", asked.to_string()).send(&service).await.tokens();
    assert_eq!(as_array["authorization_details"], as_text["authorization_details"]);
    assert_eq!(as_array["authorization_details"][0]["actions"], json!(["list_accounts"]));
}

/// REF-05
async fn authorization_details_beyond_the_grant_are_refused(store: Store) {
    let service = start(store).await;
    let session = service.session_with("spa", Key::es256(), json!({"authorization_details": account_details()})).await;
    for asked in [
        json!([{"type": "payment_initiation"}]).to_string(),
        json!([{"type": "unheard_of"}]).to_string(),
        json!([{"type": "account_information", "actions": ["list_accounts", "delete"]}]).to_string(),
        json!([{"type": "account_information", "identifier": "account-99999"}]).to_string(),
        json!([{"type": "account_information", "extra": 1}]).to_string(),
        json!([{"actions": ["list_accounts"]}]).to_string(),
        json!([{"type": 1}]).to_string(),
        json!({"type": "account_information"}).to_string(),
        json!(["account_information"]).to_string(),
        "not json".to_owned(),
        "[{\"type\":\"account_information\",\"type\":\"account_information\"}]".to_owned(),
    ] {
        let answer = session.refresh().set("authorization_details", asked.as_str()).send(&service).await;
        assert_eq!(answer.status(), 400, "{asked}: {}", answer.response);
        answer.refused(400, "invalid_authorization_details");
    }
    session.refresh().set("authorization_details", json!([{"type": "account_information"}]).to_string()).send(&service).await.tokens();
}

/// BCP-02, REF-07: the table of rotation, seen from outside.
async fn rotation_repeats_for_a_lost_answer_and_ends_at_reuse(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let first = session.refresh_token.clone();
    let second = session.rotate(&service).await["refresh_token"].clone();
    let repeated = session.call_with(Endpoint::Refresh, &first).send(&service).await.tokens();
    assert_eq!(repeated["refresh_token"], second, "the same successor again");
    let third = session.rotate(&service).await["refresh_token"].clone();
    assert_ne!(second, third);
    session.call_with(Endpoint::Refresh, &first).send(&service).await.invalid_grant();
    for token in [&second, &third] {
        session.call_with(Endpoint::Refresh, token.as_str().expect("text")).send(&service).await.invalid_grant();
    }
}

/// BCP-02: `refresh_reuse = "refuse"` refuses the old token and ends nothing.
async fn reuse_may_be_refused_without_ending_the_family(store: Store) {
    let service = start(store).await;
    let mut session = service.session("lenient").await;
    let first = session.refresh_token.clone();
    session.rotate(&service).await;
    session.rotate(&service).await;
    session.call_with(Endpoint::Refresh, &first).send(&service).await.invalid_grant();
    session.rotate(&service).await;
}

/// REF-07: rotation is per client.
async fn a_client_may_keep_its_refresh_token(store: Store) {
    let service = start(store).await;
    let session = service.session("steady").await;
    for _ in 0..3 {
        let tokens = session.refresh().send(&service).await.tokens();
        if let Some(token) = tokens.get("refresh_token") {
            assert_eq!(token, &session.refresh_token);
        }
    }
}

/// BCP-13: only the immediate predecessor is repeated, and never after a revocation.
async fn a_revoked_family_is_not_recently_rotated(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let before = session.refresh_token.clone();
    session.rotate(&service).await;
    assert!(matches!(service.revoke(&session.grant_id).await.status, 200 | 204));
    session.call_with(Endpoint::Refresh, &before).send(&service).await.invalid_grant();
    session.refresh().send(&service).await.invalid_grant();
}

/// BCP-14: whoever fails client authentication ends nothing, not even with an old token.
async fn reuse_without_authentication_ends_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("web").await;
    let first = session.refresh_token.clone();
    session.rotate(&service).await;
    session.rotate(&service).await;
    let stranger = keybound_testkit::Client::known("other-web");
    session.call_with(Endpoint::Refresh, &first).login(&stranger).send(&service).await.invalid_grant();
    let wrong = session.client.basic("wrong-secret-0123456789");
    session
        .call_with(Endpoint::Refresh, &first)
        .without_header("Authorization")
        .header("Authorization", wrong)
        .send(&service)
        .await
        .refused(401, "invalid_client");
    session.rotate(&service).await;
}

/// TEP-11: `id_token` comes with the scope `openid` and without it not.
async fn an_id_token_comes_with_openid_only(store: Store) {
    let service = start(store).await;
    let session = service
        .session_with(
            "spa",
            Key::es256(),
            json!({"auth_time": 1_700_000_000, "acr": "gold", "claims": {"email": "alice@example.test", "iss": "evil"}}),
        )
        .await;
    let tokens = session.refresh().send(&service).await.tokens();
    let (header, claims, _, _) = split(tokens["id_token"].as_str().expect("an ID token"));
    assert_ne!(header["typ"], "at+jwt");
    assert_eq!(claims["iss"], service.issuer());
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["aud"], "spa");
    assert_eq!(claims["auth_time"], 1_700_000_000);
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());
    let narrowed = session.refresh().set("scope", "accounts").send(&service).await.tokens();
    assert!(narrowed.get("id_token").is_none());
}

/// SEC-10, CNF-06: what a proof does not cover. The body of a captured proof can be changed; it can't be used twice.
async fn a_proof_covers_no_body_but_is_spent_once(store: Store) {
    let service = start(store).await;
    let (one, other): (Session, Session) = {
        let key = Key::es256();
        (service.session_with("spa", key.clone(), json!({})).await, service.session_with("spa", key, json!({})).await)
    };
    let call = one.refresh();
    call.send(&service).await.tokens();
    other.refresh().proof(call.sent_proof()).send(&service).await.invalid_proof();
    other.refresh().send(&service).await.tokens();
}

both_stores!(
    a_refresh_gives_a_bound_token,
    a_refresh_may_be_sent_as_json,
    another_key_is_refused_and_ends_nothing,
    a_rotated_token_stays_with_the_key,
    a_confidential_client_may_change_its_key,
    a_client_may_be_registered_for_bearer_tokens,
    a_public_clients_refresh_token_is_always_bound,
    a_bound_client_needs_a_proof,
    tokens_that_are_no_good_are_indistinguishable,
    a_token_belongs_to_one_client,
    scope_is_narrowed_for_one_access_token,
    resource_narrows_the_audience,
    a_grant_for_one_resource_reaches_no_other,
    authorization_details_are_narrowed_for_one_access_token,
    authorization_details_in_json_are_an_array_or_its_text,
    authorization_details_beyond_the_grant_are_refused,
    rotation_repeats_for_a_lost_answer_and_ends_at_reuse,
    reuse_may_be_refused_without_ending_the_family,
    a_client_may_keep_its_refresh_token,
    a_revoked_family_is_not_recently_rotated,
    reuse_without_authentication_ends_nothing,
    an_id_token_comes_with_openid_only,
    a_proof_covers_no_body_but_is_spent_once,
);
