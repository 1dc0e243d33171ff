//! The values printed in the RFCs.

use keybound_proofs::{
    Alg, Ath, Epoch, EpochId, Expected, NonceRole, NonceRule, Nonces, ProofError, ProofKey, ProofPolicy, PublicJwk, Realm, TargetUri,
    UnixTime, UnverifiedProof, jose,
};
use serde_json::Value;

use crate::support::{Drawn, STEP};

const RFC_9449_KEY: &str = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;

/// RFC 9449 section 4.1 and 5: the proof sent to the token endpoint.
const TOKEN_REQUEST_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

/// RFC 9449 section 7.1: the proof sent to a resource, and the token it came with.
const RESOURCE_REQUEST_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const RESOURCE_REQUEST_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn verify(proof: &str, method: &str, url: &str, ath: Option<&Ath>, now: i64) -> Result<String, ProofError> {
    let policy = ProofPolicy::default();
    let nonces = Nonces::new([0; 32], "https://server.example.com", STEP);
    let expected = Expected {
        policy: &policy,
        method,
        targets: &[TargetUri::parse(url).unwrap()],
        access_token: ath,
        nonce: NonceRule {
            nonces: &nonces,
            role: NonceRole::AuthorizationServer,
            epoch: Epoch { id: EpochId::from_bytes([0; 16]), since: None },
            required: false,
        },
        realm: &Realm::new("https://server.example.com"),
    };
    let proof = UnverifiedProof::from_header_values([proof.as_bytes()], &policy)?.verify(&expected, UnixTime::from_secs(now))?;
    assert_eq!(proof.alg(), Alg::Es256);
    Ok(proof.jkt().to_string())
}

/// CNF-06
#[test]
fn the_proofs_of_rfc_9449_verify_in_their_time_and_place() {
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(PublicJwk::from_json(RFC_9449_KEY.as_bytes()).unwrap().thumbprint().to_string(), jkt);
    let token_url = "https://server.example.com/token";
    assert_eq!(verify(TOKEN_REQUEST_PROOF, "POST", token_url, None, 1_562_262_616), Ok(jkt.into()));
    assert_eq!(verify(TOKEN_REQUEST_PROOF, "POST", token_url, None, 1_562_262_677), Err(ProofError::IatTooOld));
    let (resource_url, ath) = ("https://resource.example.org/protectedresource", Ath::of_token(RESOURCE_REQUEST_TOKEN));
    assert_eq!(verify(RESOURCE_REQUEST_PROOF, "GET", resource_url, Some(&ath), 1_562_262_618), Ok(jkt.into()));
    let other = Ath::of_token("another");
    assert_eq!(verify(RESOURCE_REQUEST_PROOF, "GET", resource_url, Some(&other), 1_562_262_618), Err(ProofError::AthMismatch));
}

/// JOSE-01, JOSE-02
#[test]
fn the_thumbprints_of_rfc_7638_and_rfc_8037_come_out() {
    let rsa = br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    assert!(PublicJwk::from_json(rsa).is_err(), "it declares an algorithm that is not accepted here");
    let rsa: Value = serde_json::from_slice(rsa).unwrap();
    let rsa = crate::support::without(rsa, "alg").to_string();
    assert_eq!(PublicJwk::from_json(rsa.as_bytes()).unwrap().thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let okp = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(PublicJwk::from_json(okp).unwrap().thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// RFC 8037 appendix A.4: a deterministic signature, so the client side can be held to it byte for byte.
#[test]
fn the_signature_of_rfc_8037_comes_out() {
    let key = ProofKey::from_private_jwk(
        br#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    )
    .unwrap();
    let signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
    assert_eq!(
        jose::encode_base64url(&signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

/// What the client side makes has the members of RFC 9449 section 4.2 and no others, and is accepted.
#[test]
fn a_made_proof_holds_what_it_should() {
    let key = crate::support::key(Alg::Ed25519);
    let made = key
        .proof("GET", "https://api.example.com/accounts?page=2#top")
        .access_token("token")
        .nonce("a-nonce")
        .sign(UnixTime::from_millis(1_700_000_000_999), &mut Drawn::default())
        .unwrap();
    let jws = jose::Compact::split(made.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&jws.header().unwrap()).unwrap();
    assert_eq!(header, serde_json::json!({ "typ": "dpop+jwt", "alg": "Ed25519", "jwk": key.public_jwk().to_json_value() }));
    let claims: Value = serde_json::from_slice(&jws.payload().unwrap()).unwrap();
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22), "128 random bits");
    let expected = serde_json::json!({ "htm": "GET", "htu": "https://api.example.com/accounts", "iat": 1_700_000_000,
        "ath": Ath::of_token("token").to_string(), "nonce": "a-nonce" });
    assert_eq!(crate::support::without(claims, "jti"), expected);
    let again = key.proof("GET", "https://api.example.com/").sign(UnixTime::from_secs(0), &mut Drawn::default()).unwrap();
    assert_ne!(made, again);
}

/// DPOP-4-01: a `jti` is drawn for each proof.
#[test]
fn two_proofs_for_the_same_request_differ() {
    let key = crate::support::key(Alg::Es256);
    let mut entropy = Drawn::default();
    let mut make = || key.proof("GET", "https://api.example.com/").sign(UnixTime::from_secs(0), &mut entropy).unwrap();
    assert_ne!(make(), make());
}
