//! Running the program.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The program, without any of the variables that it would read.
pub(crate) fn keybound() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYBOUND") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run<const N: usize>(arguments: [&str; N]) -> Finished {
    Finished::of(keybound().args(arguments))
}

/// How a run ended.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        Self { code: status.code(), stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
    }

    /// What was printed, if the run succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What was said, if the run failed with `code`.
    pub(crate) fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The service as a process of its own, in a directory of its own.
pub(crate) struct Service {
    child: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) issuer: String,
    pub(crate) management: String,
}

pub(crate) const MANAGEMENT_TOKEN: &str = "a-management-token-for-tests";

impl Service {
    /// Starts it and waits until it says that it is ready. `more` goes to the end of the configuration.
    pub(crate) fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [public, management] = free_ports();
        let issuer = format!("http://127.0.0.1:{public}");
        let config = directory.path().join("keybound.toml");
        let token_file = directory.path().join("management-token");
        std::fs::write(&token_file, MANAGEMENT_TOKEN).unwrap();
        let text = format!(
            "issuer = \"{issuer}\"\n[listen]\npublic = \"127.0.0.1:{public}\"\nmanagement = \"127.0.0.1:{management}\"\n\
             [management]\ntoken_file = \"{}\"\n[store]\npath = \"{}\"\n{more}\n",
            token_file.display(),
            directory.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = keybound().arg("serve").arg("--config").arg(&config).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready")), "the service ended before it was ready");
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, directory, issuer, management: format!("http://127.0.0.1:{management}") }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command that talks to the management listener.
    pub(crate) fn operator<const N: usize>(&self, arguments: [&str; N]) -> Finished {
        let mut command = keybound();
        command.args(arguments).env("KEYBOUND_MANAGEMENT", &self.management).env("KEYBOUND_MANAGEMENT_TOKEN", MANAGEMENT_TOKEN);
        Finished::of(&mut command)
    }

    /// Asks it to stop and waits for the end.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have been stopped before.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [_; N] = std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A file of this repository.
pub(crate) fn repository_file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
