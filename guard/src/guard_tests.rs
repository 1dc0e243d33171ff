//! The guard as a whole: requests in, callers and answers out.

use serde_json::{Value, json};

use super::*;
use crate::testkit::{API, Client, Counting, at, config, guard_with, issuer_key, jws, other_key};
use crate::{FixedKeys, KeySet, LocalLedger};

const URL: &str = "https://api.example.com/accounts/1";

async fn send(guard: &Guard, client: &Client, proofs: &[&str], now: UnixTime) -> Result<Caller, Refusal> {
    let line = format!("DPoP {}", client.token);
    ask(guard, "GET", "/accounts/1", &[line.as_bytes()], proofs, now).await
}

async fn ask(guard: &Guard, method: &str, path: &str, lines: &[&[u8]], proofs: &[&str], now: UnixTime) -> Result<Caller, Refusal> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let dpop: Vec<&[u8]> = proofs.iter().map(|proof| proof.as_bytes()).collect();
    guard.check(&Unguarded { method, path, query, authorization: lines, dpop: &dpop }, now).await
}

/// Holds the answer to its form: one challenge of the DPoP scheme that names status, error and algorithms, and a body that repeats the
/// error.
fn refused(result: Result<Caller, Refusal>, status: u16, error: &str) -> Refusal {
    let refusal = result.expect_err("a refusal");
    assert_eq!((refusal.status(), refusal.error().unwrap_or_default()), (status, error), "{refusal}");
    let headers: Vec<_> = refusal.headers().collect();
    let lines: Vec<_> = headers.iter().filter(|(name, _)| *name == "www-authenticate").collect();
    if status == 503 {
        assert!(lines.is_empty() && headers.contains(&("retry-after", "1")));
    } else {
        assert_eq!(lines.len(), 1);
        assert!(lines[0].1.starts_with("DPoP ") && lines[0].1.contains("algs=\"ES256 "), "{}", lines[0].1);
        assert_eq!(lines[0].1.contains(&format!("error=\"{error}\"")), !error.is_empty());
    }
    assert!(headers.contains(&("cache-control", "no-store")));
    if !error.is_empty() {
        let body: Value = serde_json::from_str(&refusal.body()).expect("JSON");
        assert_eq!(body["error"], error);
    }
    refusal
}

/// RS-02, DPOP-4.3-01, DPOP-4-01
#[tokio::test]
async fn a_good_call_names_its_caller_and_a_second_use_of_its_proof_is_refused() {
    let (guard, client) = (guard_with(config()), Client::new(at(0)));
    let proof = client.proof("GET", URL, at(0));
    let caller = send(&guard, &client, &[&proof], at(0)).await.expect("a caller");
    assert_eq!((caller.subject(), caller.client_id(), caller.token_id(), caller.grant_id()), ("alice", "app", "t-1", Some("g-1")));
    assert_eq!((caller.jkt(), caller.expires(), caller.dpop_nonce()), (client.key.jkt(), at(300), None));
    assert!(caller.scope().eq(["accounts", "openid"]) && caller.authorization_details().is_empty());
    let refusal = refused(send(&guard, &client, &[&proof], at(1)).await, 401, "invalid_dpop_proof");
    assert_eq!((refusal.denial(), refusal.dpop_nonce()), (&Denial::Replayed, None));
    assert!(send(&guard, &client, &[&client.proof("GET", URL, at(1))], at(1)).await.is_ok());
}

/// RS-01, RS-03, RS-06, RS-09
#[tokio::test]
async fn credentials_that_are_missing_doubled_or_of_another_scheme_are_refused() {
    let (guard, client) = (guard_with(config()), Client::new(at(0)));
    let proof = client.proof("GET", URL, at(0));
    let dpop = format!("DPoP {}", client.token);
    let bearer = format!("Bearer {}", client.token);
    let (dpop, bearer) = (dpop.as_bytes(), bearer.as_bytes());
    let with = |lines: Vec<Vec<u8>>, path: &'static str| {
        let (guard, proof) = (&guard, &proof);
        async move {
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            ask(guard, "GET", path, &lines, &[proof], at(0)).await
        }
    };
    refused(with(vec![], "/accounts/1").await, 401, "");
    refused(with(vec![b"Basic YTpi".to_vec()], "/accounts/1").await, 401, "");
    refused(with(vec![bearer.to_vec()], "/accounts/1").await, 401, "invalid_token");
    refused(with(vec![dpop.to_vec(), dpop.to_vec()], "/accounts/1").await, 400, "invalid_request");
    refused(with(vec![dpop.to_vec(), bearer.to_vec()], "/accounts/1").await, 400, "invalid_request");
    refused(with(vec![b"DPoP a b".to_vec()], "/accounts/1").await, 400, "invalid_request");
    refused(with(vec![dpop.to_vec()], "/accounts/1?access_token=x").await, 400, "invalid_request");
    assert!(with(vec![dpop.to_vec()], "/accounts/1?page=2").await.is_ok(), "and nothing of it has used the proof up");
}

