//! Refresh tokens in a cookie: page script never sees them, and no other page can use them.

use keybound_testkit::authorization::{CodeFlow, LOGIN_URL, REDIRECT_URI};
use keybound_testkit::{
    Answer, Call, Client, ClientLogin, Endpoint, Key, Request, Response, Service, Session, Settings, Store, both_stores,
};
use serde_json::{Value, json};

use crate::start_with;

const ORIGIN: &str = "https://app.example.test";
const OTHER_ORIGIN: &str = "https://other-app.example.test";
const DEFAULT: &str = "__Host-keybound_rt";

fn page(id: &str, origins: &[&str]) -> Value {
    json!({"client_id": id, "grant_types": ["refresh_token"], "scope": "accounts openid payments",
        "refresh_token_delivery": "cookie", "allowed_origins": origins})
}

/// `page` and `twin` have the default cookie, `twin` for another origin; `named` has a cookie of its own.
async fn start(store: Store) -> Service {
    let mut named = page("named", &[ORIGIN]);
    named["refresh_token_cookie"] = json!("__Host-named");
    let settings = Settings::default().client(page("page", &[ORIGIN, "http://localhost:3000"]));
    start_with(store, settings.client(page("twin", &[OTHER_ORIGIN])).client(named)).await
}

/// A good call with the token in the cookie instead of the body.
fn call(session: &Session, endpoint: Endpoint) -> Call {
    let cookie = format!("theme=dark; {DEFAULT}={}", session.refresh_token);
    session.call(endpoint).without("refresh_token").header("Cookie", cookie).header("Origin", ORIGIN)
}

/// Name, value and attributes of the one `Set-Cookie` line.
fn set_cookie(response: &Response) -> (String, String, Vec<String>) {
    let lines = response.header_lines("Set-Cookie");
    let [line] = lines[..] else { panic!("{} cookies in {response}", lines.len()) };
    let mut parts = line.split(';').map(|part| part.trim().to_owned());
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()))).expect("a pair");
    (name, value, parts.collect())
}

/// The members of a good answer, whose refresh token went into the cookie and into the session.
fn accepted(answer: &Answer, session: &mut Session, name: &str) -> Value {
    let tokens = answer.tokens();
    assert_eq!(tokens.get("refresh_token"), None, "page script could read it: {tokens}");
    let (found, value, attributes) = set_cookie(&answer.response);
    assert_eq!(found, name);
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
        assert!(attributes.iter().any(|one| one.eq_ignore_ascii_case(attribute)), "{attribute}: {attributes:?}");
    }
    assert!(!attributes.iter().any(|one| one.to_lowercase().starts_with("domain")), "__Host- forbids it: {attributes:?}");
    let max_age = attributes.iter().find_map(|one| one.strip_prefix("Max-Age=")?.parse::<u64>().ok()).expect("Max-Age");
    assert!((31_535_000..=31_536_000).contains(&max_age), "the grant's own end: {max_age}");
    session.refresh_token = value;
    tokens
}

fn refused(answer: &Answer) {
    answer.refused(400, "invalid_request");
    assert!(answer.response.header_lines("Set-Cookie").is_empty(), "{}", answer.response);
}

/// REF-03, TOK-05, TOK-07: the token goes from cookie to cookie, at both endpoints, in forms and in JSON.
async fn a_refresh_rotates_the_cookie(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    for endpoint in Endpoint::ALL {
        let before = session.refresh_token.clone();
        accepted(&call(&session, endpoint).send(&service).await, &mut session, DEFAULT);
        assert_ne!(session.refresh_token, before);
    }
    accepted(&call(&session, Endpoint::Refresh).json().send(&service).await, &mut session, DEFAULT);
    let narrowed = call(&session, Endpoint::Refresh).json().set("scope", "accounts").send(&service).await;
    assert_eq!(accepted(&narrowed, &mut session, DEFAULT)["scope"], "accounts");
    let again = call(&session, Endpoint::Refresh).prove(&Key::es256()).send(&service).await;
    again.invalid_grant();
    assert!(again.response.header_lines("Set-Cookie").is_empty(), "a page without the key doesn't end the session either");
}

