//! Redis gone, slow, emptied.

use std::sync::Arc;
use std::time::Duration;

use keybound_testkit::redis::RedisServer;
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Answer, Client, Dialect, Endpoint, Key, Service, Session, Settings, Verify, time};

/// A service on a Redis of its own that writes every change to disk before it answers.
async fn start_on_own_redis() -> (Service, Arc<RedisServer>) {
    let redis = Arc::new(RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await);
    let service = Service::start_on(env!("CARGO_BIN_EXE_keybound"), Some(Arc::clone(&redis)), Settings::default()).await;
    (service, redis)
}

/// 503 with `Retry-After`, in about a second.
fn unavailable(answer: &Answer, took: Duration) {
    answer.refused(503, "temporarily_unavailable");
    let retry = answer.response.header("Retry-After").unwrap_or_else(|| panic!("no Retry-After: {}", answer.response));
    assert!(retry.parse::<u32>().is_ok_and(|seconds| (1..=120).contains(&seconds)), "{retry}");
    assert!(took < Duration::from_millis(2500), "the refusal took {took:?}");
}

pub(crate) async fn until_ready(service: &Service) {
    let watch = Stopwatch::start();
    while !service.ready().await {
        assert!(watch.elapsed() < Duration::from_secs(15), "never ready again:\n{}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// L1: refreshes with a current nonce, within three tries. A client that signs assertions may be asked to come again once: what it signed
/// in the very second in which the epoch began could have been used before.
async fn refresh_with_nonce(service: &Service, session: &mut Session) {
    let nonce = service.nonce().await;
    for _ in 0..2 {
        let answer = session.refresh().prove_with_nonce(&session.key, &nonce).send(service).await;
        match answer.response.header("Retry-After") {
            None => return session.keep(&answer.tokens()),
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.parse().expect("seconds"))).await,
        }
    }
    let answer = session.refresh().prove_with_nonce(&session.key, &nonce).send(service).await;
    session.keep(&answer.tokens());
}

/// SEC-08, REF-04: while Redis is gone every answer is 503, never `invalid_grant`; when it is back every family is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_costs_no_session() {
    let (service, redis) = start_on_own_redis().await;
    let mut sessions = [service.session("spa").await, service.session("web").await, service.session("signer").await];
    let captured = sessions[0].refresh();
    let tokens = captured.send(&service).await.tokens();
    sessions[0].keep(&tokens);
    redis.kill();
    for _ in 0..3 {
        for session in &sessions {
            for endpoint in Endpoint::ALL {
                for call in [session.call(endpoint), session.call(endpoint).set("scope", "accounts")] {
                    let watch = Stopwatch::start();
                    unavailable(&call.send(&service).await, watch.elapsed());
                }
            }
        }
        let watch = Stopwatch::start();
        let own = Client::known("web").credentials_call(&Key::es256(), service.issuer()).send(&service).await;
        unavailable(&own, watch.elapsed());
        let watch = Stopwatch::start();
        let replayed = captured.send(&service).await;
        unavailable(&replayed, watch.elapsed());
    }
    assert!(!service.ready().await, "not ready without its store");
    redis.restart().await;
    until_ready(&service).await;
    // Client assertions count in whole seconds, and one from the second of the change could be one that was used before it.
    let second = time::now();
    while time::now() == second {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for session in &mut sessions {
        refresh_with_nonce(&service, session).await;
    }
    assert_eq!(captured.send(&service).await.status(), 400, "a captured proof stays dead");
}

/// SEC-08: a Redis that does not answer in time is like one that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_given_up_in_time() {
    let (service, redis) = start_on_own_redis().await;
    let mut session = service.session("spa").await;
    redis.command(&["CLIENT", "PAUSE", "4000", "ALL"]).await.expect("CLIENT PAUSE");
    let watch = Stopwatch::start();
    unavailable(&session.refresh().send(&service).await, watch.elapsed());
    until_ready(&service).await;
    refresh_with_nonce(&service, &mut session).await;
}

