//! `JWK`: the key in the header, and the signature.

use serde_json::{Value, json};

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, List};
use crate::arena::{Need, Stage};
use crate::jose::{
    Key, b64, curve25519_plus_order, der_of, ed25519_identity_key, negate_y, p256_wide, rsa_forged_with_exponent_one, small_rsa, unb64,
    unique, with_tail_bits,
};

const NO_KEY: &str = "a proof of no key at all is accepted";
const FOREIGN: &str = "anyone makes proofs for anyone's key";
const PRIVATE: &str = "the server takes a private key that is out in the open for a sound one";
const TWO_NAMES: &str = "one key has several spellings, and so several thumbprints: bindings and replay checks come apart";
const UNSOUND: &str = "tokens are bound to a key that protects nothing: its signatures can be forged or its private key found";
const MISUSED: &str = "a key is used against what it says it is for";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Key, Stage::Any, "TWN-001");
    absent(&mut list);
    private(&mut list);
    elliptic(&mut list);
    uses(&mut list);
    signatures(&mut list);
    list.twin = "TWN-012";
    rsa(&mut list);
    list.twin = "TWN-011";
    edwards(&mut list);
    list.twin = "TWN-010";
    p384(&mut list);
    list.attacks
}

fn absent(list: &mut List) {
    list.draft(1, (Critical, "4.3(3)", "No jwk", NO_KEY), |draft| draft.without_head("jwk"));
    let values = [
        (2, "null", Value::Null),
        (3, "a string", json!("key")),
        (4, "an empty string", json!("")),
        (5, "a number", json!(1)),
        (6, "true", json!(true)),
        (7, "an empty array", json!([])),
        (8, "an empty object", json!({})),
    ];
    for (number, name, value) in values {
        let title = format!("A jwk that is {name}");
        list.draft(number, (High, "4.3(3)", &title, NO_KEY), move |draft| draft.head("jwk", value.clone()));
    }
    list.draft(9, (Medium, "4.3(3)", "A jwk that is the text of a key", TWO_NAMES), |draft| {
        let text = draft.header.get("jwk").map(Value::to_string).unwrap_or_default();
        draft.head("jwk", text)
    });
    list.draft(10, (Medium, "4.3(3)", "A jwk that is an array with the key in it", TWO_NAMES), |draft| {
        let key = draft.header.get("jwk").cloned().unwrap_or_default();
        draft.head("jwk", json!([key]))
    });
    list.draft(11, (High, "4.3(6)", "A kid in place of the key", NO_KEY), |draft| {
        let kid = draft.key.jkt();
        draft.without_head("jwk").head("kid", kid)
    });
    list.draft(
        12,
        (High, "RFC 8725 section 3.10", "A jku in place of the key", "the server fetches what a stranger's header names"),
        |draft| draft.without_head("jwk").head("jku", "http://127.0.0.1:9/keys.json"),
    );
    list.draft(13, (High, "RFC 8725 section 3.10", "An x5c in place of the key", NO_KEY), |draft| {
        draft.without_head("jwk").head("x5c", json!(["MIIB"]))
    });
}

fn private(list: &mut List) {
    list.draft(20, (Critical, "4.3(7)", "The private key in the header", PRIVATE), |draft| {
        let jwk = draft.key.private_jwk().unwrap_or_default();
        draft.head("jwk", jwk)
    });
    list.draft(21, (High, "4.3(7)", "An empty d in the key", PRIVATE), |draft| draft.jwk("d", ""));
    list.draft(22, (High, "4.3(7)", "A d that is null in the key", PRIVATE), |draft| draft.jwk("d", Value::Null));
    list.draft(23, (High, "4.3(7)", "A d that is a number in the key", PRIVATE), |draft| draft.jwk("d", 1));
    for (number, name) in [(24, "p"), (25, "q"), (26, "dp"), (27, "dq"), (28, "qi"), (29, "k"), (30, "priv")] {
        let title = format!("The private member {name} in the key");
        list.draft(number, (Low, "4.3(7)", &title, PRIVATE), move |draft| draft.jwk(name, b64([7; 32])));
    }
    list.draft(31, (Low, "4.3(7)", "The private member oth in the key", PRIVATE), |draft| {
        draft.jwk("oth", json!([{"r": "AQ", "d": "AQ", "t": "AQ"}]))
    });
}

