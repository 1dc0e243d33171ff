use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::clock::OsEntropy;
use crate::domain::{FamilyId, Generation};

fn load(dir: &Path, alg: SigningAlg) -> Result<Loaded, KeyError> {
    Keys::load_or_create(dir, alg, &mut OsEntropy)
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data/keys");
    (temp, dir)
}

fn signing_file(dir: &Path) -> PathBuf {
    signing_files(dir).unwrap().remove(0)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut jwk: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut jwk);
    fs::write(path, jwk.to_string()).unwrap();
}

#[test]
fn the_second_start_finds_the_keys_of_the_first() {
    let (_temp, dir) = home();
    let first = load(&dir, SigningAlg::Es256).unwrap();
    let second = load(&dir, SigningAlg::Es256).unwrap();
    assert!(first.created && !second.created);
    assert_eq!(first.keys.jwks(), second.keys.jwks());
    assert_eq!(first.keys.nonce_key(), second.keys.nonce_key());
    let family = FamilyId::from_bytes([3; 16]);
    let token = first.keys.refresh_tokens("https://as.example").issue(family, Generation(2));
    assert_eq!(second.keys.refresh_tokens("https://as.example").read(&token), Ok((family, Generation(2))));
}

#[test]
fn two_services_have_nothing_in_common() {
    let ((_a, a), (_b, b)) = (home(), home());
    let (a, b) = (load(&a, SigningAlg::Es256).unwrap().keys, load(&b, SigningAlg::Es256).unwrap().keys);
    assert_ne!(a.nonce_key(), b.nonce_key());
    assert_ne!(a.signer().kid(), b.signer().kid());
}

/// One secret must not do two jobs: a nonce is public, a refresh token is not.
#[test]
fn each_purpose_has_a_secret_of_its_own() {
    let root = [9; 32];
    assert_ne!(purpose::derive(&root, Purpose::Nonces), purpose::derive(&root, Purpose::RefreshTokens));
    assert_ne!(*purpose::derive(&root, Purpose::Nonces), root);
}

#[test]
fn processes_that_start_together_end_with_the_same_keys() {
    for alg in [SigningAlg::Es256, SigningAlg::EdDsa] {
        let (_temp, dir) = home();
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let barrier = std::sync::Barrier::new(8);
        let loaded: Vec<Loaded> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                load(&dir, alg).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(loaded.iter().filter(|loaded| loaded.created).count(), 1);
        assert!(loaded.iter().all(|other| other.keys.jwks() == loaded[0].keys.jwks()));
        assert!(loaded.iter().all(|other| other.keys.nonce_key() == loaded[0].keys.nonce_key()));
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }
}

#[test]
fn only_the_owner_may_read_the_keys() {
    let (_temp, dir) = home();
    load(&dir, SigningAlg::Es256).unwrap();
    let (root, signing) = (dir.join(ROOT_FILE), signing_file(&dir));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&dir), mode(&root), mode(&signing)], [0o700, 0o600, 0o600]);
    for (path, open) in [(&dir, 0o750), (&root, 0o640), (&root, 0o604), (&signing, 0o644)] {
        let before = mode(path);
        set_mode(path, open);
        let error = load(&dir, SigningAlg::Es256).unwrap_err();
        assert!(matches!(&error, KeyError::Exposed { path: named, mode, .. } if named == path && *mode == open), "{error}");
        set_mode(path, before);
        assert!(load(&dir, SigningAlg::Es256).is_ok());
    }
    set_mode(&root, 0o400);
    set_mode(&dir, 0o500);
    assert!(load(&dir, SigningAlg::Es256).is_ok());
    set_mode(&dir, 0o700);
}

