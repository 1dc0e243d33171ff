//! When a proof may be used (RFC 9449 sections 4.3 and 11.1). The edges to the millisecond are held with an injected clock by
//! the tests of `keybound-proofs`; here they are held as closely as a running clock allows.

use keybound_testkit::{Settings, Store, both_stores};

use crate::{Bench, start_with};

/// SEC-01, DPOP-4.3-11
async fn an_old_proof_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    for age in [61, 62, 90, 3600, 86_400, 1_000_000_000] {
        bench.refuses_signed(&format!("{age} s old"), &bench.proof().iat_offset(-age)).await;
    }
    for age in [0, 10, 30, 57] {
        bench.accepts_signed(&format!("{age} s old"), &bench.proof().iat_offset(-age)).await;
    }
}

/// SEC-02, DPOP-4.3-11
async fn a_clock_that_is_a_little_fast_is_tolerated(store: Store) {
    let bench = Bench::new(store).await;
    for ahead in [1, 8, 10] {
        bench.accepts_signed(&format!("{ahead} s ahead"), &bench.proof().iat_offset(ahead)).await;
    }
    for ahead in [13, 61, 3600, 1_000_000_000] {
        bench.refuses_signed(&format!("{ahead} s ahead"), &bench.proof().iat_offset(ahead)).await;
    }
}

/// SEC-01, SEC-02: the window is the configured one.
async fn the_window_is_configured(store: Store) {
    let settings = Settings::default().with("dpop.proof_max_age_s", 20).with("dpop.clock_skew_s", 3);
    let service = start_with(store, settings).await;
    let session = service.session("spa").await;
    let bench = Bench { service, session };
    bench.accepts_signed("17 s old", &bench.proof().iat_offset(-17)).await;
    bench.refuses_signed("21 s old", &bench.proof().iat_offset(-21)).await;
    bench.accepts_signed("3 s ahead", &bench.proof().iat_offset(3)).await;
    bench.refuses_signed("6 s ahead", &bench.proof().iat_offset(6)).await;
}

both_stores!(an_old_proof_is_refused, a_clock_that_is_a_little_fast_is_tolerated, the_window_is_configured,);
