//! Moving a public client's grant to another key (docs/key-change.md).

use keybound_testkit::jose::split;
use keybound_testkit::{Answer, Call, Endpoint, Key, Proof, Service, Session, Settings, Store, both_stores};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::start_with;

async fn start(store: Store) -> Service {
    start_with(store, Settings::default().with("dpop.key_change", true)).await
}

/// The two proofs of a change from the session's key to `new`, not signed yet.
struct Change {
    old: Proof,
    new: Proof,
}

impl Change {
    fn new(session: &Session, new: &Key, endpoint: Endpoint) -> Self {
        let htu = format!("{}{}", session.issuer, endpoint.path());
        Self {
            old: session.proof(endpoint).claim("new_jkt", new.jkt()),
            new: Proof::new(new, "POST", &htu).claim("old_jkt", session.key.jkt()),
        }
    }
}

fn call(session: &Session, new: &Key, endpoint: Endpoint) -> Call {
    let change = Change::new(session, new, endpoint);
    with(session, new, &change, endpoint)
}

fn with(session: &Session, new: &Key, change: &Change, endpoint: Endpoint) -> Call {
    session.call(endpoint).proof(change.old.sign(&session.key)).set("dpop_new_key_proof", change.new.sign(new))
}

fn bound_to(tokens: &Value) -> Value {
    split(tokens["access_token"].as_str().expect("an access token")).1["cnf"]["jkt"].clone()
}

async fn changes(service: &Service) -> Vec<Value> {
    let events = service.manage("GET", "/admin/events", None).await.json();
    let events = events["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["event"] == "key_changed").collect()
}

/// TOK-05, TOK-07, SEC-13: afterwards the new key works, alone, and the old one does not.
async fn a_grant_moves_to_another_key(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        for new in [Key::es256(), Key::ed25519()] {
            let mut session = service.session("spa").await;
            let before = session.refresh_token.clone();
            let tokens = call(&session, &new, endpoint).send(&service).await.tokens();
            assert_eq!(bound_to(&tokens), new.jkt());
            assert_eq!(tokens["dpop_signing_alg"], new.alg());
            session.keep(&tokens);
            for token in [&before, &session.refresh_token] {
                session.call_with(endpoint, token).send(&service).await.invalid_grant();
            }
            session.key = new;
            assert_eq!(bound_to(&session.rotate(&service).await), session.key.jkt());
            let listed = service.manage("GET", &format!("/admin/grants?jkt={}", session.key.jkt()), None).await.json();
            assert_eq!(listed["grants"][0]["grant_id"], session.grant_id.as_str(), "{listed}");
        }
    }
    let session = service.session("spa").await;
    let new = Key::es256();
    call(&session, &new, Endpoint::Refresh).json().send(&service).await.tokens();
    let events = changes(&service).await;
    let last = events.last().expect("an event");
    assert_eq!((&last["old_jkt"], &last["jkt"]), (&json!(session.key.jkt()), &json!(new.jkt())), "{last}");
    assert_eq!(events.len(), 5, "one for each change");
}

/// G2, G4: both proofs again give the same result, as often as it takes; the old key alone gives nothing.
async fn a_lost_answer_is_asked_for_again(store: Store) {
    let service = start(store).await;
    for client in ["spa", "steady"] {
        let (mut session, new) = (service.session(client).await, Key::es256());
        let first = call(&session, &new, Endpoint::Refresh).send(&service).await.tokens();
        for _ in 0..3 {
            session.refresh().send(&service).await.invalid_grant();
            let again = call(&session, &new, Endpoint::Refresh).send(&service).await.tokens();
            assert_eq!(again["refresh_token"], first["refresh_token"]);
            assert_eq!(bound_to(&again), new.jkt());
        }
        // The new key alone does as well, should the client have forgotten the old one.
        session.key = new;
        assert_eq!(session.rotate(&service).await["refresh_token"], first["refresh_token"]);
        session.rotate(&service).await;
    }
    assert_eq!(changes(&service).await.len(), 2, "asking again changes nothing more");
}

