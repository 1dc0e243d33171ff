//! Browsers on other origins (Fetch standard, RFC 9449 section 8, RFC 9700 section 2.6).

use keybound_testkit::{Endpoint, Request, Response, Store, both_stores};

use crate::start;

const ORIGIN: &str = "https://app.example.test";

fn listed(answer: &Response, header: &str, wanted: &str) -> bool {
    answer.header_lines(header).join(",").split(',').any(|name| name.trim().eq_ignore_ascii_case(wanted))
}

fn allowed(answer: &Response) -> bool {
    answer.header("Access-Control-Allow-Origin").is_some_and(|origin| origin == "*" || origin == ORIGIN)
}

/// BCP-12
async fn a_preflight_is_answered_without_credentials(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        let preflight = Request::new("OPTIONS", endpoint.path()).header("Origin", ORIGIN).header("Access-Control-Request-Method", "POST");
        let answer = service.send(&preflight.header("Access-Control-Request-Headers", "dpop, authorization, content-type")).await;
        assert!(matches!(answer.status, 200 | 204), "{answer}");
        assert!(allowed(&answer), "{answer}");
        for name in ["DPoP", "Authorization", "Content-Type"] {
            assert!(listed(&answer, "Access-Control-Allow-Headers", name), "{name}: {answer}");
        }
        assert!(listed(&answer, "Access-Control-Allow-Methods", "POST"), "{answer}");
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None, "no client has cookies");
    }
}

/// BCP-12, TEP-11: a page can read the nonce and the challenge, of successes and of refusals.
async fn answers_show_their_headers_to_pages(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let good = session.refresh().header("Origin", ORIGIN).send(&service).await;
    good.tokens();
    let bad = session.refresh().set("refresh_token", "kbr_x").header("Origin", ORIGIN).send(&service).await;
    bad.invalid_grant();
    let unproven = session.refresh().without_proof().header("Origin", ORIGIN).send(&service).await;
    unproven.invalid_proof();
    let challenged = session.refresh().prove_with_nonce(&session.key, "stale").header("Origin", ORIGIN).send(&service).await;
    challenged.nonce_challenge();
    for answer in [good.response, bad.response, unproven.response, challenged.response] {
        assert!(allowed(&answer), "{answer}");
        for name in ["DPoP-Nonce", "WWW-Authenticate"] {
            assert!(listed(&answer, "Access-Control-Expose-Headers", name), "{name}: {answer}");
        }
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
    }
}

/// BCP-12: documents, keys and nonces are for every page.
async fn documents_are_for_every_page(store: Store) {
    let service = start(store).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth/jwks", "/oauth/nonce"] {
        let answer = service.send(&Request::new("GET", path).header("Origin", ORIGIN)).await;
        assert!(allowed(&answer), "{path}: {answer}");
    }
}

/// BCP-12: never at the authorization endpoint.
async fn the_authorization_endpoint_allows_no_origin(store: Store) {
    let service = start(store).await;
    for method in ["GET", "OPTIONS"] {
        let request = Request::new(method, "/oauth/authorize").header("Origin", ORIGIN).header("Access-Control-Request-Method", "GET");
        assert_eq!(service.send(&request).await.header("Access-Control-Allow-Origin"), None);
    }
}

both_stores!(
    a_preflight_is_answered_without_credentials,
    answers_show_their_headers_to_pages,
    documents_are_for_every_page,
    the_authorization_endpoint_allows_no_origin,
);
