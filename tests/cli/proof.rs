use std::process::Stdio;

use crate::support::{Finished, keybound, run};

const URL: &str = "https://as.example.com/oauth/refresh";

#[test]
fn a_key_is_made_once_and_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.json");
    let path = file.to_str().unwrap();
    let missing = run(["proof", "make", "--key", path, "--method", "POST", "--url", URL]).fails_with(3);
    assert!(missing.contains("--new-key"), "{missing}");
    run(["proof", "make", "--key", path, "--new-key", "--method", "POST", "--url", URL]).ok();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = std::fs::read(&file).unwrap();
    run(["proof", "make", "--key", path, "--new-key", "--method", "POST", "--url", URL]).fails_with(3);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    run(["proof", "make", "--key", path, "--method", "POST", "--url", URL]).ok();
}

#[test]
fn a_proof_passes_its_own_inspection_with_every_algorithm() {
    let directory = tempfile::tempdir().unwrap();
    for alg in ["ES256", "ES384", "PS256", "EdDSA", "Ed25519"] {
        let file = directory.path().join(alg);
        let path = file.to_str().unwrap();
        let made = run([
            "proof",
            "make",
            "--key",
            path,
            "--new-key",
            "--alg",
            alg,
            "--method",
            "GET",
            "--url",
            URL,
            "--access-token",
            "at",
            "--nonce",
            "n",
        ])
        .ok();
        let proof = made.trim();
        let thumbprint = run(["proof", "thumbprint", path]).ok();
        let report = run(["proof", "inspect", proof, "--method", "GET", "--url", URL, "--access-token", "at", "--nonce", "n"]).ok();
        assert!(report.contains(alg) && report.contains(thumbprint.trim()), "{report}");
        assert_eq!(report.matches("  pass  ").count(), 12, "{report}");

        let refused = run(["proof", "inspect", proof, "--method", "POST", "--url", URL, "--access-token", "at", "--nonce", "n"]);
        assert!(refused.stdout.contains("FAIL"), "{}", refused.stdout);
        refused.fails_with(1);
    }
}

#[test]
fn a_proof_is_read_from_standard_input_too() {
    let mut child =
        keybound().args(["proof", "inspect"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"not a proof\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
}

/// JOSE-02: the example key of RFC 7638 section 3.1 has a known thumbprint.
#[test]
fn the_thumbprint_of_a_public_key_is_that_of_rfc_7638() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.json");
    let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    std::fs::write(&file, format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"}}"#)).unwrap();
    let said = run(["proof", "thumbprint", file.to_str().unwrap()]).ok();
    assert_eq!(said.trim(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let said = Finished::of(keybound().args(["proof", "thumbprint", "/no/such/file"])).fails_with(3);
    assert!(said.contains("/no/such/file"), "{said}");
}
