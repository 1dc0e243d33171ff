//! Load on servers that run as processes of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use keybound_testkit::Key;
use keybound_testkit::http::{Connection, Request};
use keybound_testkit::service::{Service, Settings, Store, free_address};
use serde_json::json;

use crate::{ROUNDS, median};

/// Keep-alive connections.
pub(crate) const CONNECTIONS: usize = 64;
/// Requests per connection and round.
pub(crate) const REQUESTS: usize = 60;

/// CPU time of the bare server per request, in microseconds: for a refresh.
pub(crate) async fn bare_server() -> f64 {
    let body = vec![b'b'; 300];
    bare(&Request::new("POST", "/").header("DPoP", vec![b'd'; 640]).body("application/x-www-form-urlencoded", body)).await
}

/// CPU time of the bare server per request, in microseconds: for a gateway's question.
pub(crate) async fn bare_verifier() -> f64 {
    bare(&Request::new("GET", "/").header("DPoP", vec![b'd'; 640]).header("Authorization", vec![b'a'; 700])).await
}

async fn bare(request: &Request) -> f64 {
    let address = free_address();
    let own = std::env::current_exe().expect("the path of this bench");
    let server = Running(
        Command::new("taskset")
            .args(["-c", "0"])
            .arg(own)
            .env("KEYBOUND_BARE_SERVER", address.to_string())
            .spawn()
            .expect("the bare server starts"),
    );
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

/// CPU time of Keybound per refresh, in microseconds. With `openid` in the scope each answer has an ID token, which is one more signature.
pub(crate) async fn refreshes(store: Store, scope: &str) -> f64 {
    let folder = tempfile::tempdir().expect("a directory");
    let service = Service::start(pinned(folder.path()), store, Settings::default()).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push((service.session_with("spa", Key::es256(), json!({"scope": scope})).await, service.connect()));
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

/// A program that is Keybound on the first core alone.
pub(crate) fn pinned(folder: &Path) -> PathBuf {
    let program = folder.join("keybound");
    std::fs::write(&program, format!("#!/bin/sh\nexec taskset -c 0 '{}' \"$@\"\n", env!("CARGO_BIN_EXE_keybound"))).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("a script that can be run");
    program
}

/// Moves this process, and what it starts from now on, to the other cores, where there are any.
pub(crate) fn leave_the_first_core() {
    let last = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if last > 1 {
        let cores = format!("1-{}", last - 1);
        let status =
            Command::new("taskset").args(["-acp", &cores, &std::process::id().to_string()]).stdout(std::process::Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "taskset (util-linux) is needed to give the service a core of its own");
    }
}

/// User and system time of a process so far, in microseconds.
pub(crate) fn cpu_micros(pid: u32) -> f64 {
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