/// Each key must consent to the other by name: whatever is wrong with one proof, nothing moves and nothing is used up.
async fn each_proof_names_the_other_key(store: Store) {
    let service = start(store).await;
    let (session, new, other) = (service.session("spa").await, Key::es256(), Key::es256());
    let endpoint = Endpoint::Refresh;
    let change = || Change::new(&session, &new, endpoint);
    let old = |old: Proof| Change { old, ..change() };
    let second = |new: Proof| Change { new, ..change() };
    for (what, bad) in [
        ("an ordinary proof of the old key", old(change().old.without_claim("new_jkt"))),
        ("another key named by the old one", old(change().old.claim("new_jkt", other.jkt()))),
        ("the old key named by itself", old(change().old.claim("new_jkt", session.key.jkt()))),
        ("no thumbprint", old(change().old.claim("new_jkt", json!([new.jkt()])))),
        ("an ordinary proof of the new key", second(change().new.without_claim("old_jkt"))),
        ("another key named by the new one", second(change().new.claim("old_jkt", other.jkt()))),
        ("the new key named by itself", second(change().new.claim("old_jkt", new.jkt()))),
        ("another endpoint", second(change().new.claim("htu", format!("{}/oauth/token", session.issuer)))),
        ("another method", second(change().new.claim("htm", "GET"))),
        ("an old proof", second(change().new.iat_offset(-120))),
        ("a proof from the future", second(change().new.iat_offset(120))),
        ("a proof for a token", second(change().new.claim("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"))),
        ("no jti", second(change().new.without_claim("jti"))),
    ] {
        let answer = with(&session, &new, &bad, endpoint).send(&service).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.response);
        answer.invalid_proof();
    }
    let good = call(&session, &new, endpoint);
    good.clone().set("dpop_new_key_proof", change().new.sign(&other)).send(&service).await.invalid_proof();
    good.clone().set("dpop_new_key_proof", "nonsense").send(&service).await.invalid_proof();
    good.clone().without_proof().send(&service).await.invalid_proof();
    let same = Change::new(&session, &session.key, endpoint);
    with(&session, &session.key, &same, endpoint).send(&service).await.invalid_proof();
    assert!(changes(&service).await.is_empty());
    session.refresh().send(&service).await.tokens();
    good.send(&service).await.tokens();
}

/// R1: each of the two proofs works once.
async fn neither_proof_is_used_twice(store: Store) {
    let service = start(store).await;
    let (session, new) = (service.session("spa").await, Key::es256());
    let first = Change::new(&session, &new, Endpoint::Refresh);
    with(&session, &new, &first, Endpoint::Refresh).send(&service).await.tokens();
    let again = |old: Proof, new: Proof| Change { old, new };
    let fresh = || Change::new(&session, &new, Endpoint::Refresh);
    for replayed in [again(fresh().old, first.new), again(first.old, fresh().new)] {
        with(&session, &new, &replayed, Endpoint::Refresh).send(&service).await.invalid_proof();
    }
    call(&session, &new, Endpoint::Refresh).send(&service).await.tokens();
}

/// A thief caught a whole refresh request before it arrived: token and proof, but no key. It moves nothing.
async fn a_caught_request_moves_nothing(store: Store) {
    let service = start(store).await;
    let (mut session, thief) = (service.session("spa").await, Key::es256());
    let caught = session.refresh();
    let consent = Change::new(&session, &thief, Endpoint::Refresh).new.sign(&thief);
    caught.clone().set("dpop_new_key_proof", consent).send(&service).await.invalid_proof();

    // A caught change of keys leads to the owner's new key, whoever sends it, or nowhere.
    let new = Key::es256();
    let caught = call(&session, &new, Endpoint::Refresh);
    let consent = Change::new(&session, &thief, Endpoint::Refresh).new.sign(&thief);
    caught.clone().set("dpop_new_key_proof", consent).send(&service).await.invalid_proof();
    assert_eq!(bound_to(&caught.send(&service).await.tokens()), new.jkt());
    session.key = new;
    session.rotate(&service).await;
}

/// A key that was never the grant's moves nothing, and neither does a thief's own grant take in the owner's new key.
async fn the_grants_own_key_must_agree(store: Store) {
    let service = start(store).await;
    let (session, new) = (service.session("spa").await, Key::es256());
    let mut thief = service.session("spa").await;
    let stolen = Session { key: thief.key.clone(), ..session.clone() };
    call(&stolen, &new, Endpoint::Refresh).send(&service).await.invalid_grant();

    let consent = Change::new(&session, &new, Endpoint::Refresh).new.sign(&new);
    let fixation = call(&thief, &new, Endpoint::Refresh).set("dpop_new_key_proof", consent);
    fixation.send(&service).await.invalid_proof();
    thief.rotate(&service).await;
    session.refresh().send(&service).await.tokens();
}