fn elliptic(list: &mut List) {
    let coordinate =
        |draft: &crate::jose::Draft, name: &str| draft.header.get("jwk").and_then(|jwk| jwk[name].as_str()).unwrap_or_default().to_owned();
    list.draft(40, (High, "RFC 7517 section 4.1", "No kty in the key", NO_KEY), |draft| draft.without_jwk("kty"));
    list.draft(41, (Low, "RFC 7517 section 4.1", "The kty \"ec\" in small letters", TWO_NAMES), |draft| draft.jwk("kty", "ec"));
    list.draft(42, (Medium, "RFC 7517 section 4.1", "The kty \"RSA\" on an elliptic key", TWO_NAMES), |draft| draft.jwk("kty", "RSA"));
    list.draft(43, (Medium, "RFC 7517 section 4.1", "The kty \"oct\" on an elliptic key", TWO_NAMES), |draft| draft.jwk("kty", "oct"));
    list.draft(44, (Medium, "RFC 7517 section 4.1", "A kty that is an array", TWO_NAMES), |draft| draft.jwk("kty", json!(["EC"])));
    list.draft(45, (High, "RFC 7518 section 6.2.1.1", "No crv in the key", NO_KEY), |draft| draft.without_jwk("crv"));
    for (number, crv) in [(46, "P-384"), (47, "P-521"), (48, "secp256k1"), (49, "p-256"), (50, "Ed25519")] {
        let title = format!("The crv {crv:?} on a P-256 key");
        list.draft(number, (Medium, "RFC 7518 section 6.2.1.1", &title, TWO_NAMES), move |draft| draft.jwk("crv", crv));
    }
    list.draft(51, (High, "RFC 7518 section 6.2.1.2", "No x in the key", NO_KEY), |draft| draft.without_jwk("x"));
    list.draft(52, (High, "RFC 7518 section 6.2.1.3", "No y in the key", NO_KEY), |draft| draft.without_jwk("y"));
    list.draft(53, (High, "RFC 7518 section 6.2.1.2", "An empty x in the key", NO_KEY), |draft| draft.jwk("x", ""));
    list.draft(54, (High, "RFC 7518 section 6.2.1.2", "An x that is a number", NO_KEY), |draft| draft.jwk("x", 7));
    list.draft(55, (Medium, "RFC 7515 section 2", "Padding on x", TWO_NAMES), move |draft| {
        let x = coordinate(&draft, "x");
        draft.jwk("x", format!("{x}="))
    });
    list.draft(56, (Medium, "RFC 4648 section 3.5", "Unused bits set at the end of x", TWO_NAMES), move |draft| {
        let x = coordinate(&draft, "x");
        draft.jwk("x", with_tail_bits(&x).unwrap_or_default())
    });
    list.draft(57, (Medium, "RFC 4648 section 3.5", "Unused bits set at the end of y", TWO_NAMES), move |draft| {
        let y = coordinate(&draft, "y");
        draft.jwk("y", with_tail_bits(&y).unwrap_or_default())
    });
    list.draft(58, (Medium, "RFC 7518 section 6.2.1.2", "A leading zero byte on x", TWO_NAMES), move |draft| {
        let bytes = unb64(&coordinate(&draft, "x")).unwrap_or_default();
        draft.jwk("x", b64([&[0], bytes.as_slice()].concat()))
    });
    list.value(59, (Medium, "RFC 7518 section 6.2.1.2", "A leading zero byte left out of x", TWO_NAMES), move |scene| {
        // One key in 256 has such a coordinate.
        let key = std::iter::repeat_with(Key::es256)
            .take(20_000)
            .find(|key| key.jwk()["x"].as_str().is_some_and(|x| x.starts_with("AA") && x < "AAE"));
        let draft = scene.draft.clone().by(&key.unwrap_or_else(Key::es256));
        let bytes = unb64(&coordinate(&draft, "x")).unwrap_or_default();
        draft.jwk("x", b64(bytes.get(1..).unwrap_or_default())).sign()
    })
    .needs(&[Need::Machine]);
    list.draft(60, (Low, "RFC 7515 section 2", "The standard alphabet of Base64 in x", TWO_NAMES), move |draft| {
        let x = coordinate(&draft, "x");
        // Most keys have one of the two characters; the others get the padding of that alphabet.
        let other = x.replace('-', "+").replace('_', "/");
        draft.jwk("x", if other == x { format!("{x}=") } else { other })
    });
    list.draft(61, (Low, "RFC 7515 section 2", "A space within x", TWO_NAMES), move |draft| {
        let x = coordinate(&draft, "x");
        draft.jwk("x", format!("{} {}", &x[..4], &x[4..]))
    });
    list.draft(62, (Critical, "4.3(6)", "The mirrored point of the key that signed", FOREIGN), |draft| {
        let mirrored = negate_y(&draft.key.jwk());
        draft.head("jwk", mirrored)
    });
    list.draft(63, (Critical, "RFC 8725 section 3.4", "The point (0, 0)", UNSOUND), |draft| {
        draft.jwk("x", b64([0; 32])).jwk("y", b64([0; 32]))
    });
    list.draft(64, (Critical, "RFC 8725 section 3.4", "A point that is not on the curve", UNSOUND), move |draft| {
        let mut bytes = unb64(&coordinate(&draft, "y")).unwrap_or_default();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        draft.jwk("y", b64(bytes))
    });
    list.draft(65, (Critical, "RFC 8725 section 3.4", "Coordinates beyond the field", UNSOUND), |draft| {
        draft.jwk("x", b64([0xff; 32])).jwk("y", b64([0xff; 32]))
    });
    list.draft(66, (Critical, "4.3(6)", "The coordinates of the key swapped", FOREIGN), move |draft| {
        let (x, y) = (coordinate(&draft, "x"), coordinate(&draft, "y"));
        draft.jwk("x", y).jwk("y", x)
    });
    list.draft(67, (Low, "RFC 7518 section 6.2.1.2", "A compressed point in x and no y", TWO_NAMES), move |draft| {
        let bytes = unb64(&coordinate(&draft, "x")).unwrap_or_default();
        draft.without_jwk("y").jwk("x", b64([&[2], bytes.as_slice()].concat()))
    });
    list.value(68, (Critical, "4.3(6)", "Another's key in the header, and the own signature", FOREIGN), |scene| {
        scene.draft.clone().signed_by(&scene.stranger).sign()
    });
    list.draft(69, (Info, "RFC 7517 section 4", "x twice in the key, another first", TWO_NAMES), |draft| {
        let other = Key::es256().jwk()["x"].clone();
        draft.header_text(|text| text.replacen("\"jwk\":{", &format!("\"jwk\":{{\"x\":{other},"), 1))
    });
    list.draft(70, (Info, "RFC 7517 section 4", "x twice in the key, once escaped", TWO_NAMES), |draft| {
        draft.header_text(|text| text.replacen("\"jwk\":{", "\"jwk\":{\"\\u0078\":\"AA\",", 1))
    });
    list.draft(71, (Info, "RFC 7517 section 4", "crv twice in the key, another first", TWO_NAMES), |draft| {
        draft.header_text(|text| text.replacen("\"jwk\":{", "\"jwk\":{\"crv\":\"P-384\",", 1))
    });
}

