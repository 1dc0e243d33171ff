//! What everybody else meets, behind each gateway.

use keybound_testkit::jose::malleated;
use keybound_testkit::{Key, Proof, Request};
use serde_json::json;

use crate::every_gateway;
use crate::gateway::Kind;
use crate::rig::{HOST, ORIGIN, Rig, proof};

every_gateway!(
    bad_proofs_and_credentials_are_refused_with_one_challenge,
    a_proof_passes_once_whoever_sends_it_again,
    what_the_client_says_about_itself_never_reaches_the_api,
    what_the_client_says_about_its_call_changes_nothing,
    paths_that_can_be_read_in_two_ways_open_nothing,
);

/// DPOP-4.3-01, DPOP-4.3-02, DPOP-4.3-06, DPOP-4.3-08, DPOP-4.3-09, DPOP-4.3-11, DPOP-4.3-12, RS-02, RS-03, RS-04, RS-06, RS-09, CNF-03
async fn bad_proofs_and_credentials_are_refused_with_one_challenge(kind: Kind) {
    let rig = Rig::start(kind).await;
    let target = "/accounts/1";
    let key = &rig.session.key;
    let good = || rig.proof("GET", target);
    let signed = |proof: Proof| rig.unproven("GET", target).header("DPoP", proof.sign(key));
    let thief = Key::es256();
    let fresh = || good().sign(key);

    let cases: Vec<(&str, Request, &str)> = vec![
        ("no proof", rig.unproven("GET", target), "invalid_dpop_proof"),
        ("an empty proof", rig.unproven("GET", target).header("DPoP", ""), "invalid_dpop_proof"),
        ("an old proof", signed(good().iat_offset(-75)), "invalid_dpop_proof"),
        ("a proof from the future", signed(good().iat_offset(30)), "invalid_dpop_proof"),
        ("an expired proof", signed(good().claim("exp", keybound_testkit::time::now() - 30)), "invalid_dpop_proof"),
        ("a proof for another method", signed(good().claim("htm", "POST")), "invalid_dpop_proof"),
        ("a proof for a method in another spelling", signed(good().claim("htm", "get")), "invalid_dpop_proof"),
        ("a proof for another path", signed(good().claim("htu", format!("{ORIGIN}/accounts/2"))), "invalid_dpop_proof"),
        ("a proof for a path with a slash more", signed(good().claim("htu", format!("{ORIGIN}/accounts/1/"))), "invalid_dpop_proof"),
        ("a proof for another host", signed(good().claim("htu", "https://evil.example/accounts/1")), "invalid_dpop_proof"),
        ("a proof for another scheme", signed(good().claim("htu", format!("http://{HOST}/accounts/1"))), "invalid_dpop_proof"),
        ("a proof for the service", signed(good().claim("htu", "http://keybound/verify/nginx")), "invalid_dpop_proof"),
        ("a proof for another token", signed(good().claim("ath", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), "invalid_dpop_proof"),
        ("a proof for no token", signed(good().without_claim("ath")), "invalid_dpop_proof"),
        (
            "a proof that is signed with another key than it shows",
            rig.unproven("GET", target).header("DPoP", good().sign(&thief)),
            "invalid_dpop_proof",
        ),
        (
            "a proof of another key",
            rig.unproven("GET", target).header("DPoP", proof(&thief, &rig.token, "GET", target).sign(&thief)),
            "invalid_token",
        ),
        ("two proofs", signed(good()).header("DPoP", fresh()), "invalid_dpop_proof"),
        (
            "one proof twice",
            {
                let one = fresh();
                rig.unproven("GET", target).header("DPoP", &one).header("DPoP", &one)
            },
            "invalid_dpop_proof",
        ),
        ("two proofs in one line", rig.unproven("GET", target).header("DPoP", format!("{}, {}", fresh(), fresh())), "invalid_dpop_proof"),
        ("a bearer token", Rig::bare("GET", target).header("Authorization", format!("Bearer {}", rig.token)), "invalid_token"),
        (
            "a bearer token with a proof",
            Rig::bare("GET", target).header("Authorization", format!("Bearer {}", rig.token)).header("DPoP", fresh()),
            "invalid_token",
        ),
        ("no token", Rig::bare("GET", target).header("DPoP", fresh()), ""),
        ("another scheme", Rig::bare("GET", target).header("Authorization", "Basic YTpi").header("DPoP", fresh()), ""),
        (
            "a token that is none",
            Rig::bare("GET", target).header("Authorization", "DPoP a.b.c").header("DPoP", proof(key, "a.b.c", "GET", target).sign(key)),
            "invalid_token",
        ),
    ];
    for (name, request, error) in cases {
        println!("{kind:?}: {name}");
        rig.refused(&request, 401, error).await;
    }
    // Which error two Authorization lines get depends on whether the gateway joins them.
    let twice = signed(good()).header("Authorization", format!("DPoP {}", rig.token));
    let answer = rig.stopped(&twice).await;
    assert!(matches!(answer.status, 400 | 401), "{kind:?}: {answer}");
    let answer = rig.stopped(&signed(good()).header("Authorization", format!("Bearer {}", rig.token))).await;
    assert!(matches!(answer.status, 400 | 401), "{kind:?}: {answer}");

    // A token in the query, beside a good one (RS-09).
    rig.refused(&rig.good("GET", &format!("/accounts/1?access_token={}", rig.token)), 401, "invalid_request").await;

    // The twin: nothing of all that has spoilt anything.
    for proof in [good(), good().claim("htu", "HTTPS://API.example.com:443/%61ccounts/1?x#y"), good().iat_offset(-50)] {
        rig.pass(&signed(proof)).await;
    }
}

/// R1, DPOP-4-01
async fn a_proof_passes_once_whoever_sends_it_again(kind: Kind) {
    let rig = Rig::start(kind).await;
    let proof = rig.proof("GET", "/accounts/1").sign(&rig.session.key);
    let call = |proof: &str, target: &str| rig.unproven("GET", target).header("DPoP", proof);
    rig.pass(&call(&proof, "/accounts/1")).await;
    for _ in 0..3 {
        rig.refused(&call(&proof, "/accounts/1"), 401, "invalid_dpop_proof").await;
    }
    rig.refused(&call(&proof, "/accounts/1?other=query"), 401, "invalid_dpop_proof").await;
    rig.refused(&call(&malleated(&proof), "/accounts/1"), 401, "invalid_dpop_proof").await;
    rig.pass(&rig.good("GET", "/accounts/1")).await;
}

/// The spoofing traps of identity: X-DPoP-* in every spelling.
async fn what_the_client_says_about_itself_never_reaches_the_api(kind: Kind) {
    let rig = Rig::start(kind).await;
    let mut request = rig.good("GET", "/accounts/1");
    for name in ["X-DPoP-Subject", "x-dpop-client-id", "X-DPOP-SCOPE", "X-Dpop-Jkt", "X-DPoP-Token-Id", "X_DPoP_Subject", "x-dpop_subject"]
    {
        request = request.header(name, "spoofed").header(name, "spoofed-again");
    }
    let (_, seen) = rig.pass(&request).await;
    assert_eq!(seen.header("X-DPoP-Subject"), ["alice"]);
    assert_eq!(seen.header("X-DPoP-Client-Id"), ["spa"]);
    assert!(!seen.mentions("spoofed"), "{kind:?}: {seen:?}");
    // Nor does a caller whose token lacks the claim inherit what the client wrote: an empty value replaces as well.
    rig.refused(&Rig::bare("GET", "/accounts/1").header("X-DPoP-Subject", "alice"), 401, "").await;
}

/// The spoofing traps of the call: X-Original-*, X-Forwarded-*, Forwarded, X-Rewrite-URL, another Host. HTU-08, HTU-12
async fn what_the_client_says_about_its_call_changes_nothing(kind: Kind) {
    let rig = Rig::start(kind).await;
    let spoofed = |request: Request, method: &str, path: &str| {
        request
            .header("X-Original-Method", method)
            .header("X-Original-URL", format!("{ORIGIN}{path}"))
            .header("X-Original-URI", path)
            .header("X-Forwarded-Method", method)
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", HOST)
            .header("X-Forwarded-Uri", path)
            .header("X-Forwarded-Prefix", "/evil")
            .header("X-Rewrite-URL", path)
            .header("X-Gateway-Key", "guessed-by-the-client")
            .header("Forwarded", format!("host={HOST};proto=https"))
    };
    // A proof for one call, spoofed headers that repeat its story, and another call.
    let proof = rig.proof("GET", "/accounts/mine").sign(&rig.session.key);
    let call = |method: &str, target: &str| rig.unproven(method, target).header("DPoP", &proof);
    rig.refused(&spoofed(call("GET", "/accounts/yours"), "GET", "/accounts/mine"), 401, "invalid_dpop_proof").await;
    rig.refused(&spoofed(call("POST", "/accounts/mine"), "GET", "/accounts/mine"), 401, "invalid_dpop_proof").await;
    // A host that is not the API's, with a proof for it.
    let elsewhere =
        Proof::new(&rig.session.key, "GET", "https://evil.example/accounts/mine").claim("ath", rig.proof("GET", "/").claims["ath"].clone());
    let at_evil =
        Request::new("GET", "/accounts/mine").header("Host", "evil.example").header("Authorization", format!("DPoP {}", rig.token));
    rig.stopped(&at_evil.header("DPoP", elsewhere.sign(&rig.session.key))).await;
    // The same lies beside a good call are harmless and stay here.
    let (_, seen) = rig.pass(&spoofed(call("GET", "/accounts/mine"), "DELETE", "/accounts/lies")).await;
    assert_eq!((&seen.0["method"], &seen.0["target"]), (&json!("GET"), &json!("/accounts/mine")));
    for lie in ["/accounts/lies", "DELETE", "/evil", "guessed-by-the-client", "host="] {
        assert!(!seen.mentions(lie), "{kind:?}: {lie} in {seen:?}");
    }
}

/// HTU-03, HTU-04, HTU-06, HTU-11: a gateway decodes paths for its routes. What it reads differently than the API must not open another
/// door.
async fn paths_that_can_be_read_in_two_ways_open_nothing(kind: Kind) {
    let rig = Rig::start(kind).await;
    for (target, meant) in [
        ("/accounts%2F1", "/accounts/1"),
        ("/accounts/a%2F1", "/accounts/a/1"),
        ("/accounts/%2e%2e/payments/1", "/accounts/payments/1"),
        ("/x/..%2Faccounts/1", "/accounts/1"),
        ("//accounts/1", "/accounts/1"),
        ("/accounts//1", "/accounts/1"),
        ("/accounts/1;x", "/accounts/1"),
        ("/Accounts/1", "/accounts/1"),
        ("/accountsx/1", "/accounts/1"),
        ("/accounts/1%00", "/accounts/1"),
        ("/accounts%5C1", "/accounts/1"),
    ] {
        println!("{kind:?}: {target}");
        let proof = rig.proof("GET", meant).sign(&rig.session.key);
        rig.stopped(&rig.unproven("GET", target).header("DPoP", proof)).await;
    }
    // Where dot segments or backslashes are taken away the API gets what the proof names, or nothing.
    for (target, meant) in [
        ("/accounts/../accounts/1", "/accounts/1"),
        ("/payments/../accounts/1", "/accounts/1"),
        ("/accounts/./1", "/accounts/1"),
        ("/accounts\\1", "/accounts/1"),
    ] {
        let proof = rig.proof("GET", meant).sign(&rig.session.key);
        let answer = rig.send(&rig.unproven("GET", target).header("DPoP", proof)).await;
        assert!(answer.status >= 400 || answer.json()["target"] == meant, "{kind:?}: {target}: {answer}");
    }
    // An absolute target that names another host than Host does.
    let proof = rig.proof("GET", "/accounts/1").sign(&rig.session.key);
    let request = Request::new("GET", "http://evil.example/accounts/1").header("Host", HOST);
    let answer = rig.send(&request.header("Authorization", format!("DPoP {}", rig.token)).header("DPoP", proof)).await;
    assert!(answer.status >= 400 || answer.json()["target"] == "/accounts/1", "{kind:?}: {answer}");
}
