//! Real redis-server processes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

/// A redis-server on a free loopback port; it is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl RedisServer {
    /// Starts one with these options in addition to `noeviction`, and waits until it answers.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(options: &[&str]) -> Self {
        let server = Self {
            directory: TempDir::new().expect("a temporary directory"),
            port: crate::service::free_address().port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            child: Mutex::new(None),
        };
        server.restart().await;
        server
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts the process again on the same port with the data it left.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn restart(&self) {
        let directory: PathBuf = self.directory.path().to_owned();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction", "--port", &self.port.to_string(), "--dir"])
            .arg(directory)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        *self.child.lock().expect("no test panics while it holds the child") = Some(child);
        for _ in 0..500 {
            if self.command(&["PING"]).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server did not start");
    }

    /// Ends the process at once.
    ///
    /// # Panics
    /// Never while no test panicked inside this type.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("no test panics while it holds the child").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Forgets everything.
    ///
    /// # Panics
    /// Where the server does not answer.
    pub async fn flushall(&self) {
        self.command(&["FLUSHALL"]).await.expect("FLUSHALL");
    }

    async fn command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
