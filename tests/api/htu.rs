//! `htu` against the configured URL of the endpoint (RFC 9449 section 4.3, RFC 3986 sections 6.2.2 and 6.2.3).

use keybound_testkit::{Endpoint, Settings, Store, both_stores};

use crate::{Bench, start_with};

/// HTU-01, HTU-02, HTU-03, HTU-04, HTU-05, HTU-06, HTU-07, HTU-11, DPOP-4.3-09
async fn htu_is_compared_after_normalisation_and_not_more(store: Store) {
    let bench = Bench::new(store).await;
    for htu in [
        "https://as.example.test/oauth/refresh",
        "HTTPS://AS.EXAMPLE.TEST/oauth/refresh",
        "https://as.example.test:443/oauth/refresh",
        "https://as.example.test:/oauth/refresh",
        "https://as.example.test/oauth/%72efresh",
        "https://as.example.test/%6F%61uth/refresh",
        "https://as.example.test/./oauth/refresh",
        "https://as.example.test/x/../oauth/refresh",
        "https://as.example.test/x/%2e%2E/oauth/refresh",
        "https://as.example.test/../oauth/refresh",
        "https://as.example.test/oauth/refresh?a=b",
        "https://as.example.test/oauth/refresh#c",
        "https://as.example.test/oauth/refresh?a=b#c",
        "https://as.example.test/oauth/refresh?",
    ] {
        bench.accepts_signed(htu, &bench.proof().claim("htu", htu)).await;
    }
    for htu in [
        "https://as.example.test/oauth/token",
        "https://as.example.test/oauth/Refresh",
        "https://as.example.test/OAUTH/refresh",
        "https://as.example.test/oauth/refresh/",
        "https://as.example.test/oauth//refresh",
        "https://as.example.test//oauth/refresh",
        "https://as.example.test/oauth/refresh;v=1",
        "https://as.example.test/oauth/refresh%20",
        "https://as.example.test/oauth/refresh+",
        "https://as.example.test/oauth%2Frefresh",
        "https://as.example.test/oauth%2frefresh",
        "https://as.example.test/oauth/refresh%00",
        "https://as.example.test/oauth/refresh%3Fa=b",
        "https://as.example.test/oauth/%2572efresh",
        "https://as.example.test/oauth/refres",
        "https://as.example.test/oauth",
        "https://as.example.test/",
        "https://as.example.test",
        "http://as.example.test/oauth/refresh",
        "http://as.example.test:443/oauth/refresh",
        "https://as.example.test:80/oauth/refresh",
        "https://as.example.test:8443/oauth/refresh",
        "https://as.example.test:99999/oauth/refresh",
        "https://as.example.test.evil.test/oauth/refresh",
        "https://evil.test/oauth/refresh",
        "https://as.example.test./oauth/refresh",
        "https://as.example.test@evil.test/oauth/refresh",
        "https://user@as.example.test/oauth/refresh",
        "https://user:pass@as.example.test/oauth/refresh",
        "https://evil.test/as.example.test/oauth/refresh",
        "https:/as.example.test/oauth/refresh",
        "https:as.example.test/oauth/refresh",
        "https:///as.example.test/oauth/refresh",
        "//as.example.test/oauth/refresh",
        "/oauth/refresh",
        "oauth/refresh",
        "as.example.test/oauth/refresh",
        "https:\\\\as.example.test\\oauth\\refresh",
        "https://as.example.test\\oauth\\refresh",
        "https://as.example.test/oauth/ref\tresh",
        "https://as.example.test/oauth/refresh\n",
        " https://as.example.test/oauth/refresh",
        "https://as.example.test/oauth/refresh ",
        "https://as.example.test/oauth/r%E9fresh",
        "https://as.example.test/oauth/réfresh",
        "https://äs.example.test/oauth/refresh",
        "https://as.example.test/oauth/refresh%",
        "https://as.example.test/oauth/refresh%4",
        "https://as.example.test/oauth/refresh%zz",
        "https://[::1]/oauth/refresh",
        "https://127.0.0.1/oauth/refresh",
        "urn:as.example.test:oauth:refresh",
        "javascript:alert(1)",
        "*",
    ] {
        bench.refuses_signed(htu, &bench.proof().claim("htu", htu)).await;
    }
    bench.still_works().await;
}

/// HTU-08, HTU-09, HTU-12
async fn the_expected_url_is_configured_and_never_taken_from_headers(store: Store) {
    let bench = Bench::new(store).await;
    let spoofed = |header: &str, value: &str, htu: &str| {
        let proof = bench.sign(&bench.proof().claim("htu", htu));
        bench.session.refresh().proof(proof).header(header, value)
    };
    let here = format!("http://{}/oauth/refresh", bench.service.public);
    bench.refuses_signed("the socket's address", &bench.proof().claim("htu", here)).await;
    for (header, value) in [
        ("Host", "evil.test"),
        ("X-Forwarded-Host", "evil.test"),
        ("Forwarded", "host=evil.test;proto=https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Original-URL", "https://evil.test/oauth/refresh"),
    ] {
        spoofed(header, value, "https://evil.test/oauth/refresh").send(&bench.service).await.invalid_proof();
        spoofed(header, value, "https://as.example.test/oauth/refresh").send(&bench.service).await.tokens();
    }
    spoofed("X-HTTP-Method-Override", "GET", "https://as.example.test/oauth/refresh").send(&bench.service).await.tokens();
}

/// HTU-05, HTU-08, MD-01: an issuer with a port and a path.
async fn the_issuer_may_have_a_port_and_a_path(store: Store) {
    let service = start_with(store, Settings::default().with("issuer", "https://as.example.test:8443/tenant")).await;
    let session = service.session("spa").await;
    for htu in ["https://as.example.test:8443/oauth/refresh", "https://as.example.test/tenant/oauth/refresh"] {
        let proof = session.proof(Endpoint::Refresh).claim("htu", htu).sign(&session.key);
        session.refresh().proof(proof).send(&service).await.invalid_proof();
    }
    session.refresh().send(&service).await.tokens();
}

both_stores!(
    htu_is_compared_after_normalisation_and_not_more,
    the_expected_url_is_configured_and_never_taken_from_headers,
    the_issuer_may_have_a_port_and_a_path,
);
