//! `keybound attack` as a person or a script uses it.

use std::process::{Command, Output};

use keybound_testkit::service::{MANAGEMENT_TOKEN, SECRET};
use keybound_testkit::{Service, Store};
use serde_json::Value;
use tempfile::TempDir;

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
