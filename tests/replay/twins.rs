//! Proofs that look new and are not, and proofs that look used and are not.

use std::time::Duration;

use keybound_testkit::jose::malleated;
use keybound_testkit::{Client, Endpoint, Key, Proof, Settings, Store, both_stores, time};
use serde_json::json;

use crate::{start, start_with};

/// SEC-06, JOSE-08: the other signature of the same proof is the same proof, in either order.
async fn a_malleated_twin_is_a_replay(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for _ in 0..4 {
        let original = session.proof(Endpoint::Refresh).sign(&session.key);
        let twin = malleated(&original);
        let (first, second) = if original < twin { (&original, &twin) } else { (&twin, &original) };
        session.refresh().proof(first).send(&service).await.tokens();
        session.refresh().proof(second).send(&service).await.invalid_proof();
        session.refresh().proof(first).send(&service).await.invalid_proof();
    }
}

/// SEC-06: whatever else differs, the same key uses a jti once.
async fn a_proof_spelled_differently_is_a_replay(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let proof = session.proof(Endpoint::Refresh);
    session.refresh().proof(proof.sign(&session.key)).send(&service).await.tokens();
    let text = proof.claims_text();
    for twin in [
        proof.clone(),
        proof.clone().iat_offset(1),
        proof.clone().claim("extra", 1),
        proof.clone().header("kid", "other"),
        proof.clone().jwk("use", "sig"),
        proof.clone().claim("htu", "HTTPS://as.example.test:443/oauth/refresh?x#y"),
        proof.clone().raw_claims(text.replacen('{', "{ ", 1)),
        proof.clone().raw_claims(text.replacen("\"jti\"", "\"\\u006ati\"", 1)),
    ] {
        session.refresh().proof(twin.sign(&session.key)).send(&service).await.invalid_proof();
    }
    // The last character of a jti is part of it.
    let other = proof.clone().claim("jti", format!("{} ", proof.jti()));
    session.refresh().proof(other.sign(&session.key)).send(&service).await.tokens();
}

/// JOSE-11, SEC-06: the two names of Ed25519 are one key.
async fn the_other_name_of_an_algorithm_makes_no_new_proof(store: Store) {
    let service = start(store).await;
    let session = service.session_with("spa", Key::ed25519(), json!({})).await;
    let proof = session.proof(Endpoint::Refresh);
    session.refresh().proof(proof.clone().header("alg", "EdDSA").sign(&session.key)).send(&service).await.tokens();
    session.refresh().proof(proof.header("alg", "Ed25519").sign(&session.key)).send(&service).await.invalid_proof();
}

/// SEC-06: one jti, two keys: two proofs.
async fn a_jti_belongs_to_its_key(store: Store) {
    let service = start(store).await;
    let (alice, bob) = (service.session("spa").await, service.session("other-spa").await);
    for session in [&alice, &bob] {
        let proof = session.proof(Endpoint::Refresh).claim("jti", "chosen by both").sign(&session.key);
        session.refresh().proof(&proof).send(&service).await.tokens();
        session.refresh().proof(&proof).send(&service).await.invalid_proof();
    }
}

/// SEC-06: nobody can use up the jti of another key, neither with a session of his own nor with the victim's token.
async fn a_jti_can_not_be_burnt_for_another_key(store: Store) {
    let service = start(store).await;
    let victim = service.session("spa").await;
    let attacker = service.session("spa").await;
    let proof = victim.proof(Endpoint::Refresh);
    let burning = |session: &keybound_testkit::Session| session.proof(Endpoint::Refresh).claim("jti", proof.jti()).sign(&session.key);
    attacker.refresh().proof(burning(&attacker)).send(&service).await.tokens();
    let thief = service.session("spa").await;
    victim.refresh().proof(burning(&thief)).send(&service).await.invalid_grant();
    // The victim's proof with its signature broken burns nothing either.
    victim.refresh().proof(proof.sign(&thief.key)).send(&service).await.invalid_proof();
    victim.refresh().proof(proof.sign(&victim.key)).send(&service).await.tokens();
}

/// SEC-03: one key uses one jti once, at whichever endpoint and for whichever grant.
async fn a_proof_is_spent_at_all_endpoints_at_once(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    let session = service.session_with("spa", key.clone(), json!({})).await;
    let at = |endpoint: Endpoint, proof: &Proof| {
        let htu = format!("{}{}", session.issuer, endpoint.path());
        session.call(endpoint).proof(proof.clone().claim("htu", htu).sign(&key))
    };
    for (first, second) in [(Endpoint::Refresh, Endpoint::Token), (Endpoint::Token, Endpoint::Refresh)] {
        let proof = session.proof(first);
        at(first, &proof).send(&service).await.tokens();
        session.call(second).proof(proof.sign(&key)).send(&service).await.invalid_proof();
        at(second, &proof).send(&service).await.invalid_proof();
        let elsewhere = Client::known("web").credentials_call(&key, service.issuer());
        let same = elsewhere.fresh_proof(&key).claim("jti", proof.jti()).sign(&key);
        elsewhere.clone().proof(same).send(&service).await.invalid_proof();
        elsewhere.send(&service).await.tokens();
    }
}

/// SEC-04: a proof from the future lives longer than one from now, and is remembered for all of that time.
async fn a_proof_is_remembered_as_long_as_it_could_be_used(store: Store) {
    let settings = Settings::default().with("dpop.proof_max_age_s", 2).with("dpop.clock_skew_s", 4);
    let service = start_with(store, settings).await;
    let session = service.session("spa").await;
    let made = time::now();
    let proof = session.proof(Endpoint::Refresh).claim("iat", made + 3).sign(&session.key);
    session.refresh().proof(&proof).send(&service).await.tokens();
    // Until five seconds after it was made the proof is inside its window; it is refused then, and after.
    while time::now() < made + 7 {
        session.refresh().proof(&proof).send(&service).await.invalid_proof();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

both_stores!(
    a_malleated_twin_is_a_replay,
    a_proof_spelled_differently_is_a_replay,
    the_other_name_of_an_algorithm_makes_no_new_proof,
    a_jti_belongs_to_its_key,
    a_jti_can_not_be_burnt_for_another_key,
    a_proof_is_spent_at_all_endpoints_at_once,
    a_proof_is_remembered_as_long_as_it_could_be_used,
);
