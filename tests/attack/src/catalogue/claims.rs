//! `CLM`: the claims and the time.

use serde_json::{Value, json};

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, List};
use crate::arena::Stage;

const WINDOW: &str = "a recorded proof is good for longer than anybody remembers its use";
const TYPE: &str = "a check that finds another JSON type than it expects is skipped";
const DIFFERENT: &str = "two readers of one proof see different values";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Claims, Stage::Any, "TWN-001");
    types(&mut list);
    identifiers(&mut list);
    time(&mut list);
    expiry(&mut list);
    json_text(&mut list);
    list.attacks
}

/// Each mandatory claim left out, and with each wrong JSON type.
fn types(list: &mut List) {
    let claims = [
        ("jti", "without a name a proof can be used any number of times"),
        ("htm", "a proof for one method is good for every other"),
        ("htu", "a proof for one place is good for every other"),
        ("iat", "a proof without a time is good for ever"),
    ];
    let values = [
        ("null", Value::Null),
        ("true", json!(true)),
        ("an array", json!(["x"])),
        ("an object", json!({"value": 1})),
        ("an empty string", json!("")),
    ];
    let mut number = 1;
    for (name, breach) in claims {
        list.draft(number, (High, "4.3(3)", &format!("No {name}"), breach), move |draft| draft.without(name));
        for (kind, value) in &values {
            let value = value.clone();
            list.draft(number + 1, (High, "4.3(3)", &format!("A {name} that is {kind}"), TYPE), move |draft| {
                draft.claim(name, value.clone())
            });
            number += 1;
        }
        number += 1;
    }
    for name in ["jti", "htm", "htu"] {
        list.draft(number, (Medium, "4.3(3)", &format!("A {name} that is a number"), TYPE), move |draft| draft.claim(name, 42));
        number += 1;
    }
    for name in ["htm", "htu"] {
        let title = format!("A {name} in an array with the right value in it");
        list.draft(number, (Medium, "4.3(3)", &title, TYPE), move |draft| {
            let value = draft.claims.get(name).cloned().unwrap_or_default();
            draft.claim(name, json!([value]))
        });
        number += 1;
    }
}

fn identifiers(list: &mut List) {
    list.draft(31, (Low, "4.2", "The claims in an inner object", TYPE), |mut draft| {
        let inner = Value::Object(std::mem::take(&mut draft.claims));
        draft.claim("claims", inner)
    });
    list.draft(32, (Low, "4.2", "The names of the claims in capitals", TYPE), |mut draft| {
        draft.claims = draft.claims.into_iter().map(|(name, value)| (name.to_uppercase(), value)).collect();
        draft
    });
    list.draft(
        33,
        (
            Info,
            "7",
            "An ath where no access token is shown",
            "a proof that was made for an access token can be turned to the token endpoint",
        ),
        |draft| draft.claim("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"),
    );
}

fn time(list: &mut List) {
    let shifts = [
        (40, High, "a minute before the window", -60_i64, true),
        (41, High, "an hour before", -3_600, false),
        (42, High, "a day before", -86_400, false),
    ];
    for (number, severity, name, shift, from_window) in shifts {
        let title = format!("An iat {name}");
        list.value(number, (severity, "4.3(11)", &title, WINDOW), move |scene| {
            let edge = if from_window { scene.window_s } else { 0 };
            scene.draft.clone().claim("iat", now_of(scene) - edge + shift).sign()
        });
    }
    list.value(43, (Medium, "4.3(11)", "An iat just before the window", WINDOW), |scene| {
        scene.draft.clone().claim("iat", now_of(scene) - scene.window_s - 3).sign()
    })
    .twin("TWN-040");
    let shifts = [(44, "a minute after the tolerance", 60_i64), (45, "an hour ahead", 3_600), (46, "a year ahead", 31_536_000)];
    for (number, name, shift) in shifts {
        let title = format!("An iat {name}");
        list.value(
            number,
            (High, "4.3(11)", &title, "proofs can be made now for use later, when the key is no longer at hand"),
            move |scene| scene.draft.clone().claim("iat", now_of(scene) + scene.skew_s + shift).sign(),
        );
    }
    list.value(47, (Medium, "4.3(11)", "An iat just after the tolerance", WINDOW), |scene| {
        scene.draft.clone().claim("iat", now_of(scene) + scene.skew_s + 3).sign()
    })
    .twin("TWN-040");
    let numbers = [
        (48, "zero", "0"),
        (49, "minus one", "-1"),
        (50, "the smallest 64-bit number", "-9223372036854775808"),
        (51, "the largest 64-bit number", "9223372036854775807"),
        (52, "the largest unsigned 64-bit number", "18446744073709551615"),
        (53, "beyond any double", "1e400"),
        (54, "a huge double", "1e308"),
        (55, "a huge negative double", "-1e308"),
        (56, "the smallest double", "5e-324"),
        (57, "minus zero", "-0"),
    ];
    for (number, name, text) in numbers {
        let title = format!("An iat of {name}");
        list.draft(number, (High, "4.3(11)", &title, "arithmetic with the time overflows, and the proof is good for ever"), move |draft| {
            draft.claim("iat", "@").claims_text(|claims| claims.replace("\"@\"", text))
        });
    }
    list.value(58, (Medium, "4.3(3)", "An iat in quotes", TYPE), |scene| {
        scene.draft.clone().claim("iat", now_of(scene).to_string()).sign()
    });
    list.value(59, (Medium, "4.3(11)", "An iat in milliseconds", WINDOW), |scene| {
        scene.draft.clone().claim("iat", now_of(scene) * 1000).sign()
    });
    list.value(60, (Medium, "4.3(3)", "An iat in an array", TYPE), |scene| scene.draft.clone().claim("iat", json!([now_of(scene)])).sign());
    list.draft(61, (Medium, "4.3(3)", "An iat that is a date in words", TYPE), |draft| draft.claim("iat", "2030-01-01T00:00:00Z"));
}

