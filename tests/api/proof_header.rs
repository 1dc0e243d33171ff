//! The proof's header field, its JOSE header and its claims (RFC 9449 section 4).

use keybound_testkit::{Client, Endpoint, Key, Store, both_stores};
use serde_json::{Value, json};

use crate::{Bench, start};

/// DPOP-4.1-01
async fn the_field_name_is_case_insensitive(store: Store) {
    let bench = Bench::new(store).await;
    for name in ["dpop", "DPOP", "DPoP", "dPoP"] {
        let proof = bench.sign(&bench.proof());
        bench.session.refresh().without_proof().header(name, proof).send(&bench.service).await.tokens();
    }
}

/// DPOP-4.1-01, JOSE-15
async fn a_value_with_characters_outside_a_jwt_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    for (what, from, to) in [
        ("a space", ".", ". "),
        ("a comma", ".", ",."),
        ("padding", ".", "=."),
        ("a plus", ".", "+."),
        ("a tab", ".", "\t."),
        ("a quote", ".", "\"."),
    ] {
        let proof = bench.sign(&bench.proof());
        bench.refuses(what, proof.replacen(from, to, 1)).await;
    }
    bench.refuses("nothing", "").await;
    bench.refuses("not UTF-8", [bench.sign(&bench.proof()).as_bytes(), b"\xff"].concat()).await;
    bench.refuses("quotes around it", format!("\"{}\"", bench.sign(&bench.proof()))).await;
    bench.still_works().await;
}

/// DPOP-4.3-01
async fn more_than_one_proof_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    let sign = || bench.sign(&bench.proof());
    let call = bench.session.refresh();
    let one = sign();
    call.clone().proof(&one).and_proof(&one).send(&bench.service).await.invalid_proof();
    call.clone().proof(sign()).and_proof(sign()).send(&bench.service).await.invalid_proof();
    call.clone().proof(sign()).and_proof("").send(&bench.service).await.invalid_proof();
    call.clone().proof(sign()).header("dpop", sign()).send(&bench.service).await.invalid_proof();
    bench.refuses("joined by a comma", format!("{}, {}", sign(), sign())).await;
    bench.accepts("the same proof alone", one).await;
}

/// DPOP-4.3-02, JOSE-17
async fn anything_but_a_compact_jws_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    let good = bench.sign(&bench.proof());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    for proof in [
        "garbage".to_owned(),
        "..".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        format!(".{good}"),
        json!({"protected": header, "payload": claims, "signature": signature}).to_string(),
        json!({"payload": claims, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
    ] {
        bench.refuses(&proof, &proof).await;
    }
    bench.accepts("the proof they were made of", good).await;
}

/// SEC-05, DPOP-4.3-02
async fn a_proof_is_limited_in_size(store: Store) {
    let bench = Bench::new(store).await;
    let padded = |length: usize| bench.sign(&bench.proof().claim("filler", "x".repeat(length)));
    let base = padded(0).len();
    // Base64url makes four characters of three bytes: some length of filler lands within three of any size.
    let fits = (0..).map(|length| padded((4096 - base) * 3 / 4 - 8 + length)).find(|proof| proof.len() >= 4093).expect("a length");
    assert!(fits.len() <= 4096);
    bench.accepts("4096 bytes at most", fits).await;
    bench.refuses("more than 4096 bytes", padded((4096 - base) * 3 / 4 + 8)).await;
    bench.refuses("16 KiB", padded(12_000)).await;
    bench.still_works().await;
}

/// DPOP-4.2-01, DPOP-4.3-04, JOSE-22
async fn another_typ_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("no typ", &bench.proof().without_header("typ")).await;
    for typ in
        [json!("JWT"), json!("at+jwt"), json!("dpop"), json!("DPOP+JWT"), json!("application/dpop+jwt"), json!(""), json!(1), Value::Null]
    {
        bench.refuses_signed(&typ.to_string(), &bench.proof().header("typ", typ.clone())).await;
    }
    bench.refuses_signed("a list", &bench.proof().header("typ", json!(["dpop+jwt"]))).await;
    bench.still_works().await;
}