/// Of many changes at once one wins, and only its key works afterwards.
async fn of_many_changes_at_once_one_wins(store: Store) {
    let service = std::sync::Arc::new(start(store).await);
    let session = service.session("spa").await;
    let keys: Vec<Key> = (0..16).map(|_| Key::es256()).collect();
    let mut crowd = JoinSet::new();
    for key in keys.clone() {
        let (service, session) = (service.clone(), session.clone());
        crowd.spawn(async move { (call(&session, &key, Endpoint::Refresh).send(&service).await, key) });
    }
    let answers: Vec<(Answer, Key)> = crowd.join_all().await;
    let won: Vec<&(Answer, Key)> = answers.iter().filter(|(answer, _)| answer.status() == 200).collect();
    assert_eq!(won.len(), 1);
    let tokens = won[0].0.tokens();
    for (answer, key) in &answers {
        let mut next = Session { key: key.clone(), ..session.clone() };
        next.keep(&tokens);
        if key.jkt() == won[0].1.jkt() {
            next.rotate(&service).await;
        } else {
            answer.invalid_grant();
            next.refresh().send(&service).await.invalid_grant();
        }
    }
}

/// NON-10: a challenge for either proof leaves both as they were.
async fn a_nonce_is_asked_for_in_both(store: Store) {
    let settings = Settings::default().with("dpop.key_change", true).with("dpop.nonce", "required");
    let service = start_with(store, settings).await;
    let (session, new) = (service.session("spa").await, Key::es256());
    let nonce = service.nonce().await;
    let bare = || Change::new(&session, &new, Endpoint::Refresh);
    let both = || Change { old: bare().old.nonce(&nonce), new: bare().new.nonce(&nonce) };
    for change in [bare(), Change { old: both().old, ..bare() }, Change { new: both().new, ..bare() }] {
        with(&session, &new, &change, Endpoint::Refresh).send(&service).await.nonce_challenge();
    }
    let half = Change { old: both().old, ..bare() };
    with(&session, &new, &half, Endpoint::Refresh).send(&service).await.nonce_challenge();
    let whole = Change { old: half.old, new: half.new.nonce(&nonce) };
    with(&session, &new, &whole, Endpoint::Refresh).send(&service).await.tokens();
}

/// Off unless it is switched on, and then not silently ignored; and not for clients that need none (TOK-06).
async fn it_is_off_by_default_and_for_public_clients(store: Store) {
    let service = crate::start(store).await;
    let (session, new) = (service.session("spa").await, Key::es256());
    call(&session, &new, Endpoint::Refresh).send(&service).await.refused(400, "invalid_request");
    session.refresh().send(&service).await.tokens();

    let service = start(store).await;
    let mut session = service.session("web").await;
    call(&session, &new, Endpoint::Refresh).send(&service).await.refused(400, "invalid_request");
    session.key = new;
    session.rotate(&service).await;
}

/// G6, BCP-02: a change of keys neither revives nor spares a family.
async fn it_saves_no_family(store: Store) {
    let service = start(store).await;
    let (session, new) = (service.session("spa").await, Key::es256());
    service.revoke(&session.grant_id).await;
    call(&session, &new, Endpoint::Refresh).send(&service).await.invalid_grant();

    let mut session = service.session("spa").await;
    let oldest = session.refresh_token.clone();
    session.rotate(&service).await;
    session.rotate(&service).await;
    let reuse = Session { refresh_token: oldest, ..session.clone() };
    call(&reuse, &new, Endpoint::Refresh).send(&service).await.invalid_grant();
    session.refresh().send(&service).await.invalid_grant();
    assert!(changes(&service).await.is_empty());
}

both_stores!(
    a_grant_moves_to_another_key,
    a_lost_answer_is_asked_for_again,
    each_proof_names_the_other_key,
    neither_proof_is_used_twice,
    a_caught_request_moves_nothing,
    the_grants_own_key_must_agree,
    of_many_changes_at_once_one_wins,
    a_nonce_is_asked_for_in_both,
    it_is_off_by_default_and_for_public_clients,
    it_saves_no_family,
);
