//! `kill -9` under load, twenty times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keybound_testkit::jose::random;
use keybound_testkit::{Connection, Session, Store, both_stores};
use tokio::task::JoinSet;

use crate::start;

const KILLS: usize = 20;
const SESSIONS: usize = 8;

/// A client that refreshes as fast as it can, answers challenges and keeps its token when no answer comes.
struct Worker {
    session: Session,
    /// How many answers with a new refresh token it got: the generation that was acknowledged.
    acknowledged: u64,
    nonce: Option<String>,
}

impl Worker {
    /// Refreshes until `stop`, or until the server is gone.
    async fn work(&mut self, address: SocketAddr, stop: &AtomicBool) {
        let mut connection = Connection::new(address);
        while !stop.load(Ordering::Relaxed) {
            if self.refresh(&mut connection).await.is_err() {
                return;
            }
        }
    }

    /// One refresh, with one retry where a nonce is asked for. An error says that no answer came.
    async fn refresh(&mut self, connection: &mut Connection) -> std::io::Result<()> {
        for _ in 0..2 {
            let call = match &self.nonce {
                Some(nonce) => self.session.refresh().prove_with_nonce(&self.session.key, nonce),
                None => self.session.refresh(),
            };
            let answer = call.send_on(connection).await?;
            if answer.status() == 400 {
                self.nonce = Some(answer.nonce_challenge());
                continue;
            }
            let before = self.session.refresh_token.clone();
            self.session.keep(&answer.tokens());
            assert_ne!(self.session.refresh_token, before, "the successor differs");
            self.acknowledged += 1;
            return Ok(());
        }
        panic!("a nonce just handed out is refused");
    }
}

/// REF-04, BCP-02, BCP-04: no session is lost, no acknowledged revocation is undone, no family has two live ends (G1, G4, G6).
async fn kill_9_under_load_loses_nothing_acknowledged(store: Store) {
    let mut service = start(store).await;
    let mut workers = Vec::new();
    for _ in 0..SESSIONS {
        workers.push(Worker { session: service.session("spa").await, acknowledged: 0, nonce: None });
    }
    let mut ended: Vec<Session> = Vec::new();
    for kill in 0..KILLS {
        let doomed = [service.session("spa").await, service.session("spa").await, service.session("spa").await];
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = JoinSet::new();
        for mut worker in workers.drain(..) {
            let (address, stop) = (service.public, Arc::clone(&stop));
            load.spawn(async move {
                worker.work(address, &stop).await;
                worker
            });
        }
        // Revoke while the others refresh; the crash comes at any moment of it.
        let [moment] = random::<1>();
        tokio::time::sleep(Duration::from_millis(20 + u64::from(moment) / 4)).await;
        for session in doomed.into_iter().take(1 + kill % 3) {
            assert!(matches!(service.revoke(&session.grant_id).await.status, 200 | 204));
            ended.push(session);
        }
        service.kill();
        stop.store(true, Ordering::Relaxed);
        workers = load.join_all().await;
        service.restart().await;

        let nonce = service.nonce().await;
        for session in &ended {
            session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.invalid_grant();
        }
        for worker in &mut workers {
            let listed = service.manage("GET", &format!("/admin/grants?jkt={}", worker.session.key.jkt()), None).await.json();
            let generation = listed["grants"][0]["generation"].as_u64().unwrap_or_else(|| panic!("a session is lost: {listed}"));
            let known = worker.acknowledged;
            assert!(generation == known || generation == known + 1, "acknowledged {known}, stored {generation}, after kill {kill}");
            let call = || worker.session.refresh().prove_with_nonce(&worker.session.key, &nonce);
            let first = call().send(&service).await.tokens();
            let second = call().send(&service).await.tokens();
            assert_eq!(first["refresh_token"], second["refresh_token"], "one live end");
            worker.session.keep(&first);
            worker.acknowledged += 1;
            worker.nonce = Some(nonce.clone());
        }
    }
    let refreshes: u64 = workers.iter().map(|worker| worker.acknowledged).sum();
    println!("{KILLS} kills, {refreshes} acknowledged refreshes, {} acknowledged revocations", ended.len());
    assert!(refreshes > (KILLS * SESSIONS) as u64, "there was load");
}

both_stores!(kill_9_under_load_loses_nothing_acknowledged);