fn uses(list: &mut List) {
    let rule = "RFC 7517 section 4.2";
    list.draft(80, (Info, rule, "A key for encryption", MISUSED), |draft| draft.jwk("use", "enc"));
    list.draft(81, (Info, rule, "A use that is a number", MISUSED), |draft| draft.jwk("use", 1));
    list.draft(82, (Info, "RFC 7517 section 4.3", "A key whose operations are for encryption", MISUSED), |draft| {
        draft.jwk("key_ops", json!(["encrypt"]))
    });
    list.draft(83, (Info, "RFC 7517 section 4.3", "Operations of the key that are no list", MISUSED), |draft| {
        draft.jwk("key_ops", "verify")
    });
    list.draft(84, (Info, "RFC 7517 section 4.4", "A key for another algorithm", MISUSED), |draft| draft.jwk("alg", "ES384"));
}

fn signatures(list: &mut List) {
    list.value(90, (Critical, "4.3(6)", "A signature of zeros", FOREIGN), |scene| scene.draft.with_signature([0; 64]));
    list.value(91, (Critical, "4.3(6)", "A signature whose r is zero", FOREIGN), |scene| {
        let mut signature = scene.draft.signature();
        signature[..32].fill(0);
        scene.draft.with_signature(signature)
    });
    list.value(92, (Critical, "4.3(6)", "A signature whose s is zero", FOREIGN), |scene| {
        let mut signature = scene.draft.signature();
        signature[32..].fill(0);
        scene.draft.with_signature(signature)
    });
    list.value(93, (Critical, "4.3(6)", "A signature of ones", FOREIGN), |scene| scene.draft.with_signature([0xff; 64]));
    list.value(94, (Critical, "4.3(6)", "A signature with one bit changed", FOREIGN), |scene| {
        let mut signature = scene.draft.signature();
        signature[40] ^= 1;
        scene.draft.with_signature(signature)
    });
    list.value(95, (Critical, "4.3(6)", "The signature of another proof of the same key", FOREIGN), |scene| {
        scene.draft.with_signature(scene.draft.clone().claim("jti", unique()).signature())
    });
    list.value(96, (Critical, "4.3(6)", "A claim changed after signing", FOREIGN), |scene| {
        scene.draft.clone().claim("jti", unique()).with_signature(scene.draft.signature())
    });
    list.value(97, (Critical, "4.3(6)", "A member added to the header after signing", FOREIGN), |scene| {
        scene.draft.clone().head("x", 1).with_signature(scene.draft.signature())
    });
    list.value(98, (Low, "RFC 7518 section 3.4", "A signature in ASN.1", "one proof has several spellings"), |scene| {
        scene.draft.with_signature(der_of(&scene.draft.signature()))
    });
    list.value(
        99,
        (Low, "RFC 7518 section 3.4", "A signature with s enlarged by the order of the curve", "one proof has several spellings"),
        |scene| scene.draft.with_signature(p256_wide(&scene.draft.signature())),
    );
    list.value(100, (Low, "RFC 7518 section 3.4", "A signature that lacks its last byte", FOREIGN), |scene| {
        scene.draft.with_signature(&scene.draft.signature()[..63])
    });
    list.value(101, (Low, "RFC 7518 section 3.4", "A signature with a byte more", "one proof has several spellings"), |scene| {
        scene.draft.with_signature([scene.draft.signature().as_slice(), &[0]].concat())
    });
    list.value(102, (Critical, "4.3(6)", "The halves of the signature swapped", FOREIGN), |scene| {
        let signature = scene.draft.signature();
        let (r, s) = signature.split_at(signature.len() / 2);
        scene.draft.with_signature([s, r].concat())
    });
    list.value(103, (Critical, "4.3(6)", "A signature over the payload alone", FOREIGN), |scene| {
        let input = scene.draft.signing_input();
        let payload = input.split_once('.').map_or("", |(_, payload)| payload);
        scene.draft.with_signature(scene.draft.key.sign(payload.as_bytes()))
    });
}

