//! Load on servers that run as processes of their own.

use std::process::{Child, Command};

use keybound_testkit::http::{Connection, Request};
use keybound_testkit::service::{Service, Settings, Store, free_address};
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Dialect, Verify};

use crate::gateway::{Addresses, Gateway, Kind};
use crate::upstream::Upstream;
use crate::{ROUNDS, median};

/// Keep-alive connections.
const CONNECTIONS: usize = 64;
/// Requests per connection and round.
const REQUESTS: usize = 60;

/// CPU time of the bare server per request, in microseconds: for a refresh.
pub(crate) async fn bare_server() -> f64 {
    let body = vec![b'b'; 300];
    bare(&Request::new("POST", "/").header("DPoP", vec![b'd'; 640]).body("application/x-www-form-urlencoded", body)).await
}

/// CPU time of the bare server per request, in microseconds: for a verification.
pub(crate) async fn bare_verifier() -> f64 {
    bare(&Request::new("GET", "/").header("DPoP", vec![b'd'; 640]).header("Authorization", vec![b'a'; 700])).await
}

async fn bare(request: &Request) -> f64 {
    let address = free_address();
    let own = std::env::current_exe().expect("the path of this bench");
    let server = Running(Command::new(own).env("KEYBOUND_BARE_SERVER", address.to_string()).spawn().expect("the bare server starts"));
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::new(address)).collect();
    // The first connection also waits until the server listens.
    while connections[0].send(request).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let before = cpu_micros(server.0.id());
        let mut tasks = tokio::task::JoinSet::new();
        for mut connection in connections.drain(..) {
            let request = request.clone();
            tasks.spawn(async move {
                for _ in 0..REQUESTS {
                    connection.send(&request).await.expect("an answer");
                }
                connection
            });
        }
        connections = tasks.join_all().await;
        rounds.push((cpu_micros(server.0.id()) - before) / (CONNECTIONS * REQUESTS) as f64);
    }
    // The first round warms up.
    median(rounds.split_off(1))
}

/// CPU time of Keybound per refresh, in microseconds.
pub(crate) async fn refreshes(store: Store) -> f64 {
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), store, Settings::default()).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push((service.session("spa").await, service.connect()));
    }
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let before = cpu_micros(service.pid());
        let mut tasks = tokio::task::JoinSet::new();
        for (mut session, mut connection) in clients.drain(..) {
            tasks.spawn(async move {
                for _ in 0..REQUESTS {
                    let answer = session.refresh().send_on(&mut connection).await.expect("an answer");
                    session.keep(&answer.tokens());
                }
                (session, connection)
            });
        }
        clients = tasks.join_all().await;
        rounds.push((cpu_micros(service.pid()) - before) / (CONNECTIONS * REQUESTS) as f64);
    }
    median(rounds.split_off(1))
}

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
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), store, Settings::default().with("resource", resource)).await;
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

/// User and system time of a process so far, in microseconds.
fn cpu_micros(pid: u32) -> f64 {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process") {
        let path = thread.expect("a thread").path().join("schedstat");
        // A thread may end while the list is read; its time is then lost, which the median forgives.
        if let Ok(stat) = std::fs::read_to_string(path) {
            nanos += stat.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanos as f64 / 1000.0
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to do about a child that is already gone.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}