fn now_of(scene: &super::Scene<'_>) -> i64 {
    scene.draft.claims.get("iat").and_then(Value::as_i64).unwrap_or_default()
}

fn expiry(list: &mut List) {
    const UNTIL: &str = "a proof is accepted outside of the time its maker gave it";
    list.value(70, (Info, "RFC 7519 section 4.1.4", "An exp an hour ago", UNTIL), |scene| {
        scene.draft.clone().claim("exp", now_of(scene) - 3_600).sign()
    });
    list.value(71, (Info, "RFC 7519 section 4.1.5", "An nbf an hour ahead", UNTIL), |scene| {
        scene.draft.clone().claim("nbf", now_of(scene) + 3_600).sign()
    });
    list.draft(72, (Info, "RFC 7519 section 4.1.4", "An exp that is a string", TYPE), |draft| draft.claim("exp", "never"));
    list.draft(73, (Info, "RFC 7519 section 4.1.5", "An nbf that is an object", TYPE), |draft| draft.claim("nbf", json!({})));
}

fn json_text(list: &mut List) {
    let rule = "RFC 7519 section 4";
    let first = |text: String, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let last = |text: String, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    list.draft(80, (Info, rule, "iat twice, an old one first", DIFFERENT), move |draft| {
        draft.claims_text(|text| first(text, r#""iat":1"#))
    });
    list.draft(81, (Medium, rule, "iat twice, an old one last", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""iat":1"#))
    });
    list.draft(82, (Info, rule, "jti twice", DIFFERENT), move |draft| draft.claims_text(|text| first(text, r#""jti":"first""#)));
    list.draft(83, (Info, rule, "htu twice, another place first", DIFFERENT), move |draft| {
        draft.claims_text(|text| first(text, r#""htu":"https://x.example/""#))
    });
    list.draft(84, (Medium, rule, "htu twice, another place last", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""htu":"https://x.example/""#))
    });
    list.draft(85, (Info, rule, "htm twice, another method first", DIFFERENT), move |draft| {
        draft.claims_text(|text| first(text, r#""htm":"GET""#))
    });
    list.draft(86, (Info, rule, "jti twice, once escaped", DIFFERENT), move |draft| {
        draft.claims_text(|text| first(text, r#""\u006ati":"first""#))
    });
    list.draft(87, (Info, rule, "A member twice in an inner object", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""x":{"a":1,"a":2}"#))
    });
    list.draft(88, (Critical, rule, "A payload that is an array", TYPE), |draft| draft.claims_text(|text| format!("[{text}]")));
    list.draft(89, (Critical, rule, "A payload that is a string", TYPE), |draft| draft.claims_text(|text| json!(text).to_string()));
    list.draft(90, (Critical, rule, "A payload that is null", TYPE), |draft| draft.claims_text(|_| "null".to_owned()));
    list.draft(91, (Critical, rule, "A payload that is an empty object", TYPE), |draft| draft.claims_text(|_| "{}".to_owned()));
    list.draft(92, (High, rule, "A payload that is no JSON", TYPE), |draft| draft.claims_text(|_| "payload".to_owned()));
    list.draft(93, (Low, "RFC 8259 section 2", "Text after the object of the payload", DIFFERENT), |draft| {
        draft.claims_text(|text| text + "x")
    });
    list.draft(94, (Info, "RFC 8259 section 8.1", "A byte order mark before the payload", DIFFERENT), |draft| {
        draft.claims_text(|text| format!("\u{feff}{text}"))
    });
    list.draft(95, (Low, "RFC 8259 section 2", "A comma after the last claim", DIFFERENT), |draft| {
        draft.claims_text(|text| format!("{},}}", &text[..text.len() - 1]))
    });
    list.draft(96, (Low, "RFC 8259 section 6", "Infinity among the claims", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""x":Infinity"#))
    });
    list.draft(97, (Low, "RFC 8259 section 6", "A number with a leading zero among the claims", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""x":01"#))
    });
    list.draft(98, (Low, "RFC 8259 section 7", "A raw line break in a string of the payload", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, "\"x\":\"a\nb\""))
    });
    list.draft(99, (Low, "RFC 8259 section 7", "A lone surrogate among the claims", DIFFERENT), move |draft| {
        draft.claims_text(|text| last(text, r#""x":"\udc00""#))
    });
}
