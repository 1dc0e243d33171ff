//! JOSE hygiene of the proof (RFC 7515, 7517, 7518, 7638, 8037, 8725, 9864).

use keybound_testkit::jose::{b64, malleated, split, unb64};
use keybound_testkit::{Endpoint, Key, Store, both_stores};
use serde_json::{Value, json};

use crate::{Bench, start};

/// JOSE-01, JOSE-02, JOSE-09, JOSE-10, CNF-01: every algorithm, and the service's thumbprint is the one computed here.
async fn each_algorithm_works_and_its_key_is_named_in_the_token(store: Store) {
    let service = start(store).await;
    for key in [Key::es256(), Key::es384(), Key::ps256(), Key::ed25519()] {
        let mut session = service.session_with("spa", key.clone(), json!({})).await;
        let tokens = session.rotate(&service).await;
        assert_eq!(tokens["dpop_signing_alg"], key.alg());
        let (_, claims, _, _) = split(tokens["access_token"].as_str().expect("a token"));
        assert_eq!(claims["cnf"], json!({"jkt": key.jkt()}));
    }
}

/// JOSE-10, JOSE-11
async fn one_ed25519_key_works_under_both_names(store: Store) {
    let bench = Bench::with_key(store, Key::ed25519()).await;
    for alg in ["EdDSA", "Ed25519"] {
        let proof = bench.sign(&bench.proof().header("alg", alg));
        let tokens = bench.present(proof).await.tokens();
        assert_eq!(tokens["dpop_signing_alg"], alg);
    }
    bench.refuses_signed("Ed448", &bench.proof().header("alg", "Ed448")).await;
    bench.refuses_signed("ed25519", &bench.proof().header("alg", "ed25519")).await;
}

/// JOSE-01: members that are not part of the thumbprint don't change whose key it is.
async fn other_members_of_the_jwk_do_not_change_the_key(store: Store) {
    let bench = Bench::new(store).await;
    bench.accepts_signed("kid, alg, use", &bench.proof().jwk("kid", "other").jwk("alg", "ES256").jwk("use", "sig")).await;
}

/// JOSE-03, JOSE-15
async fn a_key_has_one_spelling(store: Store) {
    let bench = Bench::new(store).await;
    let x = bench.session.key.jwk()["x"].as_str().expect("x").to_owned();
    bench.refuses_signed("padding", &bench.proof().jwk("x", format!("{x}="))).await;
    bench.refuses_signed("a line end", &bench.proof().jwk("x", format!("{x}\n"))).await;
    // 32 bytes leave two unused bits in the last character; this sets one of them.
    let last = x.bytes().last().expect("not empty");
    let tail = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let position = tail.bytes().position(|byte| byte == last).expect("base64url");
    let respelled = format!("{}{}", &x[..x.len() - 1], &tail[position + 1..position + 2]);
    bench.refuses_signed("unused bits", &bench.proof().jwk("x", respelled)).await;
    let standard = x.replace('-', "+").replace('_', "/");
    if standard != x {
        bench.refuses_signed("the other alphabet", &bench.proof().jwk("x", standard)).await;
    }
    bench.still_works().await;
}

/// JOSE-03, JOSE-06
async fn an_rsa_key_has_one_spelling_and_a_size(store: Store) {
    let bench = Bench::with_key(store, Key::ps256()).await;
    let n = unb64(bench.session.key.jwk()["n"].as_str().expect("n"));
    bench.refuses_signed("a leading zero in n", &bench.proof().jwk("n", b64([vec![0], n.clone()].concat()))).await;
    bench.refuses_signed("a leading zero in e", &bench.proof().jwk("e", "AAEAAQ")).await;
    bench.refuses_signed("1024 bits", &bench.proof().jwk("n", b64(&n[..128]))).await;
    bench.refuses_signed("2040 bits", &bench.proof().jwk("n", b64(&n[..255]))).await;
    bench.refuses_signed("e of 3", &bench.proof().jwk("e", "Aw")).await;
    bench.refuses_signed("e of 1", &bench.proof().jwk("e", "AQ")).await;
    bench.refuses_signed("an even e", &bench.proof().jwk("e", "AQAA")).await;
    let mut even = n.clone();
    even[255] &= 0xfe;
    bench.refuses_signed("an even n", &bench.proof().jwk("n", b64(even))).await;
    bench.refuses_signed("no n", &bench.proof().jwk("n", "")).await;
    bench.still_works().await;
}

