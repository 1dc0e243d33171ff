//! Each dialect reads its own headers, and nothing that a client could slip in beside them.

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use keybound_testkit::http::{Connection, Request};
use keybound_testkit::{Dialect, Judged, Key, Service, Settings, Store, Verify, both_stores, verify};
use serde_json::{Value, json};

use crate::access::text;
use crate::verify::{Caller, URL};
use crate::{start, start_with};

/// How often a gateway was found misconfigured so far.
async fn misconfigured(service: &Service) -> usize {
    let metrics = service.manage("GET", "/metrics", None).await.text();
    let line = metrics.lines().find(|line| line.contains("reason=\"gateway_misconfigured\""));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().expect("a count"))
}

/// HTU-08, HTU-12: the headers of another dialect, and of none, mean nothing.
async fn headers_that_a_client_slips_in_mean_nothing(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let elsewhere = "https://api.example.test/payments/1";
    let spoofs = [
        ("X-Original-Method", "POST"),
        ("X-Original-URL", elsewhere),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Uri", "/payments/1"),
    ];
    let others = [
        ("Forwarded", "host=evil.test;proto=http"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Port", "80"),
        ("X-Forwarded-Prefix", "/payments"),
        ("X-Rewrite-URL", "/payments/1"),
        ("X-HTTP-Method-Override", "POST"),
        ("X-DPoP-Subject", "root"),
        ("X-DPoP-Jkt", "x"),
        ("X-Envoy-Original-Path", "/payments/1"),
    ];
    for dialect in Dialect::HTTP {
        let own = match dialect {
            Dialect::Nginx => "X-Original",
            Dialect::Forwarded => "X-Forwarded",
            _ => "none",
        };
        let mut call = caller.call();
        for (name, value) in spoofs.iter().filter(|(name, _)| !name.starts_with(own)).chain(&others) {
            call = call.header(name, value);
        }
        let judged = call.ask(dialect, &service).await.passes();
        assert_eq!(judged.upstream["x-dpop-subject"], "alice");
        // The proof is for what the headers of the dialect say, not for what was slipped in.
        let crossed = Verify::new("GET", URL).token(&caller.token);
        let mut crossed = crossed.proof(Verify::proof_for("POST", elsewhere, &caller.token, &caller.key).sign(&caller.key));
        for (name, value) in spoofs.iter().filter(|(name, _)| !name.starts_with(own)) {
            crossed = crossed.header(name, value);
        }
        crossed.ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
    }
    assert_eq!(misconfigured(&service).await, 0);
}

/// HTU-08: the scheme that a gateway reports is the client's to choose; the registered URL decides.
async fn the_reported_scheme_decides_nothing(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    for proto in ["http", "https", "HTTP", "ws"] {
        let request = Request::new("GET", "/verify/forwarded").header("X-Forwarded-Method", "GET").header("X-Forwarded-Proto", proto);
        let request = request.header("X-Forwarded-Host", "api.example.test").header("X-Forwarded-Uri", "/accounts/1");
        let ask = async |htu: &str| {
            let proof = caller.proof().claim("htu", htu).sign(&caller.key);
            let request = request.clone().header("Authorization", format!("DPoP {}", caller.token)).header("DPoP", proof);
            Judged::of_status(&service.ask_gateway(&request).await)
        };
        ask(URL).await.passes();
        ask("http://api.example.test/accounts/1").await.refused(401, "invalid_dpop_proof");
    }
    let plain = "http://api.example.test/accounts/1";
    for dialect in Dialect::ALL {
        Verify::new("GET", plain).token(&caller.token).proof(caller.proof().sign(&caller.key)).ask(dialect, &service).await.passes();
    }
}

/// HTU-07, HTU-08: a gateway that asks in a way that can't be answered is refused and counted.
async fn a_misconfigured_gateway_is_refused_and_counted(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let nginx = |headers: &[(&str, &str)]| {
        (("/verify/nginx", "GET"), headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
    };
    let (method, url) = (("X-Original-Method", "GET"), ("X-Original-URL", URL));
    let mut questions = vec![
        nginx(&[]),
        nginx(&[method]),
        nginx(&[url]),
        nginx(&[method, url, method]),
        nginx(&[method, url, url]),
        nginx(&[method, url, ("x-original-url", "https://other.test/")]),
        nginx(&[method, ("X-Original-URL", "/accounts/1")]),
        nginx(&[method, ("X-Original-URL", "//api.example.test/accounts/1")]),
        nginx(&[method, ("X-Original-URL", "")]),
        nginx(&[method, ("X-Original-URL", "https:///accounts/1")]),
        nginx(&[method, ("X-Original-URL", "https://alice@api.example.test/accounts/1")]),
        nginx(&[method, ("X-Original-URL", "https://api.example.test:x/accounts/1")]),
        nginx(&[method, ("X-Original-URL", "ftp://api.example.test/accounts/1")]),
        nginx(&[("X-Original-Method", ""), url]),
        nginx(&[("X-Original-Method", "GET POST"), url]),
        nginx(&[("X-Original-Method", "GET, GET"), url]),
    ];
    let forwarded = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "api.example.test"),
        ("X-Forwarded-Uri", "/accounts/1"),
    ];
    let edited = |index: usize, values: &[&str]| {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (position, (name, value)) in forwarded.iter().enumerate() {
            if position == index {
                headers.extend(values.iter().map(|value| ((*name).to_owned(), (*value).to_owned())));
            } else {
                headers.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        (("/verify/forwarded", "GET"), headers)
    };
    for (index, values) in [
        (0, vec![]),
        (0, vec!["GET", "GET"]),
        (0, vec!["G(T"]),
        (1, vec![]),
        (1, vec!["https", "http"]),
        (1, vec!["https,http"]),
        (1, vec!["gopher"]),
        (2, vec![]),
        (2, vec![""]),
        (2, vec!["api.example.test", "evil.test"]),
        (2, vec!["api.example.test, evil.test"]),
        (2, vec!["alice@api.example.test"]),
        (2, vec!["api.example.test/accounts?"]),
        (2, vec!["evil.test#"]),
        (3, vec![]),
        (3, vec![""]),
        (3, vec!["accounts/1"]),
        (3, vec!["*"]),
        (3, vec!["https://api.example.test/accounts/1"]),
        (3, vec!["/accounts/1", "/accounts/1"]),
        (3, vec!["/accounts/%zz"]),
    ] {
        questions.push(edited(index, &values));
    }
    questions.push((("/verify/envoy/accounts/1", "GET"), vec![("Host".into(), "alice@api.example.test".into())]));
    questions.push((("/verify/envoy/accounts/1", "GET"), vec![("Host".into(), "api.example.test/x".into())]));
    questions.push((("http://api.example.test/verify/envoy/accounts/1", "GET"), vec![("Host".into(), "api.example.test".into())]));
    for (count, ((path, method), headers)) in questions.iter().enumerate() {
        let mut request = Request::new(method, path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("Authorization", format!("DPoP {}", caller.token)).header("DPoP", caller.proof().sign(&caller.key));
        let judged = Judged::of_status(&service.ask_gateway(&request).await).refused(403, "gateway_misconfigured");
        assert!(judged.challenge.is_some_and(|line| !line.contains("error=")));
        assert_eq!(misconfigured(&service).await, count + 1, "{path} {headers:?}");
    }
    let mut twice = Request::new("GET", "/verify/envoy/accounts/1").header("Host", "api.example.test").header("Host", "evil.test");
    twice = twice.header("Authorization", format!("DPoP {}", caller.token)).header("DPoP", caller.proof().sign(&caller.key));
    assert!([400, 403].contains(&service.ask_gateway(&twice).await.status));
    // Each problem is an event, though not each time.
    let events = service.manage("GET", "/admin/events", None).await.json();
    let told = |dialect: &str, problem: &str| {
        let events = events["events"].as_array().expect("events").iter();
        events.filter(|one| one["event"] == "gateway_misconfigured" && one["dialect"] == dialect && one["problem"] == problem).count()
    };
    for (dialect, problem) in [
        ("nginx", "X-Original-URL is not there once"),
        ("nginx", "the URL is malformed"),
        ("forwarded", "X-Forwarded-Proto is not there once"),
        ("envoy", "Host is not there once"),
    ] {
        assert!((1..=3).contains(&told(dialect, problem)), "{dialect} {problem}: {events}");
    }
    let before = misconfigured(&service).await;
    let mut without = caller.call().check_request(false);
    without.attributes.as_mut().expect("attributes").request = None;
    let mut no_host = caller.call().check_request(true);
    let http = |request: &mut CheckRequest| request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.take().unwrap();
    let mut blank = http(&mut no_host);
    blank.host.clear();
    no_host.attributes.as_mut().unwrap().request.as_mut().unwrap().http = Some(blank);
    for question in [CheckRequest::default(), without, no_host] {
        Judged::of_check(&verify::check(&service, question, &[]).await).refused(403, "gateway_misconfigured");
    }
    assert_eq!(misconfigured(&service).await, before + 3);
    for dialect in Dialect::ALL {
        caller.call().ask(dialect, &service).await.passes();
    }
    assert_eq!(misconfigured(&service).await, before + 3);
}

/// Identity headers are one line each, whatever the names are made of, and always all five.
async fn whatever_a_name_is_made_of_it_is_one_header(store: Store) {
    let service = start(store).await;
    for (sub, header) in
        [("zoë", "zo%C3%AB"), ("a b", "a%20b"), ("x\r\nX-DPoP-Subject: root", "x%0D%0AX-DPoP-Subject:%20root"), ("50%25", "50%2525")]
    {
        let session = service.session_with("spa", Key::es256(), json!({"sub": sub})).await;
        let token = text(&session.refresh().send(&service).await.tokens(), "access_token");
        for dialect in Dialect::ALL {
            let judged = Verify::good("GET", URL, &token, &session.key).ask(dialect, &service).await.passes();
            let expected = if dialect == Dialect::Json { sub } else { header };
            assert_eq!(judged.upstream["x-dpop-subject"], expected, "{dialect:?}");
        }
    }
    // A token without a scope has an empty header, not none.
    let resource = json!([{"id": "open", "url": "https://api.example.test", "audience": "urn:open"}]);
    let service = start_with(store, Settings::default().with("resource", resource).with("tokens.default_audience", "urn:open")).await;
    let key = Key::es256();
    let session = service.session_with("spa", key.clone(), json!({"scope": ""})).await;
    let token = text(&session.refresh().send(&service).await.response.json(), "access_token");
    for dialect in Dialect::ALL {
        let judged = Verify::good("GET", URL, &token, &key).ask(dialect, &service).await.passes();
        assert_eq!(judged.upstream["x-dpop-scope"], "", "{dialect:?}");
    }
}

/// The proof is taken off the call unless the service behind wants what the client sent.
async fn envoy_takes_the_proof_off_the_call(store: Store) {
    let resource = |id: &str, upstream: &str| json!({"id": id, "url": format!("https://{id}.example.test"), "audience": "urn:api", "scopes": [id], "upstream_authorization": upstream});
    let service =
        start_with(store, Settings::default().with("resource", json!([resource("accounts", "keep"), resource("payments", "bearer")])))
            .await;
    let caller = Caller::new(&service).await;
    for (url, removed) in [("https://accounts.example.test/", vec![]), ("https://payments.example.test/", vec!["dpop"])] {
        let call = Verify::good("GET", url, &caller.token, &caller.key);
        let answer = verify::check(&service, call.check_request(false), &[]).await;
        let Some(HttpResponse::OkResponse(ok)) = answer.http_response else { panic!("{answer:?}") };
        assert_eq!(ok.headers_to_remove, removed);
    }
}

/// A question may be asked over HTTP/1.0, with a body that nobody reads, and with any method.
async fn any_way_of_asking_will_do(store: Store) {
    let service = start(store).await;
    let caller = Caller::new(&service).await;
    let credentials = || format!("Authorization: DPoP {}\r\nDPoP: {}\r\n", caller.token, caller.proof().sign(&caller.key));
    for (method, body) in [("GET", ""), ("POST", "{\"not\":\"read\"}"), ("DELETE", ""), ("PROPFIND", "x")] {
        let raw = format!(
            "{method} /verify/nginx HTTP/1.0\r\nConnection: keep-alive\r\nX-Original-Method: GET\r\nX-Original-URL: {URL}\r\nContent-Length: {}\r\n{}\r\n{body}",
            body.len(),
            credentials()
        );
        let answer = Connection::new(service.gateway).send_raw(raw.as_bytes()).await.expect("an answer");
        Judged::of_status(&answer).passes();
    }
    for method in ["HEAD", "POST", "PATCH", "OPTIONS", "QUERY"] {
        Verify::good(method, URL, &caller.token, &caller.key).ask(Dialect::Envoy, &service).await.passes();
    }
    let queries = "https://api.example.test/accounts/1?a=\\b|c{d}&e=%zz&f=/../";
    for dialect in [Dialect::Json, Dialect::Nginx, Dialect::Forwarded, Dialect::Grpc] {
        Verify::new("GET", queries).token(&caller.token).proof(caller.proof().sign(&caller.key)).ask(dialect, &service).await.passes();
    }
}

/// A2: nothing that the gateway listener writes down holds a token or a proof.
async fn no_token_and_no_proof_is_written_down(store: Store) {
    let service = start_with(store, Settings::default().with("log", json!({"level": "trace"}))).await;
    let caller = Caller::new(&service).await;
    let proof = caller.proof();
    for dialect in Dialect::ALL {
        let call = caller.call_with(&proof);
        call.ask(dialect, &service).await;
        call.member("explain", true).ask(dialect, &service).await;
    }
    let events: Value = service.manage("GET", "/admin/events", None).await.json();
    let metrics = service.manage("GET", "/metrics", None).await.text();
    for written in [service.log(), events.to_string(), metrics] {
        for secret in [caller.token.as_str(), &proof.jti(), proof.sign(&caller.key).split('.').next().expect("a header")] {
            assert!(!written.contains(secret), "{written}");
        }
    }
}

both_stores!(
    headers_that_a_client_slips_in_mean_nothing,
    the_reported_scheme_decides_nothing,
    a_misconfigured_gateway_is_refused_and_counted,
    whatever_a_name_is_made_of_it_is_one_header,
    envoy_takes_the_proof_off_the_call,
    any_way_of_asking_will_do,
    no_token_and_no_proof_is_written_down,
);