fn rsa(list: &mut List) {
    let needs = [Need::Alg("PS256"), Need::Machine];
    list.value(110, (Medium, "RFC 7518 section 3.5", "An RSA key of 1024 bits", UNSOUND), |scene| {
        let mut draft = scene.draft.clone().head("alg", "PS256");
        let (_, signature) = small_rsa(|jwk| {
            draft = draft.clone().head("jwk", jwk.clone());
            draft.signing_input().into_bytes()
        });
        draft.with_signature(signature)
    })
    .needs(&needs);
    list.value(111, (Medium, "RFC 8017 section 3.1", "An RSA key with the exponent 1, for which anyone signs", UNSOUND), |scene| {
        let mut draft = scene.draft.clone().head("alg", "PS256");
        let (_, signature) = rsa_forged_with_exponent_one(|jwk| {
            draft = draft.clone().head("jwk", jwk.clone());
            draft.signing_input().into_bytes()
        });
        draft.with_signature(signature)
    })
    .needs(&needs);
    list.value(
        112,
        (Medium, "RFC 7518 section 3.5", "A PKCS #1 v1.5 signature called PS256", "the padding is not that of the alg"),
        |scene| {
            let key = Key::rsa();
            let draft = scene.draft.clone().by(&key);
            draft.with_signature(key.sign_as("RS256", draft.signing_input().as_bytes()))
        },
    )
    .needs(&needs);
    list.value(113, (Medium, "RFC 7518 section 6.3.1.1", "A leading zero byte on the modulus", TWO_NAMES), |scene| {
        let draft = scene.draft.clone().by(&Key::rsa());
        let n = draft.header["jwk"]["n"].as_str().and_then(unb64).unwrap_or_default();
        draft.jwk("n", b64([&[0], n.as_slice()].concat())).sign()
    })
    .needs(&needs);
    list.value(114, (Medium, "RFC 7518 section 6.3.1.2", "Leading zero bytes on the exponent", TWO_NAMES), |scene| {
        scene.draft.clone().by(&Key::rsa()).jwk("e", b64([0, 1, 0, 1])).sign()
    })
    .needs(&needs);
    list.value(115, (Medium, "RFC 4648 section 3.5", "Unused bits set at the end of the modulus", TWO_NAMES), |scene| {
        let draft = scene.draft.clone().by(&Key::rsa());
        let n = draft.header["jwk"]["n"].as_str().and_then(with_tail_bits).unwrap_or_default();
        draft.jwk("n", n).sign()
    })
    .needs(&needs);
    list.value(116, (High, "RFC 8017 section 3.1", "An even RSA modulus", UNSOUND), |scene| {
        let draft = scene.draft.clone().by(&Key::rsa());
        let mut n = draft.header["jwk"]["n"].as_str().and_then(unb64).unwrap_or_default();
        if let Some(last) = n.last_mut() {
            *last &= 0xfe;
        }
        draft.jwk("n", b64(n)).sign()
    })
    .needs(&needs);
    list.value(117, (High, "4.3(7)", "A private exponent beside an RSA key", PRIVATE), |scene| {
        scene.draft.clone().by(&Key::rsa()).jwk("d", b64([7; 256])).sign()
    })
    .needs(&needs);
    list.value(118, (Critical, "4.3(6)", "An RSA signature of zeros", FOREIGN), |scene| {
        scene.draft.clone().by(&Key::rsa()).with_signature([0; 256])
    })
    .needs(&needs);
}

