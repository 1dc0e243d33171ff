//! Redis over TLS.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keybound_testkit::redis::RedisServer;
use keybound_testkit::service::free_address;
use keybound_testkit::{Authority, Service, Settings};
use serde_json::json;

/// The service, made to trust one authority.
fn trusting(folder: &Path, authority: &str) -> PathBuf {
    let program = folder.join(format!("keybound-{authority}"));
    let (certificates, keybound) = (folder.join(authority), env!("CARGO_BIN_EXE_keybound"));
    let script = format!("#!/bin/sh\nSSL_CERT_FILE='{}' exec '{keybound}' \"$@\"\n", certificates.display());
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("a script that can be run");
    program
}

/// A server whose certificate is by an authority that is trusted, and for the host that was asked for, is used; any other is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_spoken_to_over_tls() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let home = folder.path();
    let (ca, stranger) = (Authority::new("ca"), Authority::new("ca"));
    ca.write(&home.join("ca.crt"));
    stranger.write(&home.join("stranger.crt"));
    ca.issue(home, "localhost");
    let port = free_address().port().to_string();
    let file = |name: &str| home.join(name).display().to_string();
    let (cert, key, authority) = (file("localhost.crt"), file("localhost.key"), file("ca.crt"));
    let options = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &authority];
    let redis = RedisServer::start(&[&options[..], &["--tls-auth-clients", "no"]].concat()).await;

    let settings =
        |host: &str| Settings::default().with("store.kind", "redis").with("store.urls", json!([format!("rediss://{host}:{port}")]));
    let service = Service::start_on(trusting(home, "ca.crt"), None, settings("localhost")).await;
    let mut session = service.session("spa").await;
    let tokens = session.refresh().send(&service).await.tokens();
    session.keep(&tokens);
    assert!(redis.info("total_commands_processed").await.parse::<u64>().expect("a number") > 10);
    drop(service);

    for (authority, host) in [("stranger.crt", "localhost"), ("ca.crt", "127.0.0.1")] {
        let program = trusting(home, authority);
        let config = home.join("refused.toml");
        let text = format!(
            "issuer = \"https://as.example.com\"\n[listen]\npublic = \"127.0.0.1:0\"\nmanagement = \"127.0.0.1:0\"\ngateway = \"off\"\n\
             [store]\nkind = \"redis\"\nurls = [\"rediss://{host}:{port}\"]\npath = \"{}\"\n",
            home.join("data").display()
        );
        std::fs::write(&config, text).expect("a configuration");
        let mut command = tokio::process::Command::new(program);
        let output = command.arg("serve").arg("--config").arg(&config).kill_on_drop(true).output().await.expect("the service runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("redis can't be reached"), "{authority} {host}: {said}");
    }
}