/// DPOP-4.3-01, DPOP-4.3-02, DPOP-4.3-06, DPOP-4.3-08, DPOP-4.3-09, DPOP-4.3-11, DPOP-4.3-12, RS-02
#[tokio::test]
async fn every_fault_of_a_proof_is_refused_and_leaves_no_trace() {
    let (guard, client) = (guard_with(config()), Client::new(at(0)));
    let good = client.proof("GET", URL, at(60));
    let other = client.key.proof("GET", URL).access_token("another.token").sign(at(60), &mut Counting::default()).expect("a proof");
    let without_ath = client.key.proof("GET", URL).sign(at(60), &mut Counting::default()).expect("a proof");
    let joined = format!("{good}, {good}");
    let mangled = format!("{}A", &good[..good.len() - 2]);
    let nothing: [&str; 0] = [];
    for proofs in [
        &nothing[..],
        &[&good, &good],
        &[&joined],
        &[&mangled],
        &[&other],
        &[&without_ath],
        &[&client.proof("POST", URL, at(60))],
        &[&client.proof("get", URL, at(60))],
        &[&client.proof("GET", "https://api.example.com/accounts/2", at(60))],
        &[&client.proof("GET", "http://api.example.com/accounts/1", at(60))],
        &[&client.proof("GET", "https://api.example.com/accounts%2F1", at(60))],
        // Sixty seconds and one old; ten seconds and one too early.
        &[&client.proof("GET", URL, UnixTime::from_secs(at(0).as_secs() - 1))],
        &[&client.proof("GET", URL, at(71))],
    ] {
        refused(send(&guard, &client, proofs, at(60)).await, 401, "invalid_dpop_proof");
    }
    for proof in [&client.proof("GET", URL, at(0)), &client.proof("GET", URL, at(70)), &good] {
        assert!(send(&guard, &client, &[proof], at(60)).await.is_ok());
    }
}

/// RS-12, AT-01, AT-03
#[tokio::test]
async fn a_token_that_does_not_count_here_is_refused() {
    let guard = guard_with(config());
    let changed = |name: &'static str, value: Value| Client::with(at(0), move |claims| claims[name] = value);
    for client in [
        changed("iss", json!("https://as.example.org")),
        changed("aud", json!("https://other.example.com")),
        changed("exp", json!(at(10).as_secs())),
        changed("nbf", json!(at(21).as_secs())),
        changed("cnf", json!({"x5t#S256": "x"})),
        changed("sub", json!("")),
    ] {
        refused(send(&guard, &client, &[&client.proof("GET", URL, at(10))], at(10)).await, 401, "invalid_token");
    }
    for client in [changed("aud", json!(["urn:x", API])), changed("exp", json!(at(11).as_secs())), changed("nbf", json!(at(20).as_secs()))]
    {
        assert!(send(&guard, &client, &[&client.proof("GET", URL, at(10))], at(10)).await.is_ok());
    }
}

