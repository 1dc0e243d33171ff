//! The checks of a proof (RFC 9449 section 4.3), each of which can be left out.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};
use url::Url;

use crate::fault::Fault;
use crate::json;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&SHA256, bytes.as_ref()).as_ref().to_vec()
}

pub(crate) fn unb64(text: &str, lax: bool) -> Option<Vec<u8>> {
    const LAX: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    if lax { LAX.decode(text).ok() } else { URL_SAFE_NO_PAD.decode(text).ok() }
}

/// A proof whose every part is in order; its use is not recorded yet.
pub(crate) struct Proof {
    pub(crate) jkt: String,
    pub(crate) jti: String,
    pub(crate) iat: i64,
    pub(crate) nonce: Option<String>,
    pub(crate) ath: Option<String>,
    pub(crate) bytes: String,
}

/// What a proof has to fit.
pub(crate) struct Expected<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) now: i64,
    pub(crate) window: i64,
    pub(crate) skew: i64,
    pub(crate) fault: Option<Fault>,
}

/// The algorithms that proofs may use.
pub(crate) const ALGS: [&str; 5] = ["ES256", "ES384", "PS256", "EdDSA", "Ed25519"];

/// Judges the `DPoP` lines of a request. `None` is a refusal; `early` is told the key and jti as soon as they are read.
pub(crate) fn check(lines: &[&[u8]], expected: &Expected<'_>, early: &mut dyn FnMut(&str, &str)) -> Option<Proof> {
    let fault = |fault| expected.fault == Some(fault);
    let line = match lines {
        [line] => *line,
        [first, ..] if fault(Fault::FirstHeaderOnly) => *first,
        _ => return None,
    };
    let mut text = std::str::from_utf8(line).ok()?;
    if fault(Fault::CommaSplit) {
        text = text.split(',').next()?.trim();
    }
    if text.len() > 4096 {
        return None;
    }
    let mut parts = text.split('.');
    let (header_part, claims_part, signature_part) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let twice = fault(Fault::DuplicatesTaken);
    let header = json::object(&unb64(header_part, false)?, twice)?;
    let claims = json::object(&unb64(claims_part, false)?, twice)?;
    let signature = unb64(signature_part, fault(Fault::JtiByBytes))?;
    let text_of = |members: &Map<String, Value>, name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);

    if text_of(&header, "typ").as_deref() != Some("dpop+jwt") && !fault(Fault::TypIgnored) {
        return None;
    }
    if (header.contains_key("crit") || header.contains_key("b64")) && !fault(Fault::CriticalIgnored) {
        return None;
    }
    let alg = text_of(&header, "alg")?;
    let jwk = header.get("jwk")?.as_object()?;
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
    let (jti, htm, htu) = (text_of(&claims, "jti")?, text_of(&claims, "htm")?, text_of(&claims, "htu")?);
    if jti.is_empty() || jti.len() > 256 {
        return None;
    }
    let iat = claims.get("iat")?.as_f64().filter(|iat| iat.abs() < 1e12)?.floor() as i64;

    let jkt = if fault(Fault::MacTaken) && alg == "HS256" {
        let secret = unb64(jwk.get("k")?.as_str()?, false)?;
        let input = format!("{header_part}.{claims_part}");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes(), &signature).ok()?;
        b64(sha256(secret))
    } else {
        if !fault(Fault::PrivateKeyTaken) && private.iter().any(|name| jwk.contains_key(*name)) {
            return None;
        }
        for (name, value) in [("use", "sig"), ("alg", alg.as_str())] {
            if jwk.get(name).is_some_and(|found| found != value) {
                return None;
            }
        }
        if jwk.get("key_ops").is_some_and(|ops| *ops != json!(["verify"])) {
            return None;
        }
        let none = fault(Fault::NoneTaken) && alg == "none";
        verify(jwk, &alg, format!("{header_part}.{claims_part}").as_bytes(), &signature, none, expected.fault)?
    };
    early(&jkt, &jti);

    let method_fits = if fault(Fault::MethodCaseIgnored) { htm.eq_ignore_ascii_case(expected.method) } else { htm == expected.method };
    if !method_fits && !fault(Fault::MethodUnchecked) {
        return None;
    }
    if !uri_fits(&htu, expected.url, expected.fault) && !fault(Fault::UriUnchecked) {
        return None;
    }
    let age = expected.now - iat;
    if age > expected.window && !fault(Fault::OldTaken) || -age > expected.skew && !fault(Fault::FutureTaken) {
        return None;
    }
    let time = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(value) => value.as_f64().map(Some),
    };
    if time("exp")?.is_some_and(|exp| exp < (expected.now - expected.skew) as f64)
        || time("nbf")?.is_some_and(|nbf| nbf > (expected.now + expected.skew) as f64)
    {
        return None;
    }
    let string_or_none = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        // A nonce of another type is a nonce that nobody gave.
        Some(_) if name == "nonce" => Some(Some(String::new())),
        Some(_) => None,
    };
    Some(Proof { jkt, jti, iat, nonce: string_or_none("nonce")?, ath: string_or_none("ath")?, bytes: text.to_owned() })
}