/// `{}` is enough where one client only takes the cookie from this origin.
async fn an_empty_object_is_a_whole_request(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    let empty = |session: &Session| {
        let call = Call::new(Endpoint::Refresh, &session.issuer).json().prove(&session.key);
        call.header("Cookie", format!("{DEFAULT}={}", session.refresh_token))
    };
    accepted(&empty(&session).header("Origin", ORIGIN).send(&service).await, &mut session, DEFAULT);
    accepted(&empty(&session).header("Origin", "http://localhost:3000").send(&service).await, &mut session, DEFAULT);
    refused(&empty(&session).header("Origin", "https://nobody.example.test").send(&service).await);
    refused(&empty(&session).send(&service).await);

    let bare = Call::new(Endpoint::Refresh, &session.issuer).json().prove(&session.key);
    refused(&bare.clone().header("Origin", ORIGIN).send(&service).await);
    refused(&bare.clone().send(&service).await);
    refused(&bare.header("Origin", ORIGIN).header("Cookie", format!("other={}", session.refresh_token)).send(&service).await);

    let both = format!("{DEFAULT}={}; __Host-named=kbr_x", session.refresh_token);
    let untold = Call::new(Endpoint::Refresh, &session.issuer).json().prove(&session.key).header("Origin", ORIGIN).header("Cookie", both);
    refused(&untold.clone().send(&service).await);
    accepted(&untold.set("client_id", "page").send(&service).await, &mut session, DEFAULT);
}

/// The page must say where it comes from, once, and be one of the client's own. Nothing is used up before it does.
async fn only_pages_of_the_client_use_its_cookie(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    for endpoint in Endpoint::ALL {
        let good = call(&session, endpoint);
        let from = |origin: &str| good.clone().without_header("Origin").header("Origin", origin);
        for origin in [OTHER_ORIGIN, "null", "https://app.example.test/", "https://app.example.test:443", "http://app.example.test", ""] {
            refused(&from(origin).send(&service).await);
        }
        refused(&good.clone().without_header("Origin").send(&service).await);
        refused(&good.clone().header("Origin", ORIGIN).send(&service).await);
        accepted(&good.send(&service).await, &mut session, DEFAULT);
    }
}

/// A page of one client can't use the cookie of another, though both are called the same.
async fn a_cookie_is_its_own_clients(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    let as_twin = call(&session, Endpoint::Refresh).set("client_id", "twin");
    refused(&as_twin.clone().send(&service).await);
    as_twin.without_header("Origin").header("Origin", OTHER_ORIGIN).send(&service).await.invalid_grant();
    let named = call(&session, Endpoint::Refresh).set("client_id", "named");
    refused(&named.send(&service).await);
    accepted(&call(&session, Endpoint::Refresh).send(&service).await, &mut session, DEFAULT);

    let mut named = service.session("named").await;
    let good = named.refresh().without("refresh_token").header("Origin", ORIGIN);
    let good = good.header("Cookie", format!("{DEFAULT}=kbr_x; __Host-named={}", named.refresh_token));
    accepted(&good.send(&service).await, &mut named, "__Host-named");
}

/// REV-01, REV-03: logging out revokes what is in the cookie and takes the cookie away; other pages can't.
async fn logging_out_clears_the_cookie(store: Store) {
    let service = start(store).await;
    let session = service.session("page").await;
    let logout = |origin: &str| {
        let request = Request::new("POST", "/oauth/revoke").header("Origin", origin);
        request.header("Cookie", format!("{DEFAULT}={}", session.refresh_token)).form(&[("client_id", "page")])
    };
    for origin in [OTHER_ORIGIN, "null"] {
        let answer = service.send(&logout(origin)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{answer}");
        assert!(answer.header_lines("Set-Cookie").is_empty(), "{answer}");
    }
    let answer = service.send(&logout(ORIGIN)).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header_lines("Access-Control-Allow-Credentials"), ["true"], "{answer}");
    let (name, value, attributes) = set_cookie(&answer);
    assert_eq!((name.as_str(), value.as_str()), (DEFAULT, ""));
    for attribute in ["Max-Age=0", "Path=/", "Secure", "HttpOnly"] {
        assert!(attributes.iter().any(|one| one == attribute), "{attribute}: {attributes:?}");
    }
    call(&session, Endpoint::Refresh).send(&service).await.invalid_grant();

    // A token in the body needs no page: whoever found it may put it out of use.
    let found = service.session("page").await;
    let revoke = Request::new("POST", "/oauth/revoke").form(&[("client_id", "page"), ("token", found.refresh_token.as_str())]);
    assert_eq!(service.send(&revoke).await.status, 200);
    call(&found, Endpoint::Refresh).send(&service).await.invalid_grant();
    let nothing = Request::new("POST", "/oauth/revoke").header("Origin", ORIGIN).form(&[("client_id", "page")]);
    assert_eq!(service.send(&nothing).await.status, 400);
}