/// DPOP-4.2-02, DPOP-4.3-05, JOSE-18, JOSE-20
async fn an_algorithm_off_the_list_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("no alg", &bench.proof().without_header("alg")).await;
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("HS256"),
        json!("RS256"),
        json!("ES256K"),
        json!("ES512"),
        json!("PS384"),
        json!("es256"),
        json!("ESP256"),
        json!("ES256 "),
        json!(""),
        json!(1),
        json!(true),
        json!(["ES256"]),
        Value::Null,
    ] {
        bench.refuses_signed(&alg.to_string(), &bench.proof().header("alg", alg.clone())).await;
    }
    bench.refuses("none, unsigned", format!("{}.", bench.proof().header("alg", "none").signing_input())).await;
    let symmetric = bench.proof().header("alg", "HS256").header("jwk", json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}));
    bench.refuses_signed("a symmetric key", &symmetric).await;
    bench.still_works().await;
}

/// DPOP-4.2-02: a signature that is good under an algorithm off the list.
async fn a_good_rs256_signature_is_refused(store: Store) {
    let bench = Bench::with_key(store, Key::ps256()).await;
    let rs256 = bench.proof().header("alg", "RS256");
    bench.refuses("RS256", rs256.with_signature(bench.session.key.sign_rs256(rs256.signing_input().as_bytes()))).await;
    bench.accepts_signed("PS256", &bench.proof()).await;
}

/// DPOP-4.2-03
async fn a_jwk_that_is_no_object_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("no jwk", &bench.proof().without_header("jwk")).await;
    let text = bench.session.key.jwk().to_string();
    for jwk in [json!(text), json!([bench.session.key.jwk()]), json!({}), json!(1), json!(true), json!("")] {
        bench.refuses_signed(&jwk.to_string(), &bench.proof().header("jwk", jwk.clone())).await;
    }
    bench.refuses_signed("null", &bench.proof().header("jwk", Value::Null)).await;
    bench.still_works().await;
}

/// DPOP-4.2-03, DPOP-4.3-07
async fn a_private_member_in_the_jwk_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    let private = bench.session.key.private_jwk();
    bench.refuses_signed("the private key itself", &bench.proof().header("jwk", private)).await;
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        bench.refuses_signed(name, &bench.proof().jwk(name, "AA")).await;
        bench.refuses_signed(name, &bench.proof().jwk(name, Value::Null)).await;
    }
    bench.still_works().await;
    assert!(!bench.service.log().contains(bench.session.key.private_jwk()["d"].as_str().expect("d")), "a sent private key is not logged");
}

/// DPOP-4.2-04, DPOP-4.3-03, SEC-05
async fn jti_is_a_text_of_1_to_256_bytes(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("none", &bench.proof().without_claim("jti")).await;
    for jti in [json!(""), json!(1), json!(null), json!(["a"]), json!({"a": "b"}), json!("x".repeat(257)), json!("é".repeat(129))] {
        bench.refuses_signed(&jti.to_string(), &bench.proof().claim("jti", jti.clone())).await;
    }
    bench.accepts_signed("1 byte", &bench.proof().claim("jti", "x")).await;
    bench.accepts_signed("255 bytes", &bench.proof().claim("jti", "y".repeat(255))).await;
    bench.accepts_signed("256 bytes", &bench.proof().claim("jti", "z".repeat(256))).await;
    bench.accepts_signed("any text", &bench.proof().claim("jti", "é \n\u{0}\u{1f511}")).await;
}

/// DPOP-4.2-05, DPOP-4.3-03
async fn htm_and_htu_are_texts(store: Store) {
    let bench = Bench::new(store).await;
    for name in ["htm", "htu"] {
        bench.refuses_signed(name, &bench.proof().without_claim(name)).await;
        for value in [json!(1), json!(null), json!(true), json!({}), json!("")] {
            bench.refuses_signed(&format!("{name} {value}"), &bench.proof().claim(name, value.clone())).await;
        }
        let listed = json!([bench.proof().claims[name]]);
        bench.refuses_signed(name, &bench.proof().claim(name, listed)).await;
    }
    bench.still_works().await;
}