/// SEC-03, SEC-08: a proof whose use Redis has forgotten stays dead (R5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_flushall_captured_proofs_stay_dead() {
    let (service, redis) = start_on_own_redis().await;
    let session = service.session("spa").await;
    let nonce = service.nonce().await;
    let (captured, with_nonce) = (session.refresh(), session.refresh().prove_with_nonce(&session.key, &nonce));
    captured.send(&service).await.tokens();
    with_nonce.send(&service).await.tokens();
    // A token request needs no family: only the ledger stands between its captured proof and a token.
    let own = Client::known("web").credentials_call(&Key::es256(), service.issuer());
    own.send(&service).await.tokens();
    redis.flushall().await;
    for _ in 0..20 {
        for call in [&own, &captured, &with_nonce] {
            let answer = call.send(&service).await;
            assert!(matches!(answer.status(), 400 | 401 | 503), "accepted after FLUSHALL: {}", answer.response);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The families went with the flush; what is granted now works.
    until_ready(&service).await;
    let mut fresh = service.session("spa").await;
    refresh_with_nonce(&service, &mut fresh).await;
    let key = Key::es256();
    let nonce = service.nonce().await;
    Client::known("web").credentials_call(&key, service.issuer()).prove_with_nonce(&key, &nonce).send(&service).await.tokens();
}

/// SEC-03, SEC-08: a Redis that comes back empty is a new memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_empty_restart_captured_proofs_stay_dead() {
    let (service, redis) = start_on_own_redis().await;
    let own = Client::known("web").credentials_call(&Key::es256(), service.issuer());
    own.send(&service).await.tokens();
    redis.restart_empty().await;
    for _ in 0..20 {
        let answer = own.send(&service).await;
        assert!(matches!(answer.status(), 400 | 503), "accepted after the restart: {}", answer.response);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_ready(&service).await;
    let mut fresh = service.session("spa").await;
    refresh_with_nonce(&service, &mut fresh).await;
}

/// SEC-08: a Redis that may forget what it was told is no place for a ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_may_evict_is_refused() {
    let (mut service, redis) = start_on_own_redis().await;
    service.stop().await;
    redis.config_set("maxmemory-policy", "allkeys-lru").await;
    let refused = service.try_restart().await;
    let log = refused.expect_err("it does not start");
    assert!(log.contains("noeviction"), "the refusal says what to change: {log}");
    redis.config_set("maxmemory-policy", "noeviction").await;
    service.restart().await;
}

/// SEC-08, R4: a gateway is never told to let a call pass that can't be judged, nor that the client is at fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_no_call_passes_a_gateway() {
    let (service, redis) = start_on_own_redis().await;
    let session = service.session("spa").await;
    let tokens = session.refresh().send(&service).await.tokens();
    let token = tokens["access_token"].as_str().expect("a token");
    let call = || Verify::good("GET", "https://api.example.test/accounts/1", token, &session.key);
    let before = call();
    before.ask(Dialect::Nginx, &service).await.passes();
    redis.kill();
    for dialect in Dialect::ALL {
        let watch = Stopwatch::start();
        call().ask(dialect, &service).await.refused(503, "temporarily_unavailable");
        assert!(watch.elapsed() < Duration::from_millis(2500), "{:?}", watch.elapsed());
        for replay in ["check", "none"] {
            call().member("replay", replay).ask(Dialect::Json, &service).await.refused(503, "temporarily_unavailable");
        }
        // What needs no store to be refused is refused.
        Verify::new("GET", "https://api.example.test/accounts/1").ask(dialect, &service).await.refused(401, "");
        Verify::new("GET", "https://other.example.test/").ask(dialect, &service).await.refused(403, "invalid_target");
    }
    let answer = service.ask_gateway(&call().request(Dialect::Nginx)).await;
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{answer}");
    redis.restart().await;
    until_ready(&service).await;
    // A proof from before needs a nonce now (R5), and with one the same token goes on to work.
    for stale in [before, call()] {
        stale.ask(Dialect::Nginx, &service).await.refused(401, "use_dpop_nonce");
    }
    let nonce = call().ask(Dialect::Nginx, &service).await.nonce.expect("a nonce");
    let proof = Verify::proof_for("GET", "https://api.example.test/accounts/1", token, &session.key).nonce(&nonce).sign(&session.key);
    Verify::new("GET", "https://api.example.test/accounts/1").token(token).proof(proof).ask(Dialect::Nginx, &service).await.passes();
}