/// Two cookies of one name: one of them is somebody else's.
async fn a_doubled_cookie_is_refused(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    let good = call(&session, Endpoint::Refresh);
    refused(&good.clone().header("Cookie", format!("{DEFAULT}=kbr_x")).send(&service).await);
    refused(&good.clone().without_header("Cookie").header("Cookie", format!("{DEFAULT}=")).send(&service).await);
    accepted(&good.send(&service).await, &mut session, DEFAULT);
}

/// A token in the body, as a login application may hand it over, moves into the cookie; it never comes back in a body.
async fn a_token_in_the_body_moves_into_the_cookie(store: Store) {
    let service = start(store).await;
    let mut session = service.session("page").await;
    refused(&session.refresh().send(&service).await);
    let answer = session.refresh().header("Origin", ORIGIN).send(&service).await;
    accepted(&answer, &mut session, DEFAULT);
    accepted(&call(&session, Endpoint::Refresh).send(&service).await, &mut session, DEFAULT);
}

/// Clients whose tokens travel in bodies have nothing to do with cookies.
async fn other_clients_ignore_cookies(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let in_cookie = session.refresh().without("refresh_token").header("Origin", ORIGIN);
    refused(&in_cookie.header("Cookie", format!("{DEFAULT}={}", session.refresh_token)).send(&service).await);
    let good = session.refresh().header("Origin", ORIGIN).header("Cookie", format!("{DEFAULT}=kbr_x")).send(&service).await;
    assert!(good.tokens()["refresh_token"].is_string());
    assert!(good.response.header_lines("Set-Cookie").is_empty());
}

/// BCP-12: credentials for registered origins at the endpoints that take the cookie; `*` for all others, and never both.
async fn credentials_are_for_registered_origins(store: Store) {
    let service = start(store).await;
    let preflight = async |path: &str, origin: &str| {
        let request = Request::new("OPTIONS", path).header("Origin", origin).header("Access-Control-Request-Method", "POST");
        service.send(&request.header("Access-Control-Request-Headers", "dpop,content-type")).await
    };
    let granted = |answer: &Response, origin: &str| {
        assert_eq!(answer.header_lines("Access-Control-Allow-Origin"), [origin], "{answer}");
        assert_eq!(answer.header_lines("Access-Control-Allow-Credentials"), ["true"], "{answer}");
        assert!(answer.header_lines("Vary").join(",").to_lowercase().contains("origin"), "{answer}");
    };
    let open = |answer: &Response| {
        assert_eq!(answer.header_lines("Access-Control-Allow-Origin"), ["*"], "{answer}");
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None, "{answer}");
    };
    for endpoint in Endpoint::ALL {
        for origin in [ORIGIN, OTHER_ORIGIN, "http://localhost:3000"] {
            let answer = preflight(endpoint.path(), origin).await;
            assert!(matches!(answer.status, 200 | 204), "{answer}");
            granted(&answer, origin);
        }
        for origin in ["https://nobody.example.test", "null", "https://app.example.test.evil.test", "http://app.example.test"] {
            let answer = preflight(endpoint.path(), origin).await;
            open(&answer);
            assert!(answer.header_lines("Vary").join(",").to_lowercase().contains("origin"), "{answer}");
        }
    }
    for path in ["/oauth/jwks", "/oauth/nonce", "/.well-known/oauth-authorization-server"] {
        open(&service.send(&Request::new("GET", path).header("Origin", ORIGIN)).await);
    }
    // Answers too, and refusals as well.
    let session = service.session("page").await;
    granted(&call(&session, Endpoint::Refresh).send(&service).await.response, ORIGIN);
    granted(&call(&session, Endpoint::Refresh).without_proof().send(&service).await.response, ORIGIN);
    let elsewhere = call(&session, Endpoint::Refresh).without_header("Origin").header("Origin", "https://nobody.example.test");
    open(&elsewhere.send(&service).await.response);
}

