//! Installs the clients once, starts a service for a script and runs it.

use std::net::SocketAddr;
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
    /// At the example login application.
    Example,
}

/// Runs one script against a service of its own, whose issuer is its address.
pub(crate) async fn run(language: Language, file: &str, sign_in: SignIn, nonce: &str) {
    // An API that a script may start, and that the service knows as a resource.
    let api = format!("http://{}", free_address());
    let mut settings = Settings::loopback()
        .with("dpop.nonce", nonce)
        .with("client_metadata_documents.enabled", true)
        .resource(json!({"id": "api", "url": api, "audience": api, "scopes": ["atproto", "transition:generic"]}));
    let login = free_address();
    settings = match sign_in {
        SignIn::Application => settings.with("interaction.url", "https://login.example.test/sign-in"),
        SignIn::Example => settings.with("interaction.url", format!("http://{login}/")),
        SignIn::Builtin => settings,
    };
    let service = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Embedded, settings).await;
    let _login_application = (sign_in == SignIn::Example).then(|| login_application(login, &service));
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

/// The example login application, which ends when it is dropped. Who opens its page waits until it listens.
fn login_application(address: SocketAddr, service: &Service) -> tokio::process::Child {
    let program = Path::new(env!("CARGO_BIN_EXE_keybound")).with_file_name("examples").join("login_app");
    let mut command = tokio::process::Command::new(&program);
    command.env("LOGIN_LISTEN", address.to_string()).env("LOGIN_USERS", "alice:wonderland").kill_on_drop(true);
    command.env("KEYBOUND_MANAGEMENT", format!("http://{}", service.management)).env("KEYBOUND_TOKEN", MANAGEMENT_TOKEN);
    command.spawn().unwrap_or_else(|error| panic!("{} does not run: {error}; `cargo build --examples` makes it", program.display()))
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
