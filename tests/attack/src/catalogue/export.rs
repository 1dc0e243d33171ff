//! The catalogue for other suites: inputs and judgements as JSON, and steps in words.

use serde_json::{Value, json};
use url::Url;

use super::{Attack, Body, Catalogue, Family, Judgement, Scene, Severity};
use crate::arena::{Call, Need, Role, Stage};
use crate::jose::{Draft, Key, b64, unb64};

/// The version of the exported catalogue. The first number changes with what the members mean, the second with attacks that are added.
pub const VERSION: &str = "1.0";

/// The time of the specimens: 2030-01-01.
const SPECIMEN_TIME: i64 = 1_893_456_000;

/// The catalogue as one JSON document.
pub(crate) fn export(catalogue: &Catalogue) -> Value {
    let attacks: Vec<Value> = catalogue.attacks.iter().map(attack).collect();
    let twins: Vec<Value> = catalogue
        .twins
        .values()
        .map(|twin| {
            json!({"id": twin.id, "title": twin.title, "section": twin.section, "needs": twin.needs.iter().map(|need| need_name(*need)).collect::<Vec<_>>()})
        })
        .collect();
    let judgements: Vec<Value> = [
        Judgement::Refused,
        Judgement::AcceptedOnce,
        Judgement::LeavesNoTrace,
        Judgement::OneLeaf,
        Judgement::StaysEnded,
        Judgement::WellFormed,
        Judgement::Bounded,
        Judgement::FollowsTheModel,
    ]
    .iter()
    .map(|judgement| json!({"id": judgement, "words": judgement.words()}))
    .collect();
    json!({
        "format": "keybound-attack-catalogue",
        "version": VERSION,
        "severities": Severity::ALL,
        "families": Family::ALL.map(|family| json!({"id": family, "prefix": family.prefix(), "title": family.title()})),
        "judgements": judgements,
        "specimens": {
            "time": SPECIMEN_TIME,
            "method_and_url": {
                "token": ["POST", specimen_url(Stage::Token).as_str()],
                "refresh": ["POST", specimen_url(Stage::Refresh).as_str()],
                "par": ["POST", specimen_url(Stage::Par).as_str()],
                "resource": ["GET", specimen_url(Stage::Resource).as_str()],
            },
            "access_token": SPECIMEN_TOKEN,
            "window_s": 60,
            "skew_s": 10,
        },
        "twins": twins,
        "attacks": attacks,
    })
}

fn attack(attack: &Attack) -> Value {
    let mut value = json!({
        "id": attack.id,
        "family": attack.family,
        "title": attack.title,
        "section": attack.section,
        "breach": attack.breach,
        "severity": attack.severity,
        "judgement": attack.judgement,
        "twin": attack.twin,
        "slow": attack.slow,
        "needs": attack.all_needs().iter().map(|need| need_name(*need)).collect::<Vec<_>>(),
    });
    match &attack.body {
        Body::Forge(stage, forge) => {
            let call = specimen_call(*stage);
            let lines = forge(&scene(&call));
            value["input"] = json!({
                "kind": "proof",
                "stage": stage_name(*stage),
                // A line that is not ASCII is told in base64url, for JSON has no bytes.
                "dpop": lines.iter().map(|line| match std::str::from_utf8(line) {
                    Ok(text) if text.is_ascii() => json!(text),
                    _ => json!({"base64url": b64(line)}),
                }).collect::<Vec<_>>(),
            });
        }
        Body::Script(steps, _) => value["input"] = json!({"kind": "steps", "steps": steps}),
    }
    value
}

/// What an attack sends, in words.
pub(super) fn steps(attack: &Attack) -> Vec<String> {
    match &attack.body {
        Body::Script(steps, _) => steps.clone(),
        Body::Forge(stage, forge) => {
            let call = specimen_call(*stage);
            let lines = forge(&scene(&call));
            let mut words = vec![format!(
                "An honest {} with {} DPoP header line{}. For a client of https://as.example:",
                match stage {
                    Stage::Any | Stage::Token => "token request",
                    Stage::Refresh => "refresh",
                    Stage::Par => "pushed authorization request",
                    Stage::Resource => "call of a protected resource",
                },
                if lines.is_empty() { "no".to_owned() } else { lines.len().to_string() },
                if lines.len() == 1 { "" } else { "s" }
            )];
            for line in &lines {
                words.extend(described(&String::from_utf8_lossy(line)));
            }
            words
        }
    }
}

/// A header line with its segments decoded, where they can be.
fn described(line: &str) -> Vec<String> {
    let shown: String = line.escape_debug().take(200).collect();
    let mut words = vec![format!("DPoP: {shown}{}", if line.len() > 200 { "…" } else { "" })];
    let mut segments = line.split('.');
    for name in ["header", "payload"] {
        let decoded = segments.next().and_then(unb64).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(text) = decoded.filter(|text| !text.is_empty()) {
            let text: String = text.escape_debug().filter(|letter| *letter != '\\').take(400).collect();
            words.push(format!("      {name}: {text}"));
        }
    }
    words
}

fn scene(call: &Call) -> Scene<'_> {
    let mut draft = Draft::new(&call.key, call.method, call.url.as_str(), SPECIMEN_TIME).claim("jti", "c3BlY2ltZW4tanRpLTEyMw");
    if let Some(token) = &call.access_token {
        draft = draft.claim("ath", b64(crate::jose::sha256(token)));
    }
    Scene { draft, call, stranger: specimen_key(2), window_s: 60, skew_s: 10 }
}

fn specimen_call(stage: Stage) -> Call {
    Call::specimen(
        stage,
        if stage == Stage::Resource { "GET" } else { "POST" },
        specimen_url(stage),
        specimen_key(1),
        if stage == Stage::Resource { Role::ResourceServer } else { Role::AuthorizationServer },
        (stage == Stage::Resource).then(|| SPECIMEN_TOKEN.to_owned()),
    )
}

/// The access token of RFC 9449 section 7.1.
const SPECIMEN_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn specimen_url(stage: Stage) -> Url {
    let url = match stage {
        Stage::Any | Stage::Token | Stage::Refresh => "https://as.example/oauth/token",
        Stage::Par => "https://as.example/oauth/par",
        Stage::Resource => "https://api.example/accounts",
    };
    Url::parse(url).expect("a URL that is written here is one")
}

/// Always the same key, so that an export can be compared with another.
fn specimen_key(scalar: u8) -> Key {
    let mut d = [0; 32];
    d[31] = scalar;
    Key::from_jwk(&json!({"kty": "EC", "crv": "P-256", "d": b64(d)})).expect("a small scalar is a key")
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Any => "any",
        Stage::Token => "token",
        Stage::Refresh => "refresh",
        Stage::Par => "par",
        Stage::Resource => "resource",
    }
}

/// A need by its name in the export.
pub(super) fn need_name(need: Need) -> String {
    match need {
        Need::Machine => "client_credentials",
        Need::Session => "session",
        Need::Sessions => "sessions",
        Need::Codes => "codes",
        Need::Par => "pushed_authorization_requests",
        Need::PlainAuthorize => "plain_authorization_requests",
        Need::Resource => "resource",
        Need::Introspection => "introspection",
        Need::Revocation => "revocation",
        Need::Peer => "second_node",
        Need::Restart => "restart",
        Need::OtherClient => "other_client",
        Need::RefreshEndpoint => "second_refresh_endpoint",
        Need::Assertion => "private_key_jwt",
        Need::Secret => "client_secret",
        Need::Nonces => "nonces",
        Need::Alg(alg) => return format!("alg:{alg}"),
        Need::OwnServer => "own_server",
    }
    .to_owned()
}
