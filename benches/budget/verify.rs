//! Calls of an API that are checked.

use keybound_testkit::http::{Connection, Request};
use keybound_testkit::service::{Service, Settings, Store};
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Dialect, Verify};

use crate::gateway::{Addresses, Gateway, Kind};
use crate::load::{CONNECTIONS, REQUESTS, cpu_micros, pinned};
use crate::upstream::Upstream;
use crate::{ROUNDS, median};

/// What a verification costs.
pub(crate) struct Verification {
    /// CPU time of Keybound per call, in microseconds.
    pub(crate) keybound: f64,
    /// CPU time of nginx per call, in microseconds, where it stands before the API.
    pub(crate) nginx: f64,
    /// Calls per second on this machine, the load generator included.
    pub(crate) rate: f64,
}

/// Calls that are checked: with `through_nginx` by nginx with the shipped configuration, before an API; otherwise by asking the gateway
/// listener directly, as nginx does.
pub(crate) async fn verifications(store: Store, through_nginx: bool) -> Verification {
    const ORIGIN: &str = "https://api.example.com";
    let resource = serde_json::json!([{"id": "api", "url": format!("{ORIGIN}/accounts"), "audience": ORIGIN, "scopes": ["accounts"]}]);
    let folder = tempfile::tempdir().expect("a directory");
    let service = Service::start(pinned(folder.path()), store, Settings::default().with("resource", resource)).await;
    let api = Upstream::start().await;
    let addresses = Addresses { keybound: vec![service.gateway], api: api.address };
    let nginx = if through_nginx { Some(Gateway::start(Kind::Nginx, &addresses).await) } else { None };
    let address = nginx.as_ref().map_or(service.gateway, |nginx| nginx.address);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut session = service.session("spa").await;
        let tokens = session.rotate(&service).await;
        let token = tokens["access_token"].as_str().expect("an access token").to_owned();
        clients.push((session.key, token, Connection::new(address)));
    }
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let watch = Stopwatch::start();
        let before = (cpu_micros(service.pid()), nginx.as_ref().map_or(0.0, workers_micros));
        let mut tasks = tokio::task::JoinSet::new();
        for (key, token, mut connection) in clients.drain(..) {
            tasks.spawn(async move {
                for number in 0..REQUESTS {
                    let url = format!("{ORIGIN}/accounts/{number}");
                    let proof = Verify::proof_for("GET", &url, &token, &key).sign(&key);
                    let request = if through_nginx {
                        let request = Request::new("GET", &url[ORIGIN.len()..]).header("Host", "api.example.com");
                        request.header("Authorization", format!("DPoP {token}")).header("DPoP", proof)
                    } else {
                        Verify::new("GET", &url).token(&token).proof(proof).request(Dialect::Nginx)
                    };
                    let answer = connection.send(&request).await.expect("an answer");
                    assert_eq!(answer.status, 200, "{answer}");
                }
                (key, token, connection)
            });
        }
        clients = tasks.join_all().await;
        let calls = (CONNECTIONS * REQUESTS) as f64;
        let after = (cpu_micros(service.pid()), nginx.as_ref().map_or(0.0, workers_micros));
        rounds.push(((after.0 - before.0) / calls, (after.1 - before.1) / calls, calls / watch.elapsed().as_secs_f64()));
    }
    let rounds = rounds.split_off(1);
    let column = |pick: fn(&(f64, f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    Verification { keybound: column(|round| round.0), nginx: column(|round| round.1), rate: column(|round| round.2) }
}

/// User and system time of the workers of nginx so far, in microseconds.
fn workers_micros(nginx: &Gateway) -> f64 {
    let pid = nginx.child.id();
    let workers = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("the children of nginx");
    workers.split_whitespace().filter_map(|worker| worker.parse().ok()).map(cpu_micros).sum()
}
