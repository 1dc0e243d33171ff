//! Two regions: the keys and the grants are shared, each region has a ledger of its own, and nonces keep their proofs apart.

use keybound_testkit::flow::assertion;
use keybound_testkit::redis::RedisServer;
use keybound_testkit::service::signer_key;
use keybound_testkit::{Client, Dialect, Key, Service, Settings, Store, Verify};
use serde_json::json;

use crate::start_with;

const API: &str = "https://api.example.test/accounts/1";

fn region(settings: Settings, name: &str, ledger: &RedisServer) -> Settings {
    let ledger = json!({"urls": [ledger.url()]});
    settings.with("dpop.nonce", "required").with("dpop.region", name).with("store.ledger", ledger)
}

struct Regions {
    eu: Service,
    us: Service,
    eu_ledger: RedisServer,
    _us_ledger: RedisServer,
}

async fn regions() -> Regions {
    let (eu_ledger, us_ledger) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let eu = start_with(Store::Redis, region(Settings::default(), "eu", &eu_ledger)).await;
    let us = eu.node_with(|settings| region(settings, "us", &us_ledger)).await;
    Regions { eu, us, eu_ledger, _us_ledger: us_ledger }
}

/// SEC-07, NON-13: a proof is good in the region where its nonce was minted, once; the client goes from region to region with one
/// more request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_good_where_its_nonce_was_minted_and_nowhere_else() {
    let Regions { eu, us, .. } = &regions().await;
    let mut session = eu.session("spa").await;
    let here = eu.nonce().await;
    let captured = session.refresh().prove_with_nonce(&session.key, &here);
    let tokens = captured.send(eu).await.tokens();
    let there = captured.send(us).await.nonce_challenge();
    captured.send(eu).await.invalid_proof();
    assert_ne!(here, there);

    // The grant is known in both regions.
    session.keep(&tokens);
    let tokens = session.refresh().prove_with_nonce(&session.key, &there).send(us).await.tokens();
    session.keep(&tokens);
    session.refresh().prove_with_nonce(&session.key, &there).send(eu).await.nonce_challenge();
    session.refresh().prove_with_nonce(&session.key, &here).send(eu).await.tokens();
}

/// SEC-07: the same at the gateways of two regions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_good_at_the_gateways_of_one_region() {
    let Regions { eu, us, .. } = &regions().await;
    let session = eu.session("spa").await;
    let nonce = eu.nonce().await;
    let tokens = session.refresh().prove_with_nonce(&session.key, &nonce).send(eu).await.tokens();
    let token = tokens["access_token"].as_str().expect("a token");
    for dialect in Dialect::ALL {
        let call = Verify::good("GET", API, token, &session.key);
        let here = call.ask(dialect, eu).await.refused(401, "use_dpop_nonce").nonce.expect("a nonce");
        let proof = Verify::proof_for("GET", API, token, &session.key).nonce(&here).sign(&session.key);
        let captured = Verify::new("GET", API).token(token).proof(proof);
        captured.ask(dialect, eu).await.passes();
        captured.ask(dialect, eu).await.refused(401, "invalid_dpop_proof");
        let there = captured.ask(dialect, us).await.refused(401, "use_dpop_nonce").nonce.expect("a nonce");
        let proof = Verify::proof_for("GET", API, token, &session.key).nonce(&there).sign(&session.key);
        Verify::new("GET", API).token(token).proof(proof).ask(dialect, us).await.passes();
    }
}

/// PKJ-04: no nonce ties a client's assertion to a region: its use is remembered with the grants, for all regions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_is_good_once_in_all_regions() {
    let Regions { eu, us, .. } = &regions().await;
    let (client, thief) = (Client::known("signer"), Key::es256());
    let captured = assertion(&signer_key(), &client.assertion_claims(eu.issuer()));
    let (here, there) = (eu.nonce().await, us.nonce().await);
    let call = || client.credentials_call(&thief, eu.issuer()).assertion(&captured);
    call().prove_with_nonce(&thief, &here).send(eu).await.tokens();
    call().prove_with_nonce(&thief, &there).send(us).await.refused(401, "invalid_client");
    client.credentials_call(&thief, eu.issuer()).prove_with_nonce(&thief, &there).send(us).await.tokens();
}

/// A region whose ledger is away refuses with 503, and the other goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_without_its_ledger_stands_alone_and_still() {
    let Regions { eu, us, eu_ledger, .. } = &regions().await;
    let session = eu.session("spa").await;
    let (here, there) = (eu.nonce().await, us.nonce().await);
    eu_ledger.kill();
    session.refresh().prove_with_nonce(&session.key, &here).send(eu).await.refused(503, "temporarily_unavailable");
    assert!(!eu.ready().await);
    session.refresh().prove_with_nonce(&session.key, &there).send(us).await.tokens();
}