/// JOSE-06: the cost of verifying is bounded.
async fn a_huge_rsa_key_is_refused(store: Store) {
    let bench = Bench::with_key(store, Key::ps256()).await;
    bench.refuses_signed("8192 bits", &bench.proof().jwk("n", b64([0xff; 1024]))).await;
    bench.refuses_signed("a huge e", &bench.proof().jwk("e", b64([0xff; 256]))).await;
    bench.still_works().await;
}

/// JOSE-04, JOSE-05
async fn a_point_that_is_none_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    let member = |name: &str| unb64(bench.session.key.jwk()[name].as_str().expect("a coordinate"));
    let (x, y) = (member("x"), member("y"));
    bench.refuses_signed("31 bytes", &bench.proof().jwk("x", b64(&x[1..]))).await;
    bench.refuses_signed("33 bytes", &bench.proof().jwk("x", b64([vec![0], x.clone()].concat()))).await;
    bench.refuses_signed("nothing", &bench.proof().jwk("x", "")).await;
    bench.refuses_signed("no y", &bench.proof().jwk("y", Value::Null)).await;
    bench.refuses_signed("off the curve", &bench.proof().jwk("y", b64(&x)).jwk("x", b64(&y))).await;
    bench.refuses_signed("infinity", &bench.proof().jwk("x", b64([0; 32])).jwk("y", b64([0; 32]))).await;
    bench.refuses_signed("not below p", &bench.proof().jwk("x", b64([0xff; 32]))).await;
    bench.refuses_signed("numbers", &bench.proof().jwk("x", 5)).await;
    bench.still_works().await;
}

/// JOSE-07
async fn a_der_signature_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    let proof = bench.proof();
    let raw = bench.session.key.sign(proof.signing_input().as_bytes());
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1);
        let mut content = bytes[start..].to_vec();
        if content[0] >= 0x80 {
            content.insert(0, 0);
        }
        [vec![2, u8::try_from(content.len()).expect("short")], content].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [vec![0x30, u8::try_from(body.len()).expect("short")], body].concat();
    bench.refuses("DER", proof.with_signature(der)).await;
    bench.refuses("r and s of 0", proof.with_signature([0; 64])).await;
    bench.refuses("r and s of n or more", proof.with_signature([0xff; 64])).await;
    bench.accepts("r and s in 64 bytes", proof.with_signature(raw)).await;
}

/// JOSE-08
async fn both_values_of_s_are_good_signatures(store: Store) {
    let bench = Bench::new(store).await;
    bench.accepts("as signed", bench.sign(&bench.proof())).await;
    bench.accepts("the other s, first use", malleated(&bench.sign(&bench.proof()))).await;
}

/// JOSE-09, DPOP-4.3-05
async fn an_algorithm_for_another_kind_of_key_is_refused(store: Store) {
    let service = start(store).await;
    for key in [Key::es256(), Key::es384(), Key::ps256(), Key::ed25519()] {
        let session = service.session_with("spa", key.clone(), json!({})).await;
        for alg in ["ES256", "ES384", "PS256", "EdDSA", "Ed25519"] {
            let fits = alg == key.alg() || (key.alg() == "EdDSA" && alg == "Ed25519");
            let proof = session.proof(Endpoint::Refresh).header("alg", alg).sign(&key);
            let answer = session.refresh().proof(proof).send(&service).await;
            if fits {
                answer.tokens();
            } else {
                answer.invalid_proof();
            }
        }
    }
}

/// JOSE-09
async fn a_curve_that_is_not_for_the_algorithm_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    for crv in ["P-384", "P-521", "secp256k1", "p-256", "", "Ed25519"] {
        bench.refuses_signed(crv, &bench.proof().jwk("crv", crv)).await;
    }
    for kty in ["OKP", "RSA", "oct", "ec", ""] {
        bench.refuses_signed(kty, &bench.proof().jwk("kty", kty)).await;
    }
    bench.refuses_signed("no kty", &bench.proof().jwk("kty", Value::Null)).await;
    bench.still_works().await;
    let okp = Bench::with_key(store, Key::ed25519()).await;
    for crv in ["X25519", "X448", "Ed448"] {
        okp.refuses_signed(crv, &okp.proof().jwk("crv", crv)).await;
    }
    okp.still_works().await;
}

