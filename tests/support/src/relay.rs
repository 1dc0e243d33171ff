//! A TCP relay that loses, delays and holds back what it carries: a network that a test decides about.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// A relay in front of one loopback port. It ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: AtomicU16,
    held: watch::Sender<bool>,
    answers_held: watch::Sender<bool>,
    delay: Mutex<Duration>,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicUsize,
    requests: Mutex<Vec<Vec<u8>>>,
    cut: Notify,
}

/// What happens to the next request that holds the marker.
#[derive(Debug)]
struct Trap {
    marker: Vec<u8>,
    /// What is answered in the server's place; nothing where the server's answer is lost.
    answer: Option<Vec<u8>>,
}

impl Relay {
    /// A relay to `upstream` on loopback that carries everything at once.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = Arc::new(State {
            upstream: AtomicU16::new(upstream),
            held: watch::Sender::new(false),
            answers_held: watch::Sender::new(false),
            delay: Mutex::new(Duration::ZERO),
            trap: Mutex::new(None),
            sprung: AtomicUsize::new(0),
            requests: Mutex::new(Vec::new()),
            cut: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, accepting }
    }

    /// The port that the relay listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are made from now on lead to this port.
    pub fn lead_to(&self, upstream: u16) {
        self.state.upstream.store(upstream, Ordering::SeqCst);
    }

    /// The next request that holds `marker` is carried, its answer is thrown away and the connection broken.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn lose_answer_to(&self, marker: impl Into<Vec<u8>>) {
        *self.state.trap.lock().expect("unpoisoned") = Some(Trap { marker: marker.into(), answer: None });
    }

    /// The next request that holds `marker` is not carried: this is answered in the server's place.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn answer(&self, marker: impl Into<Vec<u8>>, answer: impl Into<Vec<u8>>) {
        *self.state.trap.lock().expect("unpoisoned") = Some(Trap { marker: marker.into(), answer: Some(answer.into()) });
    }

    /// How many answers were thrown away.
    pub fn lost(&self) -> usize {
        self.state.sprung.load(Ordering::SeqCst)
    }

    /// Holds back everything, in both directions, until told otherwise: a partition. Connections stay open.
    pub fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    /// Holds back answers alone, until told otherwise: a connection that is half open.
    pub fn hold_answers(&self, held: bool) {
        self.state.answers_held.send_replace(held);
    }

    /// Carries every packet this much later.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn delay(&self, by: Duration) {
        *self.state.delay.lock().expect("unpoisoned") = by;
    }

    /// Breaks all connections there are.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// The packets of requests carried since the last call.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn take_requests(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.state.requests.lock().expect("unpoisoned"))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, Arc::clone(&state)));
    }
}

async fn carry(client: TcpStream, state: Arc<State>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, state.upstream.load(Ordering::SeqCst))).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let lose = AtomicBool::new(false);
    let (forged, to_forge) = mpsc::unbounded_channel();
    tokio::select! {
        () = carry_requests(from_client, to_server, &state, &lose, &forged) => {}
        () = carry_answers(from_server, to_client, &state, &lose, to_forge) => {}
        () = state.cut.notified() => {}
    }
}

async fn carry_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    lose: &AtomicBool,
    forged: &mpsc::UnboundedSender<Vec<u8>>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let packet = &buffer[..length];
        state.hesitate().await;
        state.requests.lock().expect("unpoisoned").push(packet.to_vec());
        match state.spring_trap(packet) {
            Some(Trap { answer: Some(answer), .. }) => {
                // The other half lives as long as this one.
                let _ = forged.send(answer);
                continue;
            }
            Some(Trap { answer: None, .. }) => lose.store(true, Ordering::SeqCst),
            None => {}
        }
        if to.write_all(packet).await.is_err() {
            return;
        }
    }
}

async fn carry_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    lose: &AtomicBool,
    mut to_forge: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let length = tokio::select! {
            length = from.read(&mut buffer) => length,
            Some(answer) = to_forge.recv() => {
                if to.write_all(&answer).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Ok(length @ 1..) = length else { return };
        state.hesitate().await;
        // The sender lives as long as the state.
        let _ = state.answers_held.subscribe().wait_for(|held| !held).await;
        if lose.load(Ordering::SeqCst) {
            state.sprung.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

impl State {
    async fn hesitate(&self) {
        let delay = *self.delay.lock().expect("unpoisoned");
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The sender lives as long as the state.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    fn spring_trap(&self, packet: &[u8]) -> Option<Trap> {
        let mut trap = self.trap.lock().expect("unpoisoned");
        let found = |trap: &Trap| packet.windows(trap.marker.len()).any(|window| window == trap.marker.as_slice());
        if trap.as_ref().is_some_and(found) { trap.take() } else { None }
    }
}
