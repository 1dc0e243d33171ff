//! Installs the clients once, starts a service for a script and runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use keybound_testkit::service::{MANAGEMENT_TOKEN, free_address};
use keybound_testkit::{Service, Settings, Store};
use serde_json::json;

/// What a script is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    /// JavaScript modules for Node.
    Node,
    /// Python.
    Python,
}

/// Where people sign in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignIn {
    /// At a login application, which the script plays through the management API.
    Application,
    /// At the page of the service.
    Builtin,
}

/// Runs one script against a service of its own, whose issuer is its address.
pub(crate) async fn run(language: Language, file: &str, sign_in: SignIn, nonce: &str) {
    // An API that a script may start, and that the service knows as a resource.
    let api = format!("http://{}", free_address());
    let mut settings = Settings::loopback()
        .with("dpop.nonce", nonce)
        .with("client_metadata_documents.enabled", true)
        .resource(json!({"id": "api", "url": api, "audience": api, "scopes": ["atproto", "transition:generic"]}));
    if sign_in == SignIn::Application {
        settings = settings.with("interaction.url", "https://login.example.test/sign-in");
    }
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, settings).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(nonce);
    std::fs::create_dir_all(&pictures).expect("a directory for pictures");
    let told = json!({
        "issuer": service.issuer(),
        "management": format!("http://{}", service.management),
        "management_token": MANAGEMENT_TOKEN,
        "nonce": nonce,
        "api": api,
        "chromium": "/usr/bin/chromium",
        "pictures": pictures,
        "spa": Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/spa"),
    });
    let (program, script) = match language {
        Language::Node => (PathBuf::from("node"), installed().join("node").join(file)),
        Language::Python => (installed().join("python/bin/python"), sources().join("python").join(file)),
    };
    let mut command = tokio::process::Command::new(program);
    command.arg(script).env("KEYBOUND_SERVICE", told.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{file} did not end"));
    let output = output.unwrap_or_else(|error| panic!("{file} does not run: {error}"));
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{file} with nonces {nonce}: {}\n{said}\n{}", output.status, service.log());
    println!("{said}");
}

/// Where the clients are installed.
pub(crate) fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        let status = Command::new(sources().join("install")).arg(&target).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "the clients can't be installed: {status:?}");
        target
    })
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// How long a script may run.
const PATIENCE: Duration = Duration::from_secs(120);
