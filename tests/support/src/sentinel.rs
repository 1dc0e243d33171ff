//! A watched Redis: a primary, replicas and three sentinels, each a real process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::redis::{RedisServer, free_port};
use crate::time::Stopwatch;

/// The name under which the sentinels know the primary.
pub const MASTER: &str = "keybound-test";

/// Servers that replicate and sentinels that watch them. All end when this is dropped.
#[derive(Debug)]
pub struct WatchedRedis {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl WatchedRedis {
    /// Starts one primary with this many replicas, and three sentinels that declare it down after 500 ms; waits until they know each other.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn start(replicas: usize) -> Self {
        Self::start_servers(replicas, async |options| RedisServer::start(options).await).await
    }

    /// The same with a relay in front of each server, through which everybody reaches it.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn start_relayed(replicas: usize) -> Self {
        Self::start_servers(replicas, async |options| RedisServer::start_relayed(options).await).await
    }

    async fn start_servers(replicas: usize, start: impl AsyncFn(&[&str]) -> RedisServer) -> Self {
        let options = ["--appendonly", "yes", "--appendfsync", "no", "--repl-diskless-sync-delay", "0", "--repl-timeout", "5"];
        let primary = start(&options).await;
        let port = primary.face().to_string();
        let mut servers = vec![primary];
        for _ in 0..replicas {
            let mut own = options.to_vec();
            own.extend(["--replicaof", "127.0.0.1", &port]);
            servers.push(start(&own).await);
        }
        let mut watched = Self { servers, sentinels: Vec::new() };
        for _ in 0..3 {
            watched.sentinels.push(Sentinel::start(&port));
        }
        let others = "num-other-sentinels".to_owned();
        watched.until("the sentinels know each other and the replicas", |told| {
            let number = |name: &str| told.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse::<usize>().ok());
            number(&others) == Some(2) && number("num-slaves") == Some(replicas)
        });
        watched.until_replicated(replicas).await;
        watched
    }

    /// The sentinels, as the configuration names them.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port)).collect()
    }

    /// The server that the sentinels name.
    ///
    /// # Panics
    /// Where they name none of these.
    pub fn primary(&self) -> &RedisServer {
        let port = self.named_port().expect("the sentinels name a primary");
        self.servers.iter().find(|server| server.face() == port).unwrap_or_else(|| panic!("no server has port {port}"))
    }

    /// Ends the primary with SIGKILL and waits until the sentinels name another one, which says that it is one.
    ///
    /// # Panics
    /// Where that takes longer than 20 s.
    pub async fn fail_over(&self) {
        let before = self.primary();
        before.kill();
        self.until_moved_from(before.face()).await;
    }

    /// Waits until the sentinels name another primary than the one on this port, and it says that it is one.
    ///
    /// # Panics
    /// Where that takes longer than 20 s.
    pub async fn until_moved_from(&self, port: u16) {
        let watch = Stopwatch::start();
        loop {
            if self.named_port().is_some_and(|named| named != port) && self.primary().info("role").await == "master" {
                return;
            }
            assert!(watch.elapsed() < Duration::from_secs(20), "the sentinels name no new primary");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts every server that is down, and waits until this many replicas follow the primary without delay.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn heal(&self, replicas: usize) {
        for server in &self.servers {
            if server.is_down() {
                server.restart().await;
            }
        }
        self.until_replicated(replicas).await;
    }

    /// Waits until this many replicas are connected to the primary.
    ///
    /// # Panics
    /// Where that takes longer than 30 s.
    pub async fn until_replicated(&self, replicas: usize) {
        let watch = Stopwatch::start();
        loop {
            let primary = self.primary();
            let mut online = 0;
            for number in 0..replicas {
                if primary.info_or(&format!("slave{number}"), "").await.contains("state=online") {
                    online += 1;
                }
            }
            if online >= replicas {
                return;
            }
            assert!(watch.elapsed() < Duration::from_secs(30), "only {online} of {replicas} replicas follow the primary");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The servers, the first primary first.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    fn named_port(&self) -> Option<u16> {
        self.sentinels.iter().find_map(|sentinel| {
            let told = sentinel.told();
            told.iter().find(|(name, _)| name == "port").and_then(|(_, value)| value.parse().ok())
        })
    }

    fn until(&self, what: &str, holds: impl Fn(&[(String, String)]) -> bool) {
        let watch = Stopwatch::start();
        while !self.sentinels.iter().all(|sentinel| holds(&sentinel.told())) {
            assert!(watch.elapsed() < Duration::from_secs(30), "it does not come about that {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Sentinel {
    fn start(primary: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 2000\nsentinel parallel-syncs {MASTER} 2\n",
            folder.path().display()
        );
        std::fs::write(&file, text).expect("the configuration of a sentinel");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server is installed and on the PATH");
        Self { port, child, _folder: folder }
    }

    /// What it says of the primary; nothing where it does not answer.
    fn told(&self) -> Vec<(String, String)> {
        let Ok(client) = ::redis::Client::open(format!("redis://127.0.0.1:{}", self.port)) else { return Vec::new() };
        let Ok(mut connection) = client.get_connection_with_timeout(Duration::from_secs(1)) else { return Vec::new() };
        let words: Vec<String> = ::redis::cmd("SENTINEL").arg("MASTER").arg(MASTER).query(&mut connection).unwrap_or_default();
        words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Nothing is left to do about a child that is already gone.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
