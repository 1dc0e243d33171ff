//! The suite on a server of its own: on the correct one everything is refused, and each broken rule is found by the attack that is named
//! for it. A check that was never seen to fail proves nothing.

use std::collections::BTreeSet;

use keybound_attack::{Catalogue, Client, ClientAuth, Key, Options, Outcome, Report, Restart, RunError, Severity, TokenSource};

mod fault;
mod http;
mod json;
mod proof;
mod server;

use fault::{FAULTS, Fault, TOLD_BY_STORIES};
use server::{REDIRECT_URI, SECRET, Server, Setup};

/// A window and a tolerance so short that what waits for them can run in a test.
const SHORT: (i64, i64) = (4, 3);
/// Those of Keybound.
const USUAL: (i64, i64) = (60, 10);

/// A step of nonces that a test can wait for.
const NONCE_STEP: i64 = 3;

struct Bench {
    server: Server,
    options: Options,
}

fn bench(setup: Setup, with_key: bool, (window, skew): (i64, i64)) -> Bench {
    let key = Key::es256();
    let nonce_step = setup.nonce_step;
    let setup = Setup { machine_key: with_key.then(|| key.jwk()), window, skew, ..setup };
    let server = Server::start(setup);
    let auth = if with_key { ClientAuth::Assertion(key, None) } else { ClientAuth::Basic(SECRET.to_owned()) };
    let url = |text: String| text.parse().expect("a URL");
    let options = Options {
        machine: Some(Client { id: "machine".to_owned(), auth }),
        app: Some(Client::public("app")),
        other: Some(Client::public("other")),
        scope: "openid accounts".to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        tokens: TokenSource::SignIn("alice".to_owned()),
        // Named, so that its nonces are known to be those of another role.
        resource: Some(url(format!("http://{}/oauth/userinfo", server.first))),
        refresh_endpoint: Some(url(format!("http://{}/oauth/refresh", server.first))),
        peer: Some(url(format!("http://{}", server.second))),
        restart: Some(Restart::new(server.restarter())),
        window_s: window,
        skew_s: skew,
        nonce_life_s: nonce_step.map(|step| u32::try_from(2 * step).expect("a few seconds")),
        ..Options::new(url(format!("http://{}", server.first)))
    };
    Bench { server, options }
}

impl Bench {
    async fn run(&self, only: &[&str], slow: bool) -> Report {
        let only = only.iter().map(|id| (*id).to_owned()).collect();
        let options = Options { only, slow, ..self.options.clone() };
        keybound_attack::run(options, &|_, _, _| ())
            .await
            .unwrap_or_else(|error| panic!("the suite can't run on {}: {error}", self.server.first))
    }
}

fn refused(report: &Report) -> Vec<String> {
    report.findings.iter().filter(|finding| finding.outcome == Outcome::Refused).map(|finding| finding.id.clone()).collect()
}

fn outcome(report: &Report, id: &str) -> Outcome {
    report.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("{id} did not run")).outcome
}

/// Every attack runs at least once, and is refused, on a server that has everything: the code path of each is covered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_correct_server_refuses_the_whole_catalogue() {
    let mut ran = BTreeSet::new();
    let brief = bench(Setup { nonces: true, nonce_step: Some(NONCE_STEP), ..Setup::default() }, true, USUAL);
    let outlived = tokio::spawn(async move { brief.run(&["NON-018"], true).await });
    for (with_key, nonces, slow) in [(true, false, true), (false, false, false), (true, true, false)] {
        let mut bench = bench(Setup { nonces, ..Setup::default() }, with_key, if slow { SHORT } else { USUAL });
        if !with_key {
            // What is not named is userinfo, of which the suite knows that it is not for machines.
            bench.options.resource = None;
        }
        let report = bench.run(&[], slow).await;
        println!("{}", report.table(false));
        assert!(!report.fails(Severity::Info), "{}", report.table(false));
        ran.extend(refused(&report));
    }
    ran.extend(refused(&outlived.await.expect("it does not panic")));
    let catalogue = Catalogue::new();
    let all: BTreeSet<String> = catalogue.attacks.iter().map(|attack| attack.id.clone()).collect();
    let missed: Vec<&String> = all.difference(&ran).collect();
    assert!(missed.is_empty(), "never ran: {missed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_broken_rule_is_found_by_the_attack_that_is_named_for_it() {
    let mut missed = Vec::new();
    for (fault, id) in FAULTS.iter().chain(TOLD_BY_STORIES) {
        let with_key = !matches!(fault, Fault::FirstHeaderOnly);
        let window = if matches!(fault, Fault::LifetimeShortBySkew) { SHORT } else { USUAL };
        let nonces = matches!(fault, Fault::NonceOfOtherRole | Fault::NonceForEver);
        let nonce_step = matches!(fault, Fault::NonceForEver).then_some(NONCE_STEP);
        let bench = bench(Setup { fault: Some(*fault), nonces, nonce_step, ..Setup::default() }, with_key, window);
        let report = bench.run(&[id], true).await;
        let finding = report.findings.iter().find(|finding| finding.id == *id).expect("it ran");
        println!("{fault:?}: {id} {}: {}", finding.outcome.words(), finding.detail);
        if outcome(&report, id) != Outcome::Breach {
            missed.push(format!("{fault:?} by {id}: {} {}", finding.outcome.words(), finding.detail));
        }
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_everything_passes_nothing() {
    // Its window is so narrow that no proof is ever in time.
    let server = Server::start(Setup { window: -3600, skew: -3600, ..Setup::default() });
    let options = Options {
        machine: Some(Client { id: "machine".to_owned(), auth: ClientAuth::Basic(SECRET.to_owned()) }),
        ..Options::new(format!("http://{}", server.first).parse().expect("a URL"))
    };
    let refused = keybound_attack::run(options, &|_, _, _| ()).await;
    assert!(matches!(refused, Err(RunError::NoHonestRequest(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_tells_the_same_story() {
    let bench = bench(Setup { fault: Some(Fault::RefreshKeyUnchecked), ..Setup::default() }, true, USUAL);
    let story = |report: &Report| {
        report.findings.iter().find(|finding| finding.id == "STO-001").map(|finding| finding.detail.clone()).unwrap_or_default()
    };
    let (first, second) = (bench.run(&["STO-001"], false).await, bench.run(&["STO-001"], false).await);
    let told = |text: &str| text.split("The story: ").nth(1).map(str::to_owned);
    assert!(told(&story(&first)).is_some_and(|told| !told.is_empty()), "{}", story(&first));
    assert_eq!(told(&story(&first)), told(&story(&second)));
    assert_eq!(told(&story(&first)).as_deref(), Some("a thief shows the newest refresh token with another key"), "shrunk to one step");
}