/// AT-01, JOSE-18
#[tokio::test]
async fn only_a_published_key_signs_tokens() {
    let guard = guard_with(config());
    let claims = |client: &Client| {
        let payload = client.token.split('.').nth(1).unwrap_or_default();
        let bytes = keybound_proofs::jose::decode_base64url(payload).expect("base64url");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")
    };
    let forged = |key: &keybound_proofs::ProofKey, header: Value| {
        let mut client = Client::new(at(0));
        client.token = jws(key, &header, &claims(&client));
        client
    };
    let good = json!({"typ": "at+jwt", "alg": "ES256", "kid": "a"});
    let with = |name: &str, value: Value| {
        let mut header = good.clone();
        header[name] = value;
        header
    };
    for client in [
        forged(&other_key(), good.clone()),
        forged(&issuer_key(), with("kid", json!("b"))),
        forged(&issuer_key(), with("kid", Value::Null)),
        forged(&issuer_key(), with("typ", json!("JWT"))),
        forged(&issuer_key(), with("typ", json!("dpop+jwt"))),
        forged(&issuer_key(), with("alg", json!("none"))),
        forged(&issuer_key(), with("alg", json!("HS256"))),
        forged(&issuer_key(), with("alg", json!("EdDSA"))),
        forged(&issuer_key(), with("crit", json!(["b64"]))),
    ] {
        refused(send(&guard, &client, &[&client.proof("GET", URL, at(0))], at(0)).await, 401, "invalid_token");
    }
    let spelled = forged(&issuer_key(), with("typ", json!("application/AT+JWT")));
    assert!(send(&guard, &spelled, &[&spelled.proof("GET", URL, at(0))], at(0)).await.is_ok());
}

/// RS-04, CNF-03
#[tokio::test]
async fn a_token_of_another_key_or_of_none_is_refused() {
    let guard = guard_with(config());
    let mut thief = Client::new(at(0));
    thief.key = other_key();
    let refusal = refused(send(&guard, &thief, &[&thief.proof("GET", URL, at(0))], at(0)).await, 401, "invalid_token");
    assert_eq!(refusal.denial(), &Denial::OtherKey);
    let unbound = Client::with(at(0), |claims| drop(claims.as_object_mut().and_then(|claims| claims.remove("cnf"))));
    refused(send(&guard, &unbound, &[&unbound.proof("GET", URL, at(0))], at(0)).await, 401, "invalid_token");
}

/// RS-12
#[tokio::test]
async fn scope_that_does_not_reach_is_403_with_what_is_needed_and_costs_no_proof() {
    let guard = guard_with(config().scopes(["accounts", "payments"]));
    let narrow = Client::new(at(0));
    let proof = narrow.proof("GET", URL, at(0));
    for _ in 0..2 {
        let refusal = refused(send(&guard, &narrow, &[&proof], at(0)).await, 403, "insufficient_scope");
        assert!(refusal.challenge().is_some_and(|line| line.contains("scope=\"accounts payments\"")));
    }
    let wide = Client::with(at(0), |claims| claims["scope"] = json!("payments accounts"));
    let caller = send(&guard, &wide, &[&wide.proof("GET", URL, at(0))], at(0)).await.expect("a caller");
    assert!(guard.demand_scope(&caller, "payments").is_ok());
    refused(guard.demand_scope(&caller, "admin").map(|()| caller), 403, "insufficient_scope");
}

/// NON-02, NON-03, NON-07, NON-09, RS-05
#[tokio::test]
async fn a_demanded_nonce_comes_with_the_challenge_and_the_retry_works() {
    let (guard, client) = (guard_with(config().require_nonces()), Client::new(at(0)));
    let refusal = refused(send(&guard, &client, &[&client.proof("GET", URL, at(0))], at(0)).await, 401, "use_dpop_nonce");
    let nonce = refusal.dpop_nonce().expect("a nonce").to_owned();
    let with = |nonce: &str, now| {
        let proof = client.key.proof("GET", URL).access_token(&client.token).nonce(nonce);
        proof.sign(now, &mut crate::system::OsEntropy).expect("a proof")
    };
    refused(send(&guard, &client, &[&with("made-up", at(0))], at(0)).await, 401, "use_dpop_nonce");
    let caller = send(&guard, &client, &[&with(&nonce, at(0))], at(0)).await.expect("a caller");
    assert_eq!(caller.dpop_nonce(), None);
    // Every other 401 brings one as well, a 403 does not.
    assert!(refused(ask(&guard, "GET", "/accounts/1", &[], &[], at(0)).await, 401, "").dpop_nonce().is_some());
    // In the next step of time the old one still counts, and the answer brings the new one.
    let later = Client::new(at(200));
    let proof = later.key.proof("GET", URL).access_token(&later.token).nonce(&nonce).sign(at(300), &mut crate::system::OsEntropy);
    let caller = send(&guard, &later, &[&proof.expect("a proof")], at(300)).await.expect("a caller");
    assert!(caller.dpop_nonce().is_some_and(|next| next != nonce));
}

