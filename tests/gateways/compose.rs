//! The gateway and the API of `docker-compose.yml`, with the very files that it mounts, and the script that calls them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keybound_testkit::service::{MANAGEMENT_TOKEN, free_address};
use keybound_testkit::{Service, Settings, Store};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A running nginx, which is asked to end when this is dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _sent = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        let _status = self.0.wait();
    }
}

async fn nginx(folder: &Path, file: &str, replace: &[(&str, String)], listen: std::net::SocketAddr) -> Nginx {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(folder).expect("a folder");
    let copy = |from: std::path::PathBuf, name: &str| {
        let mut text = fs::read_to_string(from).expect("a mounted file");
        for (from, to) in replace {
            text = text.replace(from, to);
        }
        fs::write(folder.join(name), text.replace("/tmp/nginx.pid", &folder.join("pid").display().to_string())).expect("a copy");
    };
    copy(root.join("deploy/compose").join(file), "nginx.conf");
    for name in ["keybound_http.conf", "keybound_server.conf", "keybound_protect.conf"] {
        copy(root.join("deploy/gateways/nginx").join(name), name);
    }
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr", "-g", "daemon off;"]);
    let running = Nginx(command.stdin(Stdio::null()).spawn().expect("nginx is installed; tests/run does it"));
    for _ in 0..3000 {
        if TcpStream::connect(listen).await.is_ok() {
            return running;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nginx does not listen on {listen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_call_passes_the_gateway_once() {
    let mut settings = Settings::loopback();
    let beside: toml::Table = toml::from_str(include_str!("../../deploy/compose/keybound.toml")).expect("TOML");
    for (name, value) in beside {
        settings = settings.with(&name, json!(value));
    }
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, settings).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (api, gateway) = (free_address(), free_address());
    let _api = nginx(&folder.path().join("api"), "api.conf", &[("127.0.0.1:9000", api.to_string())], api).await;
    // The origin stays: it is the one that the proof names.
    let addresses = [
        ("127.0.0.1:8081", service.gateway.to_string()),
        ("127.0.0.1:9000", api.to_string()),
        ("listen 8000;", format!("listen {gateway};")),
    ];
    let _gateway = nginx(&folder.path().join("gateway"), "nginx.conf", &addresses, gateway).await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose/call");
    let output = tokio::process::Command::new(script)
        .env("KEYBOUND_COMMAND", env!("CARGO_BIN_EXE_keybound"))
        .env("DEMO_FOLDER", folder.path())
        .env("ISSUER", format!("http://{}", service.public))
        .env("GATEWAY", format!("http://{gateway}"))
        .env("KEYBOUND_MANAGEMENT", format!("http://{}", service.management))
        .env("KEYBOUND_MANAGEMENT_TOKEN", MANAGEMENT_TOKEN)
        .output()
        .await
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = format!("{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), service.log());
    assert!(output.status.success(), "{told}");
    let (first, second) = said.split_once("== the second time").expect("two answers");
    assert!(first.contains("HTTP/1.1 200") && first.contains("\"of\":\"alice\",\"client\":\"demo-app\""), "{told}");
    assert!(second.contains("HTTP/1.1 401") && second.contains("DPoP error=\"invalid_dpop_proof\""), "{told}");
}
