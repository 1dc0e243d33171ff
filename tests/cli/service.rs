use crate::support::{Finished, Service, keybound};

/// A client, a key and a grant of a running service, in files.
fn enrol(service: &Service) -> (String, String) {
    let (key, token) = (service.file("key.json"), service.file("refresh-token"));
    let (key, token) = (key.to_str().unwrap().to_owned(), token.to_str().unwrap().to_owned());
    let registered =
        service.operator(["client", "create", "--client-id", "app", "--scope", "accounts openid", "--grant-type", "refresh_token"]);
    assert_eq!(registered.json()["token_endpoint_auth_method"], "none");
    Finished::of(keybound().args(["proof", "make", "--key", &key, "--new-key", "--method", "GET", "--url", &service.issuer])).ok();
    let granted = service
        .operator([
            "grant",
            "create",
            "--client-id",
            "app",
            "--sub",
            "alice",
            "--scope",
            "accounts",
            "--key",
            &key,
            "--refresh-token-file",
            &token,
        ])
        .json();
    assert_eq!(granted.get("refresh_token"), None, "the token is in its file only");
    assert_eq!(granted["grant_id"].as_str().map(str::len), Some(22));
    (key, token)
}

fn refresh(service: &Service, key: &str, token: &str) -> Finished {
    Finished::of(keybound().args([
        "token",
        "refresh",
        "--issuer",
        &service.issuer,
        "--client-id",
        "app",
        "--key",
        key,
        "--refresh-token-file",
        token,
    ]))
}

#[test]
fn a_grant_is_refreshed_listed_and_revoked_from_the_command_line() {
    let service = Service::start("");
    Finished::of(keybound().args(["health", "--management", &service.management])).ok();
    let (key, token) = enrol(&service);

    let before = std::fs::read_to_string(&token).unwrap();
    let answer = refresh(&service, &key, &token).json();
    assert_eq!((answer["token_type"].as_str(), answer["scope"].as_str()), (Some("DPoP"), Some("accounts")));
    let after = std::fs::read_to_string(&token).unwrap();
    assert!(after.starts_with("kbr_") && after != before, "the rotated token is in the file");
    assert_eq!(after.trim(), after, "a line end would reach the service through `curl --data-urlencode name@file`");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let listed = service.operator(["grant", "list", "--sub", "alice"]).json();
    let grants = listed["grants"].as_array().unwrap();
    assert_eq!((grants.len(), grants[0]["generation"].as_u64()), (1, Some(1)));
    assert_eq!(service.operator(["grant", "list", "--sub", "bob"]).json()["grants"], serde_json::json!([]));
    service.operator(["grant", "revoke", grants[0]["grant_id"].as_str().unwrap()]).ok();

    let refused = refresh(&service, &key, &token).fails_with(1);
    assert!(refused.contains("invalid_grant"), "{refused}");
    assert_eq!(std::fs::read_to_string(&token).unwrap(), after, "a refusal leaves the file alone");
    assert_eq!(service.stop(), Some(0), "SIGTERM ends the service well");
}

/// NON-01
#[test]
fn a_refresh_answers_a_nonce_challenge_by_itself() {
    let service = Service::start("[dpop]\nnonce = \"required\"\n");
    let (key, token) = enrol(&service);
    assert_eq!(refresh(&service, &key, &token).json()["token_type"], "DPoP");
}

#[test]
fn clients_are_listed_shown_and_deleted() {
    let service = Service::start("");
    let (key, token) = enrol(&service);
    assert_eq!(service.operator(["client", "show", "app"]).json()["client_id"], "app");
    assert_eq!(service.operator(["client", "list"]).json()["clients"].as_array().map(Vec::len), Some(1));
    let metadata = service.file("registration.json");
    std::fs::write(&metadata, r#"{"client_name":"Backend","token_endpoint_auth_method":"client_secret_basic"}"#).unwrap();
    let registered = service.operator(["client", "create", "--metadata", metadata.to_str().unwrap(), "--client-id", "backend"]).json();
    assert!(registered["client_secret"].as_str().is_some_and(|secret| secret.len() >= 32), "a secret was made");
    let shown = service.operator(["client", "show", "backend"]).json();
    assert_eq!(shown.get("client_secret"), None, "it is shown once");

    service.operator(["client", "delete", "app"]).ok();
    service.operator(["client", "show", "app"]).fails_with(1);
    refresh(&service, &key, &token).fails_with(1);
}

#[test]
fn what_is_wrong_is_said_with_what_to_do_next() {
    let service = Service::start("");
    let with_token = |token: Option<&str>, management: &str| {
        let mut command = keybound();
        command.args(["client", "list", "--management", management]);
        token.map(|token| command.env("KEYBOUND_MANAGEMENT_TOKEN", token));
        Finished::of(&mut command)
    };
    let said = with_token(None, &service.management).fails_with(2);
    assert!(said.contains("KEYBOUND_MANAGEMENT_TOKEN") && said.contains("--token-file"), "{said}");
    let said = with_token(Some("another-management-token"), &service.management).fails_with(1);
    assert!(said.contains("management token") && !said.contains("another-management-token"), "{said}");
    let token_file = service.file("management-token");
    Finished::of(keybound().args(["client", "list", "--management", &service.management, "--token-file", token_file.to_str().unwrap()]))
        .ok();

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = with_token(Some("a-management-token"), &format!("http://{closed}")).fails_with(3);
    assert!(said.contains("listen.management"), "{said}");
    Finished::of(keybound().args(["health", "--management", &format!("http://{closed}")])).fails_with(3);
}
