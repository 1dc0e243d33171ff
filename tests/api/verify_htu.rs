//! The table of `htu` pairs, in every dialect: no false accept and no false reject.

use keybound_testkit::{Dialect, Service, Settings, Store, Verify};
use serde_json::{Value, json};

use crate::start_with;
use crate::verify::Caller;

#[path = "../../proofs/tests/proofs/htu_pairs.rs"]
mod htu_pairs;

use htu_pairs::{CASES, Case, MALFORMED};

/// A service that guards the origins of the table, and a caller with a token for all of them.
async fn bench() -> (Service, Caller) {
    let origins = [
        "https://api.example.com",
        "http://localhost",
        "http://localhost:8080",
        "https://h.example",
        "http://127.0.0.1:8080",
        "https://[2001:db8::a]:8443",
        "https://[::1]",
    ];
    let resources =
        origins.iter().enumerate().map(|(number, url)| json!({"id": format!("api-{number}"), "url": url, "audience": "urn:api"}));
    let mut resources: Vec<Value> = resources.collect();
    resources[0]["scopes"] = json!(["accounts"]);
    let service = start_with(Store::Embedded, Settings::default().with("resource", json!(resources))).await;
    let caller = Caller::new(&service).await;
    (service, caller)
}

/// A host with encoded characters is none that a resource can be registered for.
fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| !case.target.contains("a%c3%a9"))
}

fn origin(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// HTU-01, HTU-02, HTU-03, HTU-04, HTU-05, HTU-06, HTU-07, HTU-11, DPOP-4.3-09: one request, and everything that a proof may name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_htu_of_a_proof_is_compared_as_rfc_3986_says() {
    let (service, caller) = bench().await;
    let mut pairs = 0;
    for dialect in Dialect::ALL {
        let ask = async |target: &str, htu: &str| {
            let proof = Verify::proof_for("GET", target, &caller.token, &caller.key).claim("htu", htu);
            Verify::new("GET", target).token(&caller.token).proof(proof.sign(&caller.key)).ask(dialect, &service).await
        };
        for case in cases() {
            for same in case.same {
                assert_eq!(ask(case.target, same).await.status, 200, "{dialect:?}: {same} stands for {}", case.target);
            }
            for other in case.other {
                let judged = ask(case.target, other).await;
                assert_eq!((judged.status, judged.error.as_str()), (401, "invalid_dpop_proof"), "{dialect:?}: {other} for {}", case.target);
            }
            pairs += case.same.len() + case.other.len();
        }
        for malformed in MALFORMED {
            ask(CASES[0].target, malformed).await.refused(401, "invalid_dpop_proof");
        }
        pairs += MALFORMED.len();
    }
    println!("{pairs} pairs over {} dialects", Dialect::ALL.len());
    assert!(pairs >= 200 * Dialect::ALL.len());
}

/// HTU-01, HTU-03, HTU-04, HTU-06, HTU-08, HTU-12: one proof, and every spelling of a request: what a gateway passes on raw, `%2F`, `..` and `//`
/// among it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_of_a_request_is_read_as_rfc_3986_says() {
    let (service, caller) = bench().await;
    for dialect in Dialect::ALL {
        let ask = async |url: &str, htu: &str| {
            let proof = Verify::proof_for("GET", htu, &caller.token, &caller.key);
            Verify::new("GET", url).token(&caller.token).proof(proof.sign(&caller.key)).ask(dialect, &service).await
        };
        for case in cases() {
            for same in case.same {
                // What is no URL to begin with is no request line either.
                assert_eq!(ask(same, case.normal).await.status, 200, "{dialect:?}: {same} is {}", case.normal);
            }
            // The scheme that a gateway reports decides nothing.
            for other in case.other.iter().filter(|other| origin(other) == origin(case.normal)) {
                let judged = ask(other, case.normal).await;
                assert!([401, 403].contains(&judged.status), "{dialect:?}: {other} is not {}: {}", case.normal, judged.whole);
            }
        }
    }
}

/// HTU-12: a gateway that asks after it has rewritten the path asks about another call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_path_is_another_url() {
    let (service, caller) = bench().await;
    for dialect in Dialect::ALL {
        let ask = async |url: &str, htu: &str| {
            let proof = Verify::proof_for("GET", htu, &caller.token, &caller.key);
            Verify::new("GET", url).token(&caller.token).proof(proof.sign(&caller.key)).ask(dialect, &service).await
        };
        let public = "https://api.example.com/v1/accounts";
        for rewritten in ["https://api.example.com/accounts", "https://api.example.com/internal/v1/accounts", "https://api.example.com/"] {
            ask(rewritten, public).await.refused(401, "invalid_dpop_proof");
        }
        ask("https://accounts.internal:8080/v1/accounts", public).await.refused(403, "invalid_target");
        ask(public, public).await.passes();
    }
}