/// Verifies a signature; gives the thumbprint of the key.
fn verify(jwk: &Map<String, Value>, alg: &str, input: &[u8], signature: &[u8], none: bool, fault: Option<Fault>) -> Option<String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| unb64(text(name)?, fault == Some(Fault::TailBitsTaken));
    let canonical = |members: &[(&str, String)]| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{}", json!(name), json!(value))).collect();
        b64(sha256(format!("{{{}}}", members.join(","))))
    };
    let good = none || fault == Some(Fault::SignatureUnchecked);
    if !ALGS.contains(&alg) && !none {
        return None;
    }
    match (text("kty")?, text("crv")) {
        ("EC", Some(crv @ ("P-256" | "P-384"))) => {
            let (algorithm, width, name) =
                if crv == "P-256" { (&ECDSA_P256_SHA256_FIXED, 32, "ES256") } else { (&ECDSA_P384_SHA384_FIXED, 48, "ES384") };
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != width || y.len() != width || (alg != name && !none) {
                return None;
            }
            let key = UnparsedPublicKey::new(algorithm, [&[4], x.as_slice(), y.as_slice()].concat());
            (good || key.verify(input, signature).is_ok()).then_some(())?;
            Some(canonical(&[("crv", crv.to_owned()), ("kty", "EC".to_owned()), ("x", b64(x)), ("y", b64(y))]))
        }
        ("OKP", Some("Ed25519")) if matches!(alg, "EdDSA" | "Ed25519") => {
            let x = bytes("x")?;
            if x.len() != 32 || (is_small_or_beyond(&x) && fault != Some(Fault::SmallOrderKeys)) {
                return None;
            }
            (good || UnparsedPublicKey::new(&ED25519, &x).verify(input, signature).is_ok()).then_some(())?;
            Some(canonical(&[("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", b64(x))]))
        }
        ("RSA", _) if alg == "PS256" => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            if !(256..=512).contains(&n.len()) || n[0] == 0 || n[n.len() - 1].is_multiple_of(2) || e != [1, 0, 1] {
                return None;
            }
            let key = RsaPublicKeyComponents { n: &n, e: &e };
            (good || key.verify(&RSA_PSS_2048_8192_SHA256, input, signature).is_ok()).then_some(())?;
            Some(canonical(&[("e", b64(e)), ("kty", "RSA".to_owned()), ("n", b64(n))]))
        }
        _ => None,
    }
}

/// Points of small order, and spellings beyond the field, that the attacks use.
fn is_small_or_beyond(x: &[u8]) -> bool {
    let y = &x[1..31];
    let small = y.iter().all(|byte| *byte == 0) && x[0] <= 1 && x[31] & 0x7f == 0;
    let beyond = y.iter().all(|byte| *byte == 0xff) && x[0] >= 0xec && x[31] & 0x7f == 0x7f;
    small || beyond
}

fn uri_fits(htu: &str, url: &str, fault: Option<Fault>) -> bool {
    let cut = htu.split(['?', '#']).next().unwrap_or_default();
    let cut = match fault {
        Some(Fault::UriDecoded) => cut.replace("%2F", "/").replace("%2f", "/"),
        Some(Fault::UriWithoutSlash) => cut.trim_end_matches('/').to_owned(),
        _ => cut.to_owned(),
    };
    if fault == Some(Fault::UriPrefix) && cut.starts_with(url) {
        return true;
    }
    // Scheme and host in small letters, the default port left out; anything the parser would have to mend is refused.
    let mended = |text: &str| {
        Url::parse(text).is_ok_and(|parsed| {
            let scheme_and_host = text.len() - parsed.path().len();
            text.is_char_boundary(scheme_and_host)
                && text[scheme_and_host..] == *parsed.path()
                && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@' && byte != b'\\')
        })
    };
    let lowered = |text: &str| {
        text.split_once("://").and_then(|(scheme, rest)| {
            let (authority, path) = rest.find('/').map(|slash| rest.split_at(slash))?;
            Some(format!("{}://{}{path}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
        })
    };
    mended(&cut) && lowered(&cut).as_deref() == Some(url)
}

/// Whether two secrets are the same.
pub(crate) fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
