//! Real redis-server processes.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisResult, Value};
use tempfile::TempDir;

use crate::relay::Relay;

/// A redis-server of its own on a free loopback port, with a temporary folder for its data. It ends when this is dropped.
///
/// It keeps nothing on disk unless an option says so: `--appendonly yes --appendfsync always` makes it durable.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    child: Mutex<Option<Child>>,
    relay: Option<Relay>,
}

impl RedisServer {
    /// Starts one with `noeviction` and these further options, and waits until it answers.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(options: &[&str]) -> Self {
        for _ in 0..20 {
            let server = Self {
                folder: TempDir::new().expect("a temporary folder"),
                port: free_port(),
                options: options.iter().map(|&option| option.to_owned()).collect(),
                child: Mutex::new(None),
                relay: None,
            };
            // Another process may have taken the port since.
            if server.launch().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// The same behind a relay, through which it has others reach it: clients, replicas, sentinels.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start_relayed(options: &[&str]) -> Self {
        let relay = Relay::to(0).await;
        let face = relay.port().to_string();
        let mut own = options.to_vec();
        own.extend(["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &face]);
        if options.contains(&"--cluster-enabled") {
            own.extend(["--cluster-announce-port", &face]);
        }
        let mut server = Self::start(&own).await;
        relay.lead_to(server.port);
        server.relay = Some(relay);
        server
    }

    /// The relay in front of it.
    ///
    /// # Panics
    /// Where there is none.
    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it was started behind a relay")
    }

    /// The port at which others know it: that of the relay, where there is one.
    pub fn face(&self) -> u16 {
        self.relay.as_ref().map_or(self.port, Relay::port)
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, also while it is down.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the process again on the same port with the data it left; ends it before where it runs.
    ///
    /// # Panics
    /// Where it does not start, or the port is not free for a while.
    pub async fn restart(&self) {
        self.kill();
        for _ in 0..20 {
            if self.launch().await {
                return;
            }
            // Another test may hold the port for a moment.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("redis-server does not start again on its port");
    }

    /// Starts the process and waits until it, and no other server, answers on the port; tells whether it does.
    async fn launch(&self) -> bool {
        // `REDIS_SERVER` names another program, say a newer version or `valkey-server`.
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed and on the PATH");
        let ours = format!("process_id:{}", child.id());
        *self.child.lock().expect("nobody panics while holding the process") = Some(child);
        for _ in 0..1000 {
            if let Ok(Value::BulkString(info)) = self.command(&["INFO", "server"]).await
                && String::from_utf8_lossy(&info).lines().any(|line| line == ours)
                && self.command(&["PING"]).await.is_ok()
            {
                return true;
            }
            let exited = match &mut *self.child.lock().expect("nobody panics while holding the process") {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => true,
            };
            if exited {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Starts the process again on the same port, with nothing of what it held.
    ///
    /// # Panics
    /// Where it does not start, or its data can't be removed.
    pub async fn restart_empty(&self) {
        self.kill();
        for entry in std::fs::read_dir(self.folder.path()).expect("the folder is there") {
            let path = entry.expect("an entry of the folder").path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("the data can be removed");
        }
        self.restart().await;
    }

    /// Asks the process to end, which lets it write what it must, and waits for it.
    ///
    /// # Panics
    /// Where it can't be waited for.
    pub async fn stop(&self) {
        let _ = self.command(&["SHUTDOWN"]).await;
        if let Some(mut child) = self.child.lock().expect("nobody panics while holding the process").take() {
            child.wait().expect("the process can be waited for");
        }
    }

    /// Ends the process at once, by SIGKILL.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("nobody panics while holding the process").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process where it stands (`true`), or lets it go on: it keeps its connections and answers nothing meanwhile.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn freeze(&self, frozen: bool) {
        let child = self.child.lock().expect("nobody panics while holding the process");
        let pid = child.as_ref().expect("the server runs").id().to_string();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill is on the PATH").success());
    }

    /// Makes the server forget everything.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn flushall(&self) {
        self.command(&["FLUSHALL"]).await.expect("FLUSHALL");
    }

    /// Changes the configuration of the running server.
    ///
    /// # Panics
    /// Where it refuses.
    pub async fn config_set(&self, name: &str, value: &str) {
        self.command(&["CONFIG", "SET", name, value]).await.expect("CONFIG SET");
    }

    /// One value of `INFO`.
    ///
    /// # Panics
    /// Where the server does not answer or does not tell it.
    pub async fn info(&self, name: &str) -> String {
        let Ok(Value::BulkString(text)) = self.command(&["INFO", "everything"]).await else { panic!("INFO failed") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        value.unwrap_or_else(|| panic!("INFO has no {name}"))
    }

    /// The same, and this where there is none.
    ///
    /// # Panics
    /// Where the server does not answer.
    pub async fn info_or(&self, name: &str, otherwise: &str) -> String {
        let Ok(Value::BulkString(text)) = self.command(&["INFO", "everything"]).await else { panic!("INFO failed") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        value.unwrap_or_else(|| otherwise.to_owned())
    }

    /// Waits until this replica has everything that `primary` has.
    ///
    /// # Panics
    /// Where that takes longer than 20 s.
    pub async fn until_replicated_from(&self, primary: &Self) {
        for _ in 0..1000 {
            let wanted = primary.info("master_repl_offset").await;
            if self.info_or("slave_repl_offset", "").await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the replica does not catch up");
    }

    /// Whether the process was ended and not started again.
    ///
    /// # Panics
    /// Never, as long as no test panics inside this type.
    pub fn is_down(&self) -> bool {
        self.child.lock().expect("nobody panics while holding the process").is_none()
    }

    /// Sends one command over a connection of its own, with the password that the options set.
    ///
    /// # Errors
    /// What the server or the connection says.
    pub async fn command<A: AsRef<[u8]>>(&self, words: &[A]) -> RedisResult<Value> {
        let mut info = self.url().into_connection_info()?;
        if let Some(at) = self.options.iter().position(|option| option == "--requirepass") {
            let settings = info.redis_settings().clone().set_password(&self.options[at + 1]);
            info = info.set_redis_settings(settings);
        }
        let client = Client::open(info)?;
        let patience = Some(Duration::from_secs(10));
        let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(word.as_ref());
        }
        match connection.send_packed_command(&command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nothing listens on, below the range from which the system takes ports for outgoing connections: so it stays
/// free while a server is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 1000).unwrap_or(0) * 16;
    for _ in 0..4000 {
        let port = 15_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 16_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
