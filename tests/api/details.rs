//! Rich authorization requests with registered types (RFC 9396).

use keybound_testkit::authorization::{CodeFlow, LOGIN_URL, REDIRECT_URI, accept, interaction};
use keybound_testkit::jose::split;
use keybound_testkit::service::SECRET;
use keybound_testkit::{Client, ClientLogin, Endpoint, Key, Service, Session, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

const ACCOUNTS_API: &str = "https://api.example.test/accounts";
const PAYMENTS_API: &str = "https://api.example.test/payments";

/// The two types that come with Keybound, one of them filtered, and clients that use them.
async fn start(store: Store) -> Service {
    let client = |id: &str, extra: Value| {
        let mut client = json!({"client_id": id, "grant_types": ["refresh_token"], "scope": "accounts openid payments",
            "authorization_details_types": ["account_information", "payment_initiation"]});
        for (name, value) in extra.as_object().into_iter().flatten() {
            client[name] = value.clone();
        }
        client
    };
    let types = json!([
        {"type": "account_information", "schema": "builtin", "filter_by_locations": true},
        {"type": "payment_initiation", "schema": "builtin"},
        {"type": "unused", "schema": {"type": "object"}},
    ]);
    let server = json!({"token_endpoint_auth_method": "client_secret_basic", "client_secret": SECRET,
        "grant_types": ["client_credentials", "refresh_token"]});
    let settings = Settings::default().with("authorization_details_type", types);
    start_with(store, settings.client(client("bank-app", json!({}))).client(client("bank-server", server))).await
}

fn account() -> Value {
    json!({"type": "account_information", "actions": ["list_accounts", "read_balances"], "locations": [ACCOUNTS_API],
        "data_types": ["balances"], "identifier": "account-12345", "constraints": {}})
}

fn payment() -> Value {
    json!({"type": "payment_initiation", "actions": ["initiate", "status"], "locations": [PAYMENTS_API],
        "instructedAmount": {"currency": "EUR", "amount": "123.50"}, "creditorName": "Merchant A",
        "creditorAccount": {"iban": "DE02100100109307118603"}})
}

async fn session(service: &Service) -> Session {
    let extra = json!({"authorization_details": [account(), payment()], "resource": [ACCOUNTS_API, PAYMENTS_API]});
    service.session_with("bank-app", Key::es256(), extra).await
}

fn access_claims(tokens: &Value) -> Value {
    split(tokens["access_token"].as_str().expect("an access token")).1
}

/// RAR-09
async fn registered_types_are_announced(store: Store) {
    let service = start(store).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = service.get(path).await.json();
        assert_eq!(metadata["authorization_details_types_supported"], json!(["account_information", "payment_initiation", "unused"]));
    }
    let none = crate::start(store).await;
    let metadata = none.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata.get("authorization_details_types_supported"), None, "an empty list is left out (MD-02)");
}

/// RAR-01, RAR-02: unknown types, unknown and missing members, wrong types and bad values, each named.
async fn a_grant_holds_what_its_types_want(store: Store) {
    let service = start(store).await;
    let grant = async |client: &str, details: Value| {
        let body = json!({"client_id": client, "sub": "alice", "scope": "accounts", "jkt": Key::es256().jkt(),
            "authorization_details": details});
        service.manage("POST", "/admin/grants", Some(body)).await
    };
    assert_eq!(grant("bank-app", json!([account(), payment()])).await.status, 201);
    // A client that lists no types may be given any that is registered: the operator decides.
    assert_eq!(grant("other-spa", json!([account()])).await.status, 201);
    assert_eq!(grant("other-spa", json!([{"type": "card"}])).await.status, 400);
    let with = |name: &str, value: Value| {
        let mut entry = account();
        entry[name] = value;
        entry
    };
    for (entry, named) in [
        (json!({"type": "card"}), "a type that is not known here"),
        (json!({"type": "unused"}), "a type that the client is not registered for"),
        (json!({"type": "account_information"}), "no member actions"),
        (with("extra", json!(true)), "a member extra, which its type does not know"),
        (with("actions", json!("list_accounts")), "a member actions that has the wrong type"),
        (with("actions", json!(["list_accounts", "steal"])), "a member actions/1 that has a value that is not allowed"),
        (with("locations", json!([7])), "a member locations/0 that has the wrong type"),
        (with("constraints", json!({"max_transactions": 0})), "a member constraints/max_transactions that is too small"),
    ] {
        let refused = grant("bank-app", json!([payment(), entry])).await;
        assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid_authorization_details")), "{refused}");
        let description = refused.json()["error_description"].as_str().unwrap_or_default().to_owned();
        assert_eq!(description, format!("entry 1 of authorization_details has {named}"));
    }
}