/// DPOP-4.3-08, DPOP-4.2-05
async fn htm_is_compared_exactly(store: Store) {
    let bench = Bench::new(store).await;
    for method in ["GET", "post", "Post", "POST ", " POST", "POST\n", "PUT"] {
        bench.refuses_signed(method, &bench.proof().claim("htm", method)).await;
    }
    bench.accepts_signed("POST", &bench.proof().claim("htm", "POST")).await;
}

/// DPOP-4.2-06, DPOP-4.3-03
async fn iat_is_a_number(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("none", &bench.proof().without_claim("iat")).await;
    let now = keybound_testkit::time::now();
    for iat in [
        json!(now.to_string()),
        json!(null),
        json!(true),
        json!([now]),
        json!({}),
        json!(""),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(0),
        json!(-now),
    ] {
        bench.refuses_signed(&iat.to_string(), &bench.proof().claim("iat", iat.clone())).await;
    }
    let raw = |iat: &str| {
        let proof = bench.proof();
        let claims = proof.claims_text().replace(&format!("\"iat\":{}", proof.claims["iat"]), &format!("\"iat\":{iat}"));
        bench.sign(&proof.raw_claims(claims))
    };
    for iat in ["1e308", "-1e308", "1e999", "-0", "-0.0", "01", "+1", "NaN", "Infinity", ".5", "18446744073709551616", "0x10"] {
        bench.refuses(iat, raw(iat)).await;
    }
    bench.accepts("a fraction", raw(&format!("{now}.25"))).await;
    bench.accepts("a zero fraction", raw(&format!("{now}.0"))).await;
    bench.accepts("an exponent", raw(&format!("{now}e0"))).await;
    bench.accepts("a shifted point", raw(&format!("{}.{}E1", now / 10, now % 10))).await;
}

/// DPOP-4.2-09
async fn unknown_members_are_tolerated(store: Store) {
    let bench = Bench::new(store).await;
    bench.accepts_signed("in the header", &bench.proof().header("x-extra", json!({"a": [1, 2]}))).await;
    bench
        .accepts_signed("in the claims", &bench.proof().claim("extra", json!({"a": [1, 2]})).claim("iss", "me").claim("aud", json!(["x"])))
        .await;
    bench.accepts_signed("in the jwk", &bench.proof().jwk("kid", "k1").jwk("use", "sig").jwk("x-extra", 1)).await;
}

/// DPOP-4.3-06, JOSE-19
async fn only_the_embedded_key_verifies_the_signature(store: Store) {
    let bench = Bench::new(store).await;
    let other = Key::es256();
    bench.refuses("signed by another key", bench.proof().sign(&other)).await;
    bench.refuses("all zero", bench.proof().with_signature([0; 64])).await;
    bench.refuses("too short", bench.proof().with_signature(&bench.session.key.sign(bench.proof().signing_input().as_bytes())[..63])).await;
    let with_more = |count: usize| {
        let proof = bench.proof();
        let signature = [bench.session.key.sign(proof.signing_input().as_bytes()), vec![0; count]].concat();
        proof.with_signature(signature)
    };
    bench.refuses("too long", with_more(1)).await;
    bench.accepts("the same with nothing added", with_more(0)).await;
    let swapped = {
        let (signed, shown) = (bench.proof(), bench.proof());
        shown.with_signature(bench.session.key.sign(signed.signing_input().as_bytes()))
    };
    bench.refuses("a signature of another proof", swapped).await;
    let pointing =
        bench.proof().header("kid", other.jkt()).header("jku", "http://127.0.0.1:9/jwks").header("x5u", "http://127.0.0.1:9/x5u");
    bench.refuses("a kid of the key that signed", pointing.sign(&other)).await;
    bench.accepts("pointers are not followed", bench.sign(&pointing)).await;
}

/// DPOP-4.3-14
async fn exp_and_nbf_are_honoured(store: Store) {
    let bench = Bench::new(store).await;
    let now = keybound_testkit::time::now();
    bench.accepts_signed("both in range", &bench.proof().claim("exp", now + 300).claim("nbf", now - 10)).await;
    bench.refuses_signed("expired", &bench.proof().claim("exp", now - 30)).await;
    bench.refuses_signed("not yet", &bench.proof().claim("nbf", now + 30)).await;
    for value in [json!("soon"), json!(null), json!([])] {
        bench.refuses_signed("exp of another type", &bench.proof().claim("exp", value.clone())).await;
        bench.refuses_signed("nbf of another type", &bench.proof().claim("nbf", value)).await;
    }
}