/// JOSE-12
async fn weak_ed25519_keys_and_signatures_are_refused(store: Store) {
    let bench = Bench::with_key(store, Key::ed25519()).await;
    let mut identity = [0; 32];
    identity[0] = 1;
    // With the neutral element as key and as R, and S of zero, a lenient verifier accepts any message.
    let weak = bench.proof().jwk("x", b64(identity));
    bench.refuses("a small-order key", weak.with_signature([identity.to_vec(), vec![0; 32]].concat())).await;
    bench.refuses("a key of zeros", bench.proof().jwk("x", b64([0; 32])).with_signature([0; 64])).await;
    let proof = bench.proof();
    let mut signature = bench.session.key.sign(proof.signing_input().as_bytes());
    let whole = signature.clone();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    bench.refuses("S plus the order", proof.with_signature(signature)).await;
    bench.accepts("S itself", proof.with_signature(whole)).await;
}

/// JOSE-13
async fn critical_extensions_are_refused(store: Store) {
    let bench = Bench::new(store).await;
    for crit in [json!([]), json!(["exp"]), json!(["b64"]), json!(["typ"]), json!("b64"), json!(["x", "x"]), json!(null), json!({})] {
        bench.refuses_signed(&crit.to_string(), &bench.proof().header("crit", crit.clone()).header("b64", true)).await;
    }
    bench
        .refuses_signed(
            "named and there",
            &bench.proof().header("crit", json!(["http://example.test/x"])).header("http://example.test/x", 1),
        )
        .await;
    bench.refuses_signed("an unencoded payload", &bench.proof().header("b64", false)).await;
    bench.still_works().await;
}

/// JOSE-14
async fn duplicate_members_are_refused(store: Store) {
    let bench = Bench::new(store).await;
    let header = |from: &str, to: &str| {
        let proof = bench.proof();
        let text = proof.header_text().replacen(from, to, 1);
        assert_ne!(text, proof.header_text());
        bench.sign(&proof.raw_header(text))
    };
    let claims = |from: &str, to: &str| {
        let proof = bench.proof();
        let text = proof.claims_text().replacen(from, to, 1);
        assert_ne!(text, proof.claims_text());
        bench.sign(&proof.raw_claims(text))
    };
    bench.refuses("typ twice", header("\"typ\":", "\"typ\":\"dpop+jwt\",\"typ\":")).await;
    bench.refuses("alg twice, the first bad", header("\"alg\":", "\"alg\":\"none\",\"alg\":")).await;
    bench.refuses("jwk twice", header("\"jwk\":", "\"jwk\":{},\"jwk\":")).await;
    bench.refuses("kty twice inside jwk", header("\"kty\":", "\"kty\":\"EC\",\"kty\":")).await;
    bench.refuses("an escaped twin", header("\"typ\":", "\"t\\u0079p\":\"dpop+jwt\",\"typ\":")).await;
    bench.refuses("jti twice", claims("\"jti\":", "\"jti\":\"a\",\"jti\":")).await;
    bench.refuses("an escaped jti", claims("\"jti\":", "\"\\u006ati\":\"a\",\"jti\":")).await;
    bench.refuses("an unknown member twice", claims("{", "{\"x\":1,\"x\":1,")).await;
    bench.refuses("twice at depth", claims("{", "{\"x\":[{\"y\":1,\"y\":2}],")).await;
    bench.accepts("once at depth", claims("{", "{\"x\":[{\"y\":1},{\"y\":2}],")).await;
    bench.accepts("an escaped name alone", claims("\"jti\":", "\"\\u006ati\":")).await;
}

/// JOSE-15
async fn base64url_is_read_strictly(store: Store) {
    let bench = Bench::new(store).await;
    let good = bench.sign(&bench.proof());
    let parts: Vec<&str> = good.split('.').collect();
    for part in 0..3 {
        for suffix in ["=", "==", "%3D", "~", "+", "/"] {
            let mut changed: Vec<String> = parts.iter().map(|&text| text.to_owned()).collect();
            changed[part].push_str(suffix);
            bench.refuses(suffix, changed.join(".")).await;
        }
    }
    // 64 bytes leave four unused bits in the last character.
    let signature = parts[2];
    let last = signature.chars().last().expect("not empty");
    let respelled = char::from(u8::try_from(last).expect("ASCII") + 1);
    bench.refuses("unused bits", format!("{}.{}.{}{respelled}", parts[0], parts[1], &signature[..signature.len() - 1])).await;
    // A control character is no header value: HTTP itself refuses it.
    assert_eq!(bench.present(format!("{good}\u{b}")).await.status(), 400);
    bench.accepts("the canonical spelling", good).await;
}

