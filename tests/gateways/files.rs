//! The shipped files of gateways that can't be run here, and what all of them must hold.

use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateways").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const IDENTITY: [&str; 5] = ["X-DPoP-Subject", "X-DPoP-Client-Id", "X-DPoP-Scope", "X-DPoP-Jkt", "X-DPoP-Token-Id"];

#[test]
fn each_gateway_has_its_files_and_says_what_to_change() {
    for entry in fs::read_dir(folder("")).expect("the folder") {
        let path = entry.expect("a folder").path();
        let readme = fs::read_to_string(path.join("README.md")).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(readme.contains("## What to change"), "{}", path.display());
        assert!(fs::read_dir(&path).expect("a folder").count() > 1, "{} has a configuration", path.display());
    }
}

#[test]
fn every_configuration_hands_on_all_of_the_identity() {
    for file in [
        "nginx/keybound_protect.conf",
        "caddy/Caddyfile",
        "envoy-http/envoy.yaml",
        "haproxy/keybound.lua",
        "traefik/keybound.yaml",
        "apisix/apisix.yaml",
    ] {
        let text = read(file).to_lowercase();
        for name in IDENTITY {
            assert!(text.contains(&name.to_lowercase()), "{name} in {file}");
        }
    }
}

/// Traefik asks in the dialect that Caddy speaks, which is run here.
#[test]
fn traefik_trusts_no_forwarding_header_and_strips_what_a_client_says_about_itself() {
    let text = read("traefik/keybound.yaml");
    for line in ["/verify/forwarded", "trustForwardHeader: false", "authResponseHeadersRegex: \"^X-Dpop-\""] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn apisix_hands_over_both_credentials_and_gives_the_challenge_back() {
    let text = read("apisix/apisix.yaml");
    for line in ["/verify/forwarded", "- DPoP", "- Authorization", "- WWW-Authenticate", "- DPoP-Nonce", "status_on_error: 503"] {
        assert!(text.contains(line), "{line}");
    }
    assert!(text.trim_end().ends_with("#END"), "a standalone configuration ends with #END");
}
