//! `cargo bench`: where the time of a refresh and of a gateway's question goes, in CPU time and in ratios.
//!
//! Two yardsticks are measured in the same run: the floor (one ES256 verification and one ES256 signature by the fastest backend)
//! and the bare server (an HTTP server that does the floor's signatures and nothing else). CPU time of server processes is read
//! from the kernel, user and system, so that neither the load generator nor a busy machine is counted. Servers have the first core to
//! themselves, and everything else has the others. Medians of several rounds.

mod bare;
mod floor;
// nginx with the shipped configuration, and an API behind it.
#[path = "../../tests/gateways/gateway.rs"]
#[allow(dead_code, reason = "the tests start other gateways too")]
mod gateway;
mod load;
#[path = "../../tests/gateways/upstream.rs"]
#[allow(dead_code, reason = "the tests look closer at what the API got")]
mod upstream;
mod verify;

use keybound_testkit::service::Store;

/// Rounds; the median counts.
const ROUNDS: usize = 5;

fn main() {
    if let Some(address) = std::env::var_os("KEYBOUND_BARE_SERVER") {
        bare::serve(&address.to_string_lossy());
        return;
    }
    load::leave_the_first_core();
    let floor = floor::measure();
    println!("microseconds of CPU time, servers on one core, medians of {ROUNDS} rounds\n");
    println!("{:<44}{:>8.1}", "ES256 verification, aws-lc", floor.verify);
    println!("{:<44}{:>8.1}", "ES256 signature, aws-lc", floor.sign);
    println!("{:<44}{:>8.1}", "floor of a refresh (both)", floor.refresh());
    println!("{:<44}{:>8.1}", "proof, parsed and verified, aws-lc", floor.proof_aws_lc);
    println!("{:<44}{:>8.1}", "proof, parsed and verified, portable", floor.proof_portable);
    println!("{:<44}{:>8.2}", "  portable / aws-lc", floor.proof_portable / floor.proof_aws_lc);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let bare = runtime.block_on(load::bare_server());
    let embedded = runtime.block_on(load::refreshes(Store::Embedded, "accounts"));
    let redis = runtime.block_on(load::refreshes(Store::Redis, "accounts"));
    let with_id_token = runtime.block_on(load::refreshes(Store::Embedded, "accounts openid"));
    println!("{:<44}{:>8.1}", "bare server, per request", bare);
    println!("{:<44}{:>8.2}", "  bare server / floor", bare / floor.refresh());
    for (name, measured, budget) in [("refresh, embedded store", embedded, 1.25), ("refresh, Redis", redis, 1.6)] {
        println!("{name:<44}{measured:>8.1}");
        println!("{:<44}{:>8.2}", "  / floor", measured / floor.refresh());
        println!("{:<44}{:>8.2}   (budget {budget})", "  / bare server", measured / bare);
    }
    println!("{:<44}{:>8.1}", "refresh with an ID token, embedded store", with_id_token);

    let bare = runtime.block_on(load::bare_verifier());
    println!("\n{:<44}{:>8.1}", "bare server with one verification", bare);
    println!("{:<44}{:>8.2}", "  bare server / floor", bare / floor.verify);
    for (name, store, budget) in [("embedded store", Store::Embedded, 1.25), ("Redis", Store::Redis, 1.7)] {
        let direct = runtime.block_on(verify::verifications(store, false));
        println!("{:<44}{:>8.1}", format!("gateway's question, {name}"), direct.keybound);
        println!("{:<44}{:>8.2}", "  / floor", direct.keybound / floor.verify);
        println!("{:<44}{:>8.2}   (budget {budget})", "  / bare server", direct.keybound / bare);
        let whole = runtime.block_on(verify::verifications(store, true));
        println!("{:<44}{:>8.1}", "  the same, asked by nginx before an API", whole.keybound);
        println!("{:<44}{:>8.1}", "  nginx itself, question and API", whole.nginx);
        println!("{:<44}{:>8.0}", "  calls per second, load generator included", whole.rate);
    }
}

/// The middle one of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