/// JOSE-16
async fn json_is_read_strictly(store: Store) {
    let bench = Bench::new(store).await;
    let with = |change: &dyn Fn(String) -> Vec<u8>| {
        let proof = bench.proof();
        let text = change(proof.claims_text());
        bench.sign(&proof.raw_claims(text))
    };
    let header = |change: &dyn Fn(String) -> Vec<u8>| {
        let proof = bench.proof();
        let text = change(proof.header_text());
        bench.sign(&proof.raw_header(text))
    };
    bench.refuses("a byte order mark", with(&|text| format!("\u{feff}{text}").into_bytes())).await;
    bench.refuses("something after it", with(&|text| format!("{text}x").into_bytes())).await;
    bench.refuses("two objects", with(&|text| format!("{text}{text}").into_bytes())).await;
    bench.refuses("a list", with(&|text| format!("[{text}]").into_bytes())).await;
    bench.refuses("a text", with(&|_| b"\"claims\"".to_vec())).await;
    bench.refuses("null", with(&|_| b"null".to_vec())).await;
    bench.refuses("a comment", with(&|text| text.replacen('{', "{/**/", 1).into_bytes())).await;
    bench.refuses("a trailing comma", with(&|text| text.replacen('}', ",}", 1).into_bytes())).await;
    bench.refuses("not UTF-8", with(&|text| [&b"{\"x\":\"\xff\","[..], &text.as_bytes()[1..]].concat())).await;
    bench.refuses("a lone surrogate", with(&|text| text.replacen('{', "{\"x\":\"\\ud800\",", 1).into_bytes())).await;
    bench
        .refuses("very deep", with(&|text| text.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(200), "]".repeat(200)), 1).into_bytes()))
        .await;
    bench.refuses("a header that is a list", header(&|text| format!("[{text}]").into_bytes())).await;
    bench.refuses("a header with something after it", header(&|text| format!("{text} {{}}").into_bytes())).await;
    bench.accepts("white space around and inside", with(&|text| format!(" \n{}\t\r\n", text.replace(',', " ,\n ")).into_bytes())).await;
    bench.accepts("a little deep", with(&|text| text.replacen('{', "{\"x\":[[[[]]]],", 1).into_bytes())).await;
}

/// JOSE-21
async fn a_jwk_meant_for_something_else_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("use enc", &bench.proof().jwk("use", "enc")).await;
    bench.refuses_signed("key_ops encrypt", &bench.proof().jwk("key_ops", json!(["encrypt"]))).await;
    bench.refuses_signed("alg ES384", &bench.proof().jwk("alg", "ES384")).await;
    bench.accepts_signed("use sig", &bench.proof().jwk("use", "sig")).await;
    bench.accepts_signed("key_ops verify", &bench.proof().jwk("key_ops", json!(["verify"]))).await;
    bench.accepts_signed("alg ES256", &bench.proof().jwk("alg", "ES256")).await;
}

/// The order of the group of Ed25519, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0x10,
];

both_stores!(
    each_algorithm_works_and_its_key_is_named_in_the_token,
    one_ed25519_key_works_under_both_names,
    other_members_of_the_jwk_do_not_change_the_key,
    a_key_has_one_spelling,
    an_rsa_key_has_one_spelling_and_a_size,
    a_huge_rsa_key_is_refused,
    a_point_that_is_none_is_refused,
    a_der_signature_is_refused,
    both_values_of_s_are_good_signatures,
    an_algorithm_for_another_kind_of_key_is_refused,
    a_curve_that_is_not_for_the_algorithm_is_refused,
    weak_ed25519_keys_and_signatures_are_refused,
    critical_extensions_are_refused,
    duplicate_members_are_refused,
    base64url_is_read_strictly,
    json_is_read_strictly,
    a_jwk_meant_for_something_else_is_refused,
);