fn edwards(list: &mut List) {
    let needs = [Need::Alg("EdDSA"), Need::Machine];
    list.value(130, (Medium, "RFC 8032 section 5.1.7", "The identity as Ed25519 key, for which anyone signs", UNSOUND), |scene| {
        let (jwk, signature) = ed25519_identity_key();
        scene.draft.clone().head("alg", "EdDSA").head("jwk", jwk).with_signature(signature)
    })
    .needs(&needs);
    list.value(131, (Medium, "RFC 8032 section 5.1.3", "The identity as Ed25519 key in a spelling beyond the field", UNSOUND), |scene| {
        let (mut jwk, signature) = ed25519_identity_key();
        // p + 1 in place of 1.
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xee, 0x7f);
        jwk["x"] = json!(b64(bytes));
        scene.draft.clone().head("alg", "EdDSA").head("jwk", jwk).with_signature(signature)
    })
    .needs(&needs);
    list.value(
        132,
        (
            Low,
            "RFC 8032 section 5.1.7",
            "An Ed25519 signature with S enlarged by the order of the group",
            "one proof has several spellings",
        ),
        |scene| {
            let draft = scene.draft.clone().by(&Key::ed25519());
            draft.with_signature(curve25519_plus_order(&draft.signature()))
        },
    )
    .needs(&needs);
    list.value(133, (Medium, "RFC 8032 section 5.1.7", "An Ed25519 key and signature of zeros", UNSOUND), |scene| {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64([0; 32])});
        scene.draft.clone().head("alg", "EdDSA").head("jwk", jwk).with_signature([0; 64])
    })
    .needs(&needs);
    list.value(134, (Medium, "RFC 8037 section 2", "An Ed25519 key of 31 bytes", TWO_NAMES), |scene| {
        let draft = scene.draft.clone().by(&Key::ed25519());
        let x = draft.header["jwk"]["x"].as_str().and_then(unb64).unwrap_or_default();
        draft.jwk("x", b64(x.get(..31).unwrap_or_default())).sign()
    })
    .needs(&needs);
    for (number, crv) in [(135, "X25519"), (136, "Ed448"), (137, "P-256")] {
        let title = format!("The crv {crv:?} on an Ed25519 key");
        list.value(number, (Medium, "RFC 8037 section 3.1", &title, MISUSED), move |scene| {
            scene.draft.clone().by(&Key::ed25519()).jwk("crv", crv).sign()
        })
        .needs(&needs);
    }
    list.value(138, (Medium, "RFC 8037 section 3.1", "The alg ES256 on an Ed25519 signature", MISUSED), |scene| {
        scene.draft.clone().by(&Key::ed25519()).head("alg", "ES256").sign()
    })
    .needs(&needs);
    list.value(139, (High, "4.3(7)", "The seed beside an Ed25519 key", PRIVATE), |scene| {
        let key = Key::ed25519();
        scene.draft.clone().by(&key).head("jwk", key.private_jwk().unwrap_or_default()).sign()
    })
    .needs(&needs);
    list.value(140, (Critical, "4.3(6)", "An Ed25519 signature with one bit changed", FOREIGN), |scene| {
        let draft = scene.draft.clone().by(&Key::ed25519());
        let mut signature = draft.signature();
        signature[3] ^= 4;
        draft.with_signature(signature)
    })
    .needs(&needs);
    list.value(141, (Low, "RFC 8037 section 2", "A y beside an Ed25519 key's x, taken for an elliptic key", MISUSED), |scene| {
        scene.draft.clone().by(&Key::ed25519()).jwk("kty", "EC").jwk("y", b64([7; 32])).sign()
    })
    .needs(&needs);
}