#[test]
fn a_private_half_of_another_key_is_refused() {
    for alg in [SigningAlg::Es256, SigningAlg::Es384, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let ((_a, a), (_b, b)) = (home(), home());
        load(&a, alg).unwrap();
        load(&b, alg).unwrap();
        let other: Value = serde_json::from_slice(&fs::read(signing_file(&b)).unwrap()).unwrap();
        let file = signing_file(&a);
        let good = fs::read(&file).unwrap();
        rewrite(&file, |jwk| jwk["d"] = other["d"].clone());
        let error = load(&a, alg).unwrap_err().to_string();
        assert!(error.contains("private half"), "{alg:?}: {error}");
        assert!(!error.contains(other["d"].as_str().unwrap()));
        fs::write(&file, good).unwrap();
        assert!(load(&a, alg).is_ok());
    }
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused() {
    let (_temp, dir) = home();
    load(&dir, SigningAlg::Es256).unwrap();
    let file = signing_file(&dir);
    let good = fs::read(&file).unwrap();
    let changes: [fn(&mut Value); 6] = [
        |jwk| jwk["kid"] = "other".into(),
        |jwk| jwk["alg"] = "RS256".into(),
        |jwk| jwk["alg"] = "ES384".into(),
        |jwk| jwk["use"] = "enc".into(),
        |jwk| jwk["x"] = "AAAA".into(),
        |jwk| *jwk = Value::Null,
    ];
    for change in changes {
        rewrite(&file, change);
        assert!(matches!(load(&dir, SigningAlg::Es256), Err(KeyError::Malformed { .. })));
    }
    fs::write(&file, good).unwrap();
    let root = dir.join(ROOT_FILE);
    let text = fs::read_to_string(&root).unwrap();
    assert_eq!(text.len(), 44);
    for bad in ["", &text[1..], &format!("{}=\n", text.trim()), &"A".repeat(MANY)] {
        fs::write(&root, bad).unwrap();
        assert!(matches!(load(&dir, SigningAlg::Es256), Err(KeyError::Malformed { .. })), "{} bytes", bad.len());
    }
    fs::write(&root, text).unwrap();
    assert!(load(&dir, SigningAlg::Es256).is_ok());
}

/// JOSE-01, AT-02: every algorithm signs what another library verifies with the published key.
#[test]
fn a_token_verifies_with_the_published_key() {
    for alg in [SigningAlg::Es256, SigningAlg::Es384, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let (_temp, dir) = home();
        let keys = load(&dir, alg).unwrap().keys;
        for typ in ["at+jwt", "JWT", "token-introspection+jwt"] {
            let token = keys.signer().sign(typ, &json!({"sub": "alice"})).unwrap();
            let (header, claims) = verify(&keys.jwks(), &token);
            assert_eq!(header, json!({"alg": alg.name(), "kid": keys.signer().kid(), "typ": typ}));
            assert_eq!(claims, json!({"sub": "alice"}));
        }
    }
}

#[test]
fn the_published_set_holds_public_members_only() {
    for alg in [SigningAlg::Es256, SigningAlg::Es384, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let (_temp, dir) = home();
        let keys = load(&dir, alg).unwrap().keys;
        let jwks = keys.jwks();
        let key = jwks["keys"][0].as_object().unwrap();
        let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
        assert!(key.keys().all(|name| public.contains(&name.as_str())), "{key:?}");
        assert_eq!((&key["use"], &key["alg"], &key["kid"]), (&json!("sig"), &json!(alg.name()), &json!(keys.signer().kid())));
    }
}

#[test]
fn another_algorithm_gets_a_key_and_the_old_one_stays_published() {
    let (_temp, dir) = home();
    let old = load(&dir, SigningAlg::Es256).unwrap().keys;
    let new = load(&dir, SigningAlg::EdDsa).unwrap();
    assert!(new.created);
    assert_eq!(new.keys.nonce_key(), old.nonce_key());
    let jwks = new.keys.jwks();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    assert_eq!(jwks["keys"][0]["kid"], new.keys.signer().kid());
    verify(&jwks, &old.signer().sign("JWT", &json!({})).unwrap());
}

#[test]
fn two_keys_for_one_algorithm_are_refused() {
    let ((_a, a), (_b, b)) = (home(), home());
    load(&a, SigningAlg::Es256).unwrap();
    load(&b, SigningAlg::Es256).unwrap();
    let extra = signing_file(&b);
    fs::copy(&extra, a.join(extra.file_name().unwrap())).unwrap();
    assert!(matches!(load(&a, SigningAlg::Es256), Err(KeyError::Ambiguous { .. })));
    assert!(load(&a, SigningAlg::EdDsa).is_ok());
}

/// A2
#[test]
fn nothing_secret_is_printed() {
    let (_temp, dir) = home();
    let loaded = load(&dir, SigningAlg::Es256).unwrap();
    let shown = format!("{loaded:?}{:?}", loaded.keys.refresh_tokens("https://as.example"));
    let root = fs::read_to_string(dir.join(ROOT_FILE)).unwrap();
    let jwk: Value = serde_json::from_slice(&fs::read(signing_file(&dir)).unwrap()).unwrap();
    assert!(!shown.contains(root.trim()) && !shown.contains(jwk["d"].as_str().unwrap()));
}

#[test]
fn a_broken_source_of_randomness_makes_no_signing_key() {
    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(0);
        }
    }
    let (_temp, dir) = home();
    assert!(matches!(Keys::load_or_create(&dir, SigningAlg::Es256, &mut Zeros), Err(KeyError::Generate)));
}

/// Verifies with a library that shares no code with the signer; returns header and claims.
pub(crate) fn verify(jwks: &Value, token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let (header, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let header: Value = serde_json::from_slice(&header).unwrap();
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).expect("a published key");
    let jwk = josekit::jwk::Jwk::from_map(key.as_object().unwrap().clone()).unwrap();
    let verifier: Box<dyn josekit::jws::JwsVerifier> = match header["alg"].as_str().unwrap() {
        "ES256" => Box::new(josekit::jws::ES256.verifier_from_jwk(&jwk).unwrap()),
        "ES384" => Box::new(josekit::jws::ES384.verifier_from_jwk(&jwk).unwrap()),
        "PS256" => Box::new(josekit::jws::PS256.verifier_from_jwk(&jwk).unwrap()),
        "EdDSA" => Box::new(josekit::jws::EdDSA.verifier_from_jwk(&jwk).unwrap()),
        other => panic!("{other}"),
    };
    let signing_input = &token[..token.rfind('.').unwrap()];
    verifier.verify(signing_input.as_bytes(), &signature).unwrap();
    (header, serde_json::from_slice(&claims).unwrap())
}

const MANY: usize = 64 * 1024;
