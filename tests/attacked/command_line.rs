//! `keybound attack` as a person or a script uses it.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use keybound_testkit::authorization::location;
use keybound_testkit::service::{MANAGEMENT_TOKEN, SECRET, free_address};
use keybound_testkit::{Authority, Connection, Request, Service, Store};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::{BINARY, secret};

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("attack").args(arguments).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_catalogue_is_listed_explained_and_exported_without_a_server() {
    let listed = out(&run(&["--list"]));
    assert!(listed.lines().filter(|line| line.starts_with("  ") && line.contains('-')).count() >= 300, "{listed}");
    assert!(listed.contains("RFC 9449 section 4.3"), "{listed}");
    let explained = out(&run(&["--explain", "PRF-061"]));
    for word in ["Severity    critical", "DPoP: eyJ", "Twin        TWN-001", "alg"] {
        assert!(explained.contains(word), "{word} in {explained}");
    }
    let exported: Value = serde_json::from_str(&out(&run(&["--catalogue"]))).expect("JSON");
    assert_eq!(exported["version"], "1.0");
    assert!(exported["attacks"].as_array().is_some_and(|attacks| attacks.len() >= 300));
}

#[test]
fn what_can_not_run_exits_with_2() {
    for arguments in
        [&["http://127.0.0.1:9/"][..], &["--explain", "XXX-999"], &["not a url"], &[], &["http://127.0.0.1:9/", "--client-id", "x"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_writes_its_reports_without_secrets() {
    let service = Service::start(BINARY, Store::Embedded, secret("client_secret_basic")).await;
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("secret"), SECRET).expect("a file");
    std::fs::write(path("token"), MANAGEMENT_TOKEN).expect("a file");
    let (issuer, management) = (format!("http://{}", service.public), format!("http://{}", service.management));
    let arguments = [
        &issuer,
        "--client-id",
        "attack-machine",
        "--client-secret-file",
        &path("secret"),
        "--app-client-id",
        "attack-app",
        "--management",
        &management,
        "--management-token-file",
        &path("token"),
        "--scope",
        "openid accounts",
        "--only",
        "PRF-00*,RFR-0*,RES-00*,STO-10*",
        "--json",
        &path("report.json"),
        "--junit",
        &path("report.xml"),
        "--sarif",
        &path("report.sarif"),
        "--html",
        &path("report.html"),
    ];
    let output = tokio::task::block_in_place(|| run(&arguments));
    let table = out(&output);
    assert_eq!(output.status.code(), Some(0), "{table}{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("All that applied was refused."), "{table}");
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("a report");
    let json: Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert_eq!(json["counts"]["breach"], 0);
    let sarif: Value = serde_json::from_str(&read("report.sarif")).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
    assert!(read("report.xml").starts_with("<?xml") && read("report.html").contains("</html>"));
    for text in [&table, &read("report.json"), &read("report.xml"), &read("report.sarif"), &read("report.html")] {
        for secret in [SECRET, MANAGEMENT_TOKEN, "kbr_", "eyJ"] {
            assert!(!text.contains(secret), "{secret} in a report");
        }
    }
}

/// A person opens the printed URL, signs in at the built-in page, and is led back to the suite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_where_the_suite_says() {
    let service = Service::start(BINARY, Store::Embedded, secret("client_secret_basic")).await;
    let issuer = format!("http://{}", service.public);
    let back = format!("http://{}/callback", free_address());
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["attack", &issuer, "--app-client-id", "attack-app", "--browser", "--redirect-uri", &back, "--only", "RFR-002,RFR-060"]);
    let mut suite = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the binary runs");
    let mut said = BufReader::new(suite.stderr.take().expect("it is piped")).lines();
    let url = loop {
        let line = said.next_line().await.expect("text").expect("a URL is printed before the end");
        if let Some(path) = line.trim().strip_prefix(&issuer) {
            break path.to_owned();
        }
    };

    let page = location(&service.get(&url).await);
    let path = page.strip_prefix(&issuer).expect("the sign-in page is at the service");
    let form = service.get(path).await;
    let cookie = form.header("Set-Cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let html = form.text();
    let csrf = html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let decision = [("csrf", csrf), ("username", "alice"), ("decision", "allow")];
    let led = location(&service.send(&Request::new("POST", path).header("Cookie", cookie).form(&decision)).await);
    let target = led.strip_prefix(&back).unwrap_or_else(|| panic!("{led}"));
    let suite_listens = back.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/callback")).expect("it was put together so");
    let answer =
        Connection::new(suite_listens.parse().expect("an address")).send(&Request::new("GET", &format!("/callback{target}"))).await;
    let answer = answer.expect("an answer");
    assert!(answer.status == 200 && answer.text().contains("Done."), "{answer}");

    let output = suite.wait_with_output().await.expect("the suite ends");
    let table = out(&output);
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("All that applied was refused."), "{table}");
}

struct Nginx(std::process::Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _sent = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        let _status = self.0.wait();
    }
}

/// A service behind a TLS terminator whose certificate only `--ca-file` makes trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_of_its_own_authority_is_attacked() {
    let folder = TempDir::new().expect("a folder");
    let home = folder.path();
    let path = |name: &str| home.join(name).to_string_lossy().into_owned();
    let (ca, stranger) = (Authority::new("ca"), Authority::new("ca"));
    ca.write(&home.join("ca.crt"));
    stranger.write(&home.join("stranger.crt"));
    ca.issue(home, "localhost");
    let listen = free_address();
    let issuer = format!("https://localhost:{}", listen.port());
    let service = Service::start(BINARY, Store::Embedded, secret("client_secret_basic").with_issuer(&issuer)).await;
    let config = format!(
        "pid {}; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen {listen} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ proxy_pass http://{}; }} }} }}\n",
        path("pid"),
        path("localhost.crt"),
        path("localhost.key"),
        service.public
    );
    std::fs::write(path("nginx.conf"), config).expect("a file");
    std::fs::write(path("secret"), SECRET).expect("a file");
    let mut command = Command::new("nginx");
    command.args(["-p", &path(""), "-c", &path("nginx.conf"), "-e", "stderr", "-g", "daemon off;"]);
    let _nginx = Nginx(command.stdin(Stdio::null()).spawn().expect("nginx is installed; tests/run does it"));
    let mut tries = 0;
    while TcpStream::connect(listen).await.is_err() {
        tries += 1;
        assert!(tries < 3000, "nginx does not listen on {listen}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (secret, by) = (path("secret"), ["ca.crt", "stranger.crt"].map(path));
    let attack = |ca: &str| {
        let client = ["--client-id", "attack-machine", "--client-secret-file", &secret, "--scope", "accounts"];
        run(&[&[issuer.as_str(), "--ca-file", ca, "--only", "PRF-00*"], &client[..]].concat())
    };
    let output = tokio::task::block_in_place(|| attack(&by[0]));
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), String::from_utf8_lossy(&output.stderr));
    assert!(out(&output).contains("All that applied was refused."), "{}", out(&output));
    let refused = tokio::task::block_in_place(|| attack(&by[1]));
    assert_eq!(refused.status.code(), Some(2), "{}", out(&refused));
}