fn p384(list: &mut List) {
    let needs = [Need::Alg("ES384"), Need::Machine];
    list.value(150, (Medium, "RFC 7518 section 3.4", "The alg ES256 on a P-384 signature", MISUSED), |scene| {
        scene.draft.clone().by(&Key::es384()).head("alg", "ES256").sign()
    })
    .needs(&needs);
    list.value(151, (Medium, "RFC 7518 section 6.2.1.2", "A leading zero byte on the x of a P-384 key", TWO_NAMES), |scene| {
        let draft = scene.draft.clone().by(&Key::es384());
        let x = draft.header["jwk"]["x"].as_str().and_then(unb64).unwrap_or_default();
        draft.jwk("x", b64([&[0], x.as_slice()].concat())).sign()
    })
    .needs(&needs);
    list.value(152, (Critical, "4.3(6)", "A P-384 signature of zeros", FOREIGN), |scene| {
        scene.draft.clone().by(&Key::es384()).with_signature([0; 96])
    })
    .needs(&needs);
    list.value(153, (Medium, "RFC 7518 section 3.4", "A P-521 key called P-384", MISUSED), |scene| {
        scene.draft.clone().by(&Key::es512()).jwk("crv", "P-384").head("alg", "ES384").sign()
    })
    .needs(&needs);
}