/// RAR-03, RAR-04, RAR-05, RAR-06, BCP-04, FAPI-AS-14: each member by its own rule, for one access token; the grant stays as it is.
async fn a_refresh_narrows_by_the_rules_of_the_type(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        let session = session(&service).await;
        let all = json!([account(), payment()]);
        assert_eq!(session.call(endpoint).send(&service).await.tokens()["authorization_details"], all);
        let asked = json!([
            {"type": "payment_initiation", "actions": ["status"], "instructedAmount": {"amount": "99.95"}},
            {"type": "account_information", "actions": ["list_accounts"]},
        ]);
        let mut cheaper = payment();
        cheaper["actions"] = json!(["status"]);
        cheaper["instructedAmount"]["amount"] = json!("99.95");
        let mut fewer = account();
        fewer["actions"] = json!(["list_accounts"]);
        let narrowed = session.call(endpoint).set("authorization_details", asked.to_string()).send(&service).await.tokens();
        assert_eq!(narrowed["authorization_details"], json!([cheaper, fewer]));
        assert_eq!(access_claims(&narrowed)["authorization_details"], json!([cheaper, fewer]));
        assert_eq!(session.call(endpoint).send(&service).await.tokens()["authorization_details"], all, "the grant did not shrink");
    }
}

/// RAR-02, RAR-03, RAR-04, RAR-10, REF-05: a refusal names entry and member, in ASCII, and uses nothing up.
async fn what_exceeds_the_grant_is_refused_by_entry_and_member(store: Store) {
    let service = start(store).await;
    let mut session = session(&service).await;
    let account = |name: &str, value: Value| json!({"type": "account_information", name: value});
    let payment = |name: &str, value: Value| json!({"type": "payment_initiation", name: value});
    for (entry, named) in [
        (json!({"type": "card"}), "has a type that is not known here"),
        (json!({"type": "unused"}), "is not covered by what was granted"),
        (account("actions", json!(["list_accounts", "read_transactions"])), "is not covered by what was granted: actions"),
        (account("locations", json!([PAYMENTS_API])), "is not covered by what was granted: locations"),
        (account("identifier", json!("account-1234")), "is not covered by what was granted: identifier"),
        (account("identifier", json!("account-12345\u{301}")), "is not covered by what was granted: identifier"),
        (account("actions", json!("list_accounts")), "has a member actions that has the wrong type"),
        (account("actions", json!([])), "has a member actions that is too short"),
        (account("b\u{e4}\"\\d", json!(1)), "has a member b???d, which its type does not know"),
        (payment("instructedAmount", json!({"amount": "123.51"})), "is not covered by what was granted: instructedAmount/amount"),
        (payment("instructedAmount", json!({"amount": "1e2"})), "has a member instructedAmount/amount that is malformed"),
        (payment("instructedAmount", json!({"currency": "USD"})), "is not covered by what was granted: instructedAmount/currency"),
        (payment("creditorAccount", json!({"iban": "DE02100100109307118604"})), "is not covered by what was granted: creditorAccount"),
        (payment("remittanceInformationUnstructured", json!("x")), "is not covered by what was granted: remittanceInformationUnstructured"),
    ] {
        let asked = json!([{"type": "account_information"}, entry]);
        let call = session.refresh();
        let as_form = call.clone().set("authorization_details", asked.to_string()).send(&service).await;
        let refused = as_form.refused(400, "invalid_authorization_details");
        assert_eq!(refused["error_description"], format!("entry 1 of authorization_details {named}"), "{asked}");
        call.clone().json().set("authorization_details", asked).send(&service).await.refused(400, "invalid_authorization_details");
        // The same proof and the same refresh token: nothing was used up.
        session.keep(&call.send(&service).await.tokens());
    }
}

/// RAR-03: any granted entry of the type may cover, and two never add up.
async fn one_granted_entry_must_cover_the_whole(store: Store) {
    let service = start(store).await;
    let entry = |id: &str, action: &str| json!({"type": "account_information", "identifier": id, "actions": [action]});
    let granted = json!([entry("1", "list_accounts"), entry("2", "read_balances")]);
    let session = service.session_with("bank-app", Key::es256(), json!({"authorization_details": granted})).await;
    let ask = async |details: Value| session.refresh().set("authorization_details", details.to_string()).send(&service).await;
    for good in [entry("1", "list_accounts"), entry("2", "read_balances")] {
        assert_eq!(ask(json!([good])).await.tokens()["authorization_details"], json!([good]));
    }
    ask(json!([entry("1", "read_balances")])).await.refused(400, "invalid_authorization_details");
}

