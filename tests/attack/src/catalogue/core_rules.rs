//! The rules that every place has to hold where a proof is shown: a server that has them at one endpoint may have forgotten them at another.

use serde_json::json;

use super::List;
use super::Severity::{Critical, High, Info, Medium};
use crate::jose::{Key, b64, hs256, unique, with_tail_bits};

/// Adds them to a list, for its stage, from this number on. `place` ends the titles: "at a protected resource".
pub(super) fn add(list: &mut List, from: u16, place: &str) {
    let breach = format!("a rule for proofs that holds elsewhere does not hold {place}");
    let mut number = from;
    let mut next = || {
        number += 1;
        number - 1
    };
    let title = |what: &str| format!("{what}, {place}");
    macro_rules! draft {
        ($severity:expr, $section:expr, $title:expr, $forge:expr) => {
            list.draft(next(), ($severity, $section, &title($title), &breach), $forge)
        };
    }
    macro_rules! value {
        ($severity:expr, $section:expr, $title:expr, $forge:expr) => {
            list.value(next(), ($severity, $section, &title($title), &breach), $forge)
        };
    }
    macro_rules! lines {
        ($severity:expr, $section:expr, $title:expr, $forge:expr) => {
            list.lines(next(), ($severity, $section, &title($title), &breach), $forge)
        };
    }
    value!(High, "4.3(2)", "An empty proof", |_| String::new());
    value!(High, "4.3(2)", "A word in place of the proof", |_| "proof".to_owned());
    lines!(High, "4.3(1)", "Two proofs, the good one first", |scene| {
        vec![scene.draft.sign().into_bytes(), scene.draft.clone().claim("jti", unique()).by(&scene.stranger).sign().into_bytes()]
    });
    lines!(High, "4.3(1)", "Two proofs, the good one last", |scene| {
        vec![scene.draft.clone().claim("jti", unique()).by(&scene.stranger).sign().into_bytes(), scene.draft.sign().into_bytes()]
    });
    value!(High, "4.3(1)", "Two proofs joined by a comma", |scene| {
        format!("{}, {}", scene.draft.sign(), scene.draft.clone().claim("jti", unique()).sign())
    });
    value!(Critical, "4.3(6)", "A proof without its signature", |scene| format!("{}.", scene.draft.signing_input()));
    value!(Critical, "4.3(6)", "Another's signature under the right key", |scene| scene.draft.clone().signed_by(&scene.stranger).sign());
    value!(Critical, "4.3(6)", "A claim changed after signing", |scene| scene
        .draft
        .clone()
        .claim("jti", unique())
        .with_signature(scene.draft.signature()));
    draft!(High, "4.3(4)", "The typ JWT", |draft| draft.head("typ", "JWT"));
    value!(Critical, "4.3(5)", "The alg none", |scene| scene.draft.clone().head("alg", "none").with_signature(b""));
    value!(Critical, "4.3(5)", "HS256 with the public key as the secret", |scene| {
        let draft = scene.draft.clone().head("alg", "HS256");
        let secret = draft.header.get("jwk").map(ToString::to_string).unwrap_or_default();
        draft.with_signature(hs256(secret.as_bytes(), &draft.signing_input()))
    });
    draft!(High, "4.3(7)", "A private member in the key", |draft| draft.jwk("d", b64([7; 32])));
    draft!(Medium, "RFC 7515 section 4.1.11", "An unknown critical parameter", |draft| draft.head("crit", json!(["x"])).head("x", 1));
    draft!(Info, "RFC 7515 section 4", "A header parameter twice", |draft| draft.header_text(|text| text.replacen(
        '{',
        r#"{"typ":"JWT","#,
        1
    )));
    draft!(Medium, "RFC 4648 section 3.5", "Unused bits set in the key", |draft| {
        let x = draft.header["jwk"]["x"].as_str().and_then(with_tail_bits).unwrap_or_default();
        draft.jwk("x", x)
    });
    draft!(High, "4.3(3)", "No jti", |draft| draft.without("jti"));
    draft!(High, "4.3(3)", "No iat", |draft| draft.without("iat"));
    draft!(High, "4.3(8)", "The htm of another method", |draft| draft.claim("htm", "DELETE"));
    draft!(High, "4.3(9)", "The htu of another host", |draft| {
        let htu = draft.text("htu").replacen("://", "://other.example/", 1);
        draft.claim("htu", htu)
    });
    draft!(High, "4.3(9)", "The htu of another path", |draft| {
        let htu = format!("{}/other", draft.text("htu"));
        draft.claim("htu", htu)
    });
    draft!(Medium, "4.3(9)", "A slash after the htu", |draft| {
        let htu = format!("{}/", draft.text("htu"));
        draft.claim("htu", htu)
    });
    value!(High, "4.3(11)", "A proof from an hour ago", |scene| {
        let iat = scene.draft.claims["iat"].as_i64().unwrap_or_default();
        scene.draft.clone().claim("iat", iat - 3_600).sign()
    });
    value!(High, "4.3(11)", "A proof from an hour ahead", |scene| {
        let iat = scene.draft.claims["iat"].as_i64().unwrap_or_default();
        scene.draft.clone().claim("iat", iat + 3_600).sign()
    });
    draft!(High, "RFC 7519 section 4", "A payload in an array", |draft| draft.claims_text(|text| format!("[{text}]")));
    value!(Critical, "4.3(6)", "A fresh key in the header, and the signature of the right one", |scene| {
        let jwk = Key::es256().jwk();
        scene.draft.clone().head("jwk", jwk).sign()
    });
}