/// DPOP-4.3-15
async fn a_proof_for_an_access_token_is_refused(store: Store) {
    let bench = Bench::new(store).await;
    bench.refuses_signed("ath", &bench.proof().claim("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")).await;
    bench.refuses_signed("ath of another type", &bench.proof().claim("ath", 1)).await;
    bench.still_works().await;
}

/// DPOP-4-01, SEC-03
async fn every_request_needs_a_proof_of_its_own(store: Store) {
    let bench = Bench::new(store).await;
    let proof = bench.sign(&bench.proof());
    bench.session.refresh().without_proof().send(&bench.service).await.invalid_proof();
    bench.accepts("the first use", &proof).await;
    for _ in 0..3 {
        bench.refuses("the second use", &proof).await;
    }
    bench.still_works().await;
}

/// DPOP-4-02, SEC-12
async fn a_proof_alone_authorises_nothing(store: Store) {
    let service = start(store).await;
    let public = service.session("spa").await;
    public.refresh().without("refresh_token").send(&service).await.refused(400, "invalid_request");
    public.refresh().send(&service).await.tokens();
    let confidential = service.session("web").await;
    let call = confidential.refresh().without_header("Authorization").set("client_id", "web");
    call.send(&service).await.refused(401, "invalid_client");
    confidential.refresh().send(&service).await.tokens();
    Client::known("web").credentials_call(&Key::es256(), service.issuer()).without_header("Authorization").send(&service).await;
}

/// TOK-04, TOK-09
async fn a_bad_proof_is_never_taken_for_none(store: Store) {
    let service = start(store).await;
    for client in ["bearer-web", "bearer-spa"] {
        let session = service.session(client).await;
        for endpoint in Endpoint::ALL {
            let bad = session.proof(endpoint).claim("htm", "GET").sign(&session.key);
            session.call(endpoint).proof(bad).send(&service).await.invalid_proof();
            session.call(endpoint).proof("").send(&service).await.invalid_proof();
        }
    }
}

/// DPOP-4.3-13, SEC-07: what is refused for a late reason was not remembered for an early one.
async fn a_refused_proof_uses_up_nothing(store: Store) {
    let bench = Bench::new(store).await;
    let proof = bench.proof();
    bench.refuses_signed("htm", &proof.clone().claim("htm", "GET")).await;
    bench.refuses_signed("htu", &proof.clone().claim("htu", "https://as.example.test/other")).await;
    bench.refuses_signed("iat", &proof.clone().iat_offset(-600)).await;
    bench.refuses_signed("ath", &proof.clone().claim("ath", "AA")).await;
    bench.refuses("signature", proof.sign(&Key::es256())).await;
    bench.session.refresh().set("scope", "admin").proof(bench.sign(&proof)).send(&bench.service).await.refused(400, "invalid_scope");
    bench.accepts_signed("the same jti", &proof).await;
    bench.refuses_signed("the same jti again", &proof).await;
}

both_stores!(
    the_field_name_is_case_insensitive,
    a_value_with_characters_outside_a_jwt_is_refused,
    more_than_one_proof_is_refused,
    anything_but_a_compact_jws_is_refused,
    a_proof_is_limited_in_size,
    another_typ_is_refused,
    an_algorithm_off_the_list_is_refused,
    a_good_rs256_signature_is_refused,
    a_jwk_that_is_no_object_is_refused,
    a_private_member_in_the_jwk_is_refused,
    jti_is_a_text_of_1_to_256_bytes,
    htm_and_htu_are_texts,
    htm_is_compared_exactly,
    iat_is_a_number,
    unknown_members_are_tolerated,
    only_the_embedded_key_verifies_the_signature,
    exp_and_nbf_are_honoured,
    a_proof_for_an_access_token_is_refused,
    every_request_needs_a_proof_of_its_own,
    a_proof_alone_authorises_nothing,
    a_bad_proof_is_never_taken_for_none,
    a_refused_proof_uses_up_nothing,
);
