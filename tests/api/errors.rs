//! The shape of errors, the pages they point at, and HTTP that is none.

use keybound_testkit::{Connection, Endpoint, Request, Settings, Store, both_stores};

use crate::{start, start_with};

/// TEP-12: `error_uri` leads somewhere, for every code.
async fn every_code_has_a_page(store: Store) {
    let service = start(store).await;
    for code in [
        "invalid_request",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "invalid_scope",
        "invalid_authorization_details",
        "invalid_target",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_response_type",
        "invalid_request_uri",
        "invalid_request_object",
        "login_required",
        "access_denied",
        "invalid_grant",
        "invalid_client",
        "temporarily_unavailable",
    ] {
        let answer = service.get(&format!("/errors/{code}")).await;
        assert_eq!(answer.status, 200, "{code}: {answer}");
        assert!(answer.text().contains(code), "the page of {code} names it");
    }
    for unknown in ["unheard_of", "", "%3Cscript%3E", "..%2f..%2fetc%2fpasswd", "invalid_grant/x"] {
        let answer = service.get(&format!("/errors/{unknown}")).await;
        assert_eq!(answer.status, 404, "{unknown}: {answer}");
        assert!(!answer.text().contains("<script>"), "{answer}");
    }
}

/// TEP-12: an unknown path is no token answer, and says nothing about the inside.
async fn an_unknown_path_is_not_found(store: Store) {
    let service = start(store).await;
    for path in ["/", "/oauth", "/oauth/refresh/", "/oauth//refresh", "/oauth/unheard_of", "/admin/grants", "/readyz", "/metrics"] {
        assert_eq!(service.get(path).await.status, 404, "{path}");
    }
}

/// SEC-05, TEP-12: what is not HTTP, or too much of it, is refused and the service lives on.
async fn malformed_http_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for bytes in [
        &b"garbage\r\n\r\n"[..],
        b"POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n",
        b"POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nDPoP : a\r\n\r\n",
        b"POST /oauth/refresh HTTP/9.9\r\nHost: x\r\n\r\n",
    ] {
        if let Ok(answer) = Connection::new(service.public).send_raw(bytes).await {
            assert!((400..=505).contains(&answer.status), "{answer}");
        }
        session.refresh().send(&service).await.tokens();
    }
    let long = Request::new("GET", "/oauth/jwks").header("X-Long", "x".repeat(300_000));
    if let Ok(answer) = Connection::new(service.public).send(&long).await {
        assert!((400..500).contains(&answer.status), "{answer}");
    }
    session.refresh().send(&service).await.tokens();
}

/// TEP-02, TEP-03: bodies in odd wrapping are read like any other, or refused.
async fn a_chunked_body_is_the_same_request(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let proof = session.proof(Endpoint::Refresh).sign(&session.key);
    let body = keybound_testkit::http::form(&[("client_id", "spa"), ("refresh_token", session.refresh_token.as_str())]);
    let request = format!(
        "POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nDPoP: {proof}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &body[..5],
        body.len() - 5,
        &body[5..]
    );
    let answer = Connection::new(service.public).send_raw(request.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");
    let large = format!(
        "POST /oauth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{}\r\n0\r\n\r\n",
        20_000,
        "x".repeat(20_000)
    );
    let answer = Connection::new(service.public).send_raw(large.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 413, "{answer}");
}

/// JOSE-19, SEC-05: neither secret, token, proof nor jti reaches the log (A2), whatever is refused.
async fn nothing_secret_is_logged(store: Store) {
    let mut service = start_with(store, Settings::default().with("log.level", "debug")).await;
    let mut secrets = vec![keybound_testkit::service::SECRET.to_owned(), keybound_testkit::service::MANAGEMENT_TOKEN.to_owned()];
    for client in ["spa", "web", "poster", "signer"] {
        let mut session = service.session(client).await;
        let proof = session.proof(Endpoint::Refresh);
        let signed = proof.sign(&session.key);
        secrets.extend([session.refresh_token.clone(), proof.jti(), signed.clone()]);
        let call = session.refresh().proof(&signed);
        let tokens = call.send(&service).await.tokens();
        call.login(&session.client).send(&service).await.invalid_proof();
        secrets.push(tokens["access_token"].as_str().expect("text").to_owned());
        session.keep(&tokens);
        secrets.push(session.refresh_token.clone());
        session.refresh().set("scope", "admin").send(&service).await.refused(400, "invalid_scope");
        session.refresh().prove_with_nonce(&session.key, "stale").send(&service).await.nonce_challenge();
        session.refresh().set("refresh_token", "kbr_wrong-refresh-token").send(&service).await.invalid_grant();
        secrets.push("kbr_wrong-refresh-token".to_owned());
    }
    // Everything has been written when it has stopped.
    assert!(service.stop().await);
    let log = service.log();
    assert!(log.contains("refresh_rotated"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

both_stores!(
    every_code_has_a_page,
    an_unknown_path_is_not_found,
    malformed_http_is_refused,
    a_chunked_body_is_the_same_request,
    nothing_secret_is_logged,
);