/// A client that is registered at run time, changed and deleted.
async fn a_registration_at_run_time_counts_at_once(store: Store) {
    let service = start(store).await;
    let origin = "https://late.example.test";
    let credentials = async || {
        let request = Request::new("OPTIONS", "/oauth/refresh").header("Origin", origin).header("Access-Control-Request-Method", "POST");
        service.send(&request).await.header("Access-Control-Allow-Credentials").is_some()
    };
    assert!(!credentials().await);
    let mut registration = page("late", &[origin]);
    let made = service.manage("POST", "/admin/clients", Some(registration.clone())).await;
    assert_eq!(made.status, 201, "{made}");
    assert!(credentials().await);
    let mut session = service.session("late").await;
    let good = call(&session, Endpoint::Refresh).without_header("Origin").header("Origin", origin);
    accepted(&good.send(&service).await, &mut session, DEFAULT);

    registration["allowed_origins"] = json!(["https://later.example.test"]);
    assert_eq!(service.manage("PUT", "/admin/clients/late", Some(registration)).await.status, 200);
    assert!(!credentials().await);
    refused(&call(&session, Endpoint::Refresh).without_header("Origin").header("Origin", origin).send(&service).await);
    assert_eq!(service.manage("DELETE", "/admin/clients/late", None).await.status, 204);
    let listed = service.manage("GET", "/admin/clients", None).await.json();
    assert!(!listed.to_string().contains("late"), "{listed}");

    for (name, value) in [
        ("allowed_origins", json!([])),
        ("allowed_origins", json!(["*"])),
        ("allowed_origins", json!(["https://app.example.test/"])),
        ("refresh_token_cookie", json!("a b")),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
    ] {
        let mut bad = page("bad", &[ORIGIN]);
        bad[name] = value;
        let refused = service.manage("POST", "/admin/clients", Some(bad)).await;
        assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_client_metadata")), "{refused}");
    }
}

/// The exchange of a code sets the cookie, for pages of the client's own origins only; refused, the code stays good.
async fn a_code_sets_the_cookie(store: Store) {
    let mut client = page("code-page", &[ORIGIN]);
    client["grant_types"] = json!(["authorization_code", "refresh_token"]);
    client["redirect_uris"] = json!([REDIRECT_URI]);
    let service = start_with(store, Settings::default().with("interaction.url", LOGIN_URL).client(client)).await;
    let flow = CodeFlow::new(service.issuer(), Client { id: "code-page".to_owned(), login: ClientLogin::Public });
    let code = flow.code(&service).await;
    refused(&flow.redeem(&code).send(&service).await);
    refused(&flow.redeem(&code).header("Origin", OTHER_ORIGIN).send(&service).await);
    let answer = flow.redeem(&code).header("Origin", ORIGIN).send(&service).await;
    let mut session = Session {
        client: flow.client.clone(),
        key: flow.key.clone(),
        issuer: service.issuer().to_owned(),
        refresh_token: String::new(),
        grant_id: String::new(),
    };
    accepted(&answer, &mut session, DEFAULT);
    accepted(&call(&session, Endpoint::Refresh).send(&service).await, &mut session, DEFAULT);
}

both_stores!(
    a_code_sets_the_cookie,
    a_refresh_rotates_the_cookie,
    an_empty_object_is_a_whole_request,
    only_pages_of_the_client_use_its_cookie,
    a_cookie_is_its_own_clients,
    a_doubled_cookie_is_refused,
    logging_out_clears_the_cookie,
    a_token_in_the_body_moves_into_the_cookie,
    other_clients_ignore_cookies,
    credentials_are_for_registered_origins,
    a_registration_at_run_time_counts_at_once,
);
