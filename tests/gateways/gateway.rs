//! The gateways as processes, with the very files of `deploy/gateways`: only addresses are replaced.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use keybound_testkit::service::free_address;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Which gateway, and how it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
    EnvoyHttp,
    EnvoyGrpc,
    Haproxy,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::EnvoyHttp => "envoy-http",
            Self::EnvoyGrpc => "envoy-grpc",
            Self::Haproxy => "haproxy",
        }
    }

    /// The file it is started with.
    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Caddy => "Caddyfile",
            Self::EnvoyHttp | Self::EnvoyGrpc => "envoy.yaml",
            Self::Haproxy => "haproxy.cfg",
        }
    }
}

/// The addresses that a gateway needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Keybound's gateway listeners: over gRPC for [`Kind::EnvoyGrpc`]. Only nginx takes more than one here.
    pub(crate) keybound: Vec<SocketAddr>,
    /// The API.
    pub(crate) api: SocketAddr,
}

/// A running gateway. The process is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where clients call it.
    pub(crate) address: SocketAddr,
    /// The process.
    pub(crate) child: Child,
    folder: TempDir,
}

impl Gateway {
    /// Starts a gateway and waits until it accepts connections.
    pub(crate) async fn start(kind: Kind, addresses: &Addresses) -> Self {
        let mut last = String::new();
        for _ in 0..5 {
            match Self::launch(kind, addresses).await {
                Ok(gateway) => return gateway,
                // Another process may have taken the port in between.
                Err(log) if log.to_lowercase().contains("in use") => last = log,
                Err(log) => panic!("{kind:?} does not start:\n{log}"),
            }
        }
        panic!("{kind:?} does not start:\n{last}");
    }

    async fn launch(kind: Kind, addresses: &Addresses) -> Result<Self, String> {
        let folder = TempDir::new().expect("a temporary directory");
        let listen = free_address();
        copy(kind, folder.path(), listen, addresses);
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut command = command(kind, folder.path());
        command
            .current_dir(folder.path())
            .env("LISTEN", listen.to_string())
            .env("LISTEN_PORT", listen.port().to_string())
            .env("KEYBOUND", addresses.keybound[0].to_string())
            .env("API", addresses.api.to_string())
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{kind:?} does not run: {error}; tests/run installs it"));
        let mut gateway = Self { address: listen, child, folder };
        for _ in 0..3000 {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                return Err(format!("{status}\n{}", gateway.log()));
            }
            if TcpStream::connect(listen).await.is_ok() {
                return Ok(gateway);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("no connection after 30 s\n{}", gateway.log()))
    }

    /// What the process printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // nginx ends its workers where it is asked to end; a killed master leaves them.
        let _sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(kind: Kind, folder: &Path) -> Command {
    let file = folder.join(kind.file());
    match kind {
        Kind::Nginx => {
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr", "-g", "daemon off;"]);
            command
        }
        Kind::Caddy => {
            let mut command = Command::new(installed().join("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command
        }
        Kind::EnvoyHttp | Kind::EnvoyGrpc => {
            let mut command = Command::new(installed().join("envoy"));
            command.arg("-c").arg(file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
            command
        }
        Kind::Haproxy => {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(file);
            command
        }
    }
}

/// Copies the files of `deploy/gateways`. Caddy and HAProxy read addresses from the environment; in the files of the others they are
/// replaced.
fn copy(kind: Kind, folder: &Path, listen: SocketAddr, addresses: &Addresses) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateways").join(kind.folder());
    fs::create_dir(folder.join("logs")).expect("a folder for logs");
    for entry in fs::read_dir(&source).expect("the shipped files") {
        let path = entry.expect("a shipped file").path();
        let text = fs::read_to_string(&path).expect("a text");
        let text = match kind {
            Kind::Nginx => {
                let nodes: Vec<String> = addresses.keybound.iter().map(|address| format!("server {address};")).collect();
                text.replace("server 127.0.0.1:8081;", &nodes.join(" "))
                    .replace("127.0.0.1:9000", &addresses.api.to_string())
                    .replace("listen 8000;", &format!("listen {listen};"))
            }
            Kind::EnvoyHttp | Kind::EnvoyGrpc => {
                let keybound = format!("port_value: {} ", addresses.keybound[0].port());
                text.replace("port_value: 8000 ", &format!("port_value: {} ", listen.port()))
                    .replace("port_value: 9000 ", &format!("port_value: {} ", addresses.api.port()))
                    .replace("port_value: 8081 ", &keybound)
                    .replace("port_value: 8083 ", &keybound)
            }
            Kind::Caddy | Kind::Haproxy => text,
        };
        fs::write(folder.join(path.file_name().expect("a name")), text).expect("the copy is written");
    }
}

/// Where Caddy and Envoy are installed.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateways");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/install");
        let status = Command::new(script).arg(&target).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "Caddy and Envoy can't be installed: {status:?}");
        target.join("bin")
    })
}