/// R5, R6
#[tokio::test]
async fn after_a_restart_old_proofs_are_dead_and_a_full_ledger_lets_nobody_in() {
    let keys = || {
        let set = crate::testkit::jwks(&issuer_key(), "a").to_string();
        Box::new(FixedKeys(KeySet::parse(set.as_bytes()).expect("keys")))
    };
    let mut entropy = Counting::default();
    let memory = ReplayMemory::Local(LocalLedger::new(1, at(30), &mut entropy));
    let guard = Guard::with_keys(config(), memory, keys(), &mut entropy).expect("a guard");
    let client = Client::new(at(0));
    let recorded = client.proof("GET", URL, at(29));
    let refusal = refused(send(&guard, &client, &[&recorded], at(31)).await, 401, "use_dpop_nonce");
    let nonce = refusal.dpop_nonce().expect("a nonce");
    let retry = client.key.proof("GET", URL).access_token(&client.token).nonce(nonce).sign(at(31), &mut Counting::default());
    assert!(send(&guard, &client, &[&retry.expect("a proof")], at(31)).await.is_ok());
    refused(send(&guard, &client, &[&recorded], at(89)).await, 401, "use_dpop_nonce");
    refused(send(&guard, &client, &[&recorded], at(106)).await, 401, "invalid_dpop_proof");
    // One proof fits, and it lives for a while after its time.
    let two = client.key.proof("GET", URL).access_token(&client.token).nonce(nonce).jti("2").sign(at(31), &mut Counting::default());
    let two = two.expect("a proof");
    refused(send(&guard, &client, &[&two], at(32)).await, 503, "temporarily_unavailable");
}

/// Answers nothing.
struct Away;

impl KeySource for Away {
    fn fetch(&self) -> crate::KeyFetch<'_> {
        Box::pin(async { Err(crate::KeyFetchError::Unreachable) })
    }
}

/// RS-12
#[tokio::test]
async fn an_issuer_whose_keys_are_not_known_is_503_and_nothing_is_used_up() {
    let mut entropy = Counting::default();
    let memory = ReplayMemory::Local(LocalLedger::without_a_past(10, &mut entropy));
    let guard = Guard::with_keys(config(), memory, Box::new(Away), &mut entropy).expect("a guard");
    let client = Client::new(at(0));
    let proof = client.proof("GET", URL, at(0));
    for _ in 0..2 {
        let refusal = refused(send(&guard, &client, &[&proof], at(0)).await, 503, "temporarily_unavailable");
        assert_eq!(refusal.challenge(), None);
    }
}

/// HTU-02, HTU-03, HTU-04, HTU-05, HTU-06, HTU-12
#[tokio::test]
async fn the_url_is_the_public_one_whatever_the_path_is_here() {
    let config =
        crate::GuardConfig::new("https://as.example.com", "https://api.example.com/v1/").alias("https://old.example.com").audience(API);
    let guard = guard_with(config);
    let client = Client::new(at(0));
    let line = format!("DPoP {}", client.token);
    let check = async |path: &str, htu: &str| {
        let proof = client.proof("GET", htu, at(0));
        ask(&guard, "GET", path, &[line.as_bytes()], &[&proof], at(0)).await
    };
    for (path, htu) in [
        ("/a", "https://api.example.com/v1/a"),
        ("/a", "HTTPS://API.example.com:443/v1/a?x=1"),
        ("/a", "https://old.example.com/a"),
        ("/a/../b", "https://api.example.com/v1/b"),
        ("/%7Ea", "https://api.example.com/v1/~a"),
        ("/", "https://api.example.com/v1/"),
        ("/a//b", "https://api.example.com/v1/a//b"),
    ] {
        assert!(check(path, htu).await.is_ok(), "{path} {htu}");
    }
    for (path, htu) in [
        ("/a", "https://api.example.com/a"),
        ("/a", "https://api.example.com/v1/A"),
        ("/a", "https://api.example.com/v1/a/"),
        ("/a%2Fb", "https://api.example.com/v1/a/b"),
        ("/a//b", "https://api.example.com/v1/a/b"),
        ("/../a", "https://api.example.com/a"),
        ("/%2e%2e/a", "https://api.example.com/a"),
        ("/../v11/a", "https://api.example.com/v11/a"),
        ("*", "https://old.example.com/*"),
        ("@evil.example/a", "https://old.example.com@evil.example/a"),
        ("/a", "https://api.example.com.evil.example/v1/a"),
    ] {
        refused(check(path, htu).await, 401, "invalid_dpop_proof");
    }
}