/// RAR-03, RAR-06: a client on its own behalf gets what its types and its registration allow.
async fn client_credentials_take_registered_types(store: Store) {
    let service = start(store).await;
    let client = Client { id: "bank-server".to_owned(), login: ClientLogin::Basic(SECRET.to_owned()) };
    let ask = async |details: Value| {
        let call = client.credentials_call(&Key::es256(), service.issuer());
        call.set("authorization_details", details.to_string()).send(&service).await
    };
    let tokens = ask(json!([payment()])).await.tokens();
    assert_eq!(tokens["authorization_details"], json!([payment()]));
    assert_eq!(access_claims(&tokens)["authorization_details"], json!([payment()]));
    for refused in [
        json!([{"type": "card"}]),
        json!([{"type": "unused"}]),
        json!([{"type": "payment_initiation"}]),
        json!([{"type": "payment_initiation", "instructedAmount": "123.50 EUR"}]),
        json!({"type": "payment_initiation"}),
    ] {
        ask(refused).await.refused(400, "invalid_authorization_details");
    }
}

/// RAR-08: an API sees the entries that are for it; the client sees what it was granted.
async fn a_token_carries_the_entries_for_its_audience(store: Store) {
    let service = start(store).await;
    let session = session(&service).await;
    let ask = async |resource: &str| session.refresh().set("resource", resource).send(&service).await.tokens();
    let tokens = ask(ACCOUNTS_API).await;
    assert_eq!(tokens["authorization_details"], json!([account(), payment()]));
    assert_eq!(access_claims(&tokens)["authorization_details"], json!([account(), payment()]), "payment_initiation is not filtered");
    let tokens = ask(PAYMENTS_API).await;
    assert_eq!(tokens["authorization_details"], json!([account(), payment()]));
    assert_eq!(access_claims(&tokens)["authorization_details"], json!([payment()]));
}

/// RAR-02, RAR-03, RAR-06, RAR-07: at PAR by the schema; what the end user agrees to and what the code gives is never more than asked.
async fn a_code_carries_what_was_agreed_to(store: Store) {
    let app = json!({"client_id": "bank-web", "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [REDIRECT_URI],
        "scope": "accounts openid", "authorization_details_types": ["account_information", "payment_initiation"]});
    let types = json!([{"type": "account_information", "schema": "builtin"}, {"type": "payment_initiation", "schema": "builtin"}]);
    let settings = Settings::default().with("authorization_details_type", types).with("interaction.url", LOGIN_URL);
    let service = start_with(store, settings.client(app)).await;
    let flow = CodeFlow::new(service.issuer(), Client { id: "bank-web".to_owned(), login: ClientLogin::Public });
    for (bad, named) in [
        (json!([{"type": "card"}]), "entry 0 of authorization_details has a type that is not known here"),
        (json!([account(), {"type": "account_information"}]), "entry 1 of authorization_details has no member actions"),
        (json!({"type": "account_information"}), "authorization_details is not a JSON array"),
    ] {
        let answer = flow.clone().set("authorization_details", bad.to_string()).push_call().send(&service).await;
        assert_eq!((answer.status(), &answer.response.json()["error"]), (400, &json!("invalid_authorization_details")));
        assert_eq!(answer.response.json()["error_description"], named);
    }
    let flow = flow.set("authorization_details", json!([account(), payment()]).to_string());
    let open = async || interaction(&flow.open_pushed(&service, &flow.push(&service).await).await);
    let opened = open().await;
    let wider = json!({"sub": "alice", "authorization_details": [{"type": "payment_initiation", "instructedAmount": {"amount": "124"}}]});
    let refused = service.manage("POST", &format!("/admin/interactions/{opened}/accept"), Some(wider)).await;
    assert_eq!(refused.status, 400, "{refused}");
    let agreed = json!({"sub": "alice", "authorization_details": [{"type": "payment_initiation", "instructedAmount": {"amount": "100"}}]});
    let code = flow.code_of(&accept(&service, &opened, agreed).await);
    let mut granted = payment();
    granted["instructedAmount"]["amount"] = json!("100");
    let beyond = flow.redeem(&code).set("authorization_details", json!([payment()]).to_string()).send(&service).await;
    beyond.refused(400, "invalid_authorization_details");
    let tokens = flow.redeem(&code).send(&service).await.tokens();
    assert_eq!(tokens["authorization_details"], json!([granted]));
    assert_eq!(access_claims(&tokens)["authorization_details"], json!([granted]));
}

both_stores!(
    a_code_carries_what_was_agreed_to,
    registered_types_are_announced,
    a_grant_holds_what_its_types_want,
    a_refresh_narrows_by_the_rules_of_the_type,
    what_exceeds_the_grant_is_refused_by_entry_and_member,
    one_granted_entry_must_cover_the_whole,
    client_credentials_take_registered_types,
    a_token_carries_the_entries_for_its_audience,
);
