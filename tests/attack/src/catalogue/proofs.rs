//! `PRF`: the header line, the JWS and its header.

use serde_json::{Value, json};

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, Scene, run};
use crate::arena::{Arena, Stage, told};
use crate::halt::{Step, breach};
use crate::jose::{b64, hs256, with_tail_bits};
use crate::judge::refused;

const TWO: &str = "which of two proofs is judged depends on who reads: a proxy and the server may judge different ones";
const LENIENT: &str = "one proof has many spellings, and a replay check or another reader may take them for different proofs";
const KIND: &str = "a JWT that the key signed for another purpose passes as a proof";
const NOT_JWT: &str = "what is no JWT is taken for one: parsers that disagree can be played against each other";
const UNSIGNED: &str = "anyone makes proofs for anyone's key";
const DIFFERENT: &str = "two readers of one proof see different values";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Proof, Stage::Any, "TWN-001");
    lines(&mut list);
    segments(&mut list);
    typ(&mut list);
    alg(&mut list);
    critical(&mut list);
    json_text(&mut list);
    list.attacks
}

fn good(scene: &Scene<'_>) -> String {
    scene.draft.sign()
}

fn lines(list: &mut List) {
    list.script(
        1,
        (High, "5", "A request without a proof", "a token that is called bound to a key is issued to nobody's key"),
        Judgement::Refused,
        "Send an honest token request without a DPoP header.\nA refusal holds; so does a token that says it is a Bearer token.",
        run!(no_proof),
    );
    list.value(2, (High, "4.3(2)", "An empty DPoP header", "an empty header counts as a proof"), |_| String::new());
    list.lines(3, (High, "4.3(1)", "The same proof in two DPoP lines", TWO), |scene| vec![good(scene).into_bytes(); 2]);
    list.lines(4, (High, "4.3(1)", "A good proof, then a line of garbage", TWO), |scene| {
        vec![good(scene).into_bytes(), b"garbage".to_vec()]
    });
    list.lines(5, (High, "4.3(1)", "A line of garbage, then a good proof", TWO), |scene| {
        vec![b"garbage".to_vec(), good(scene).into_bytes()]
    });
    list.lines(6, (High, "4.3(1)", "Two good proofs in two lines", TWO), |scene| {
        let other = scene.draft.clone().claim("jti", crate::jose::unique());
        vec![good(scene).into_bytes(), other.sign().into_bytes()]
    });
    list.lines(7, (High, "4.3(1)", "A good proof, then a proof of another key", TWO), |scene| {
        vec![good(scene).into_bytes(), scene.draft.clone().by(&scene.stranger).sign().into_bytes()]
    });
    list.lines(8, (High, "4.3(1)", "A good proof, then an empty line", TWO), |scene| vec![good(scene).into_bytes(), Vec::new()]);
    list.value(9, (High, "4.3(1)", "Two good proofs joined by a comma, as proxies fold lines", TWO), |scene| {
        let other = scene.draft.clone().claim("jti", crate::jose::unique());
        format!("{}, {}", good(scene), other.sign())
    });
    list.value(10, (Medium, "4.1", "A comma after the proof", LENIENT), |scene| format!("{},", good(scene)));
    list.value(11, (Medium, "4.1", "A comma before the proof", LENIENT), |scene| format!(",{}", good(scene)));
    list.value(12, (Medium, "4.1", "A second word after the proof", LENIENT), |scene| format!("{} more", good(scene)));
    list.value(13, (Medium, "4.1", "The proof in quotes", LENIENT), |scene| format!("\"{}\"", good(scene)));
    list.value(14, (Medium, "4.1", "The proof after the word DPoP", LENIENT), |scene| format!("DPoP {}", good(scene)));
    list.value(15, (Medium, "4.1", "A parameter after the proof", LENIENT), |scene| format!("{};v=1", good(scene)));
    list.lines(16, (Low, "4.1", "A byte outside ASCII after the proof", LENIENT), |scene| vec![[good(scene).as_bytes(), b"\xff"].concat()]);
    list.lines(17, (Medium, "RFC 9110 section 5.5", "A NUL byte within the proof", LENIENT), |scene| {
        let mut bytes = good(scene).into_bytes();
        bytes.insert(10, 0);
        vec![bytes]
    });
    list.lines(18, (Medium, "RFC 9112 section 5.2", "The proof folded over two lines", LENIENT), |scene| {
        let proof = good(scene);
        let (first, second) = proof.split_at(20);
        vec![format!("{first}\r\n {second}").into_bytes()]
    });
}

fn segments(list: &mut List) {
    list.value(20, (Critical, "4.3(2)", "A proof without the segment of the signature", UNSIGNED), |scene| scene.draft.signing_input());
    list.value(21, (Critical, "4.3(6)", "A proof with an empty signature", UNSIGNED), |scene| format!("{}.", scene.draft.signing_input()));
    list.value(22, (Medium, "RFC 7515 section 7.1", "A fourth segment after the proof", NOT_JWT), |scene| format!("{}.e30", good(scene)));
    list.value(23, (Medium, "RFC 7516 section 7.1", "Five segments, the shape of a JWE", NOT_JWT), |scene| {
        format!("{}.e30.e30", good(scene))
    });
    list.value(24, (Medium, "RFC 7515 section 7.1", "A dot before the proof", LENIENT), |scene| format!(".{}", good(scene)));
    list.value(25, (Medium, "RFC 7515 section 7.1", "A dot after the proof", LENIENT), |scene| format!("{}.", good(scene)));
    list.value(26, (Medium, "RFC 7515 section 7.2.2", "The flattened JSON serialization", NOT_JWT), |scene| {
        let proof = good(scene);
        let parts: Vec<&str> = proof.split('.').collect();
        json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string()
    });
    list.value(27, (Medium, "RFC 7515 section 7.2.1", "The general JSON serialization", NOT_JWT), |scene| {
        let proof = good(scene);
        let parts: Vec<&str> = proof.split('.').collect();
        json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]}).to_string()
    });
    list.value(28, (Critical, "RFC 7515 section 7.2.1", "The JSON serialization without any signature", UNSIGNED), |scene| {
        let proof = good(scene);
        let parts: Vec<&str> = proof.split('.').collect();
        json!({"protected": parts[0], "payload": parts[1], "signatures": []}).to_string()
    });
    let segment = |scene: &Scene<'_>, at: usize, edit: &dyn Fn(&str) -> String| {
        let proof = good(scene);
        let parts: Vec<String> =
            proof.split('.').enumerate().map(|(index, part)| if index == at { edit(part) } else { part.to_owned() }).collect();
        parts.join(".")
    };
    list.value(29, (Low, "RFC 7515 section 2", "Padding on the signature", LENIENT), move |scene| {
        segment(scene, 2, &|part| format!("{part}=="))
    });
    list.value(30, (Low, "RFC 4648 section 3.5", "Unused bits set at the end of the signature", LENIENT), move |scene| {
        segment(scene, 2, &|part| with_tail_bits(part).unwrap_or_else(|| part.to_owned() + "="))
    });
    list.value(31, (Low, "RFC 7515 section 2", "Padding on the header, which is signed so", LENIENT), |scene| {
        // The signature is over the padded text: a reader that ignores padding finds nothing wrong.
        resigned(scene, |header, payload| (format!("{header}="), payload))
    });
    list.value(32, (Low, "RFC 7515 section 2", "Padding on the payload, which is signed so", LENIENT), |scene| {
        resigned(scene, |header, payload| (header, format!("{payload}=")))
    });
    list.value(33, (Low, "RFC 7515 section 2", "The standard alphabet of Base64 in the payload", LENIENT), |scene| {
        let draft = scene.draft.clone().claim("note", "\u{3fe}\u{3ff}\u{ffe}>>>???\u{fb}\u{ff}");
        resigned_of(&draft, |header, payload| (header, payload.replace('-', "+").replace('_', "/")))
    });
    list.value(34, (Low, "RFC 4648 section 3.5", "Unused bits set at the end of the payload", LENIENT), |scene| {
        // The length is changed until there are unused bits.
        let draft = (0..3).map(|length| scene.draft.clone().claim("note", "x".repeat(length)));
        let draft = draft.into_iter().find(|draft| !b64(Value::Object(draft.claims.clone()).to_string()).len().is_multiple_of(4));
        resigned_of(&draft.unwrap_or_else(|| scene.draft.clone()), |header, payload| {
            let other = with_tail_bits(&payload).unwrap_or_else(|| format!("{payload}="));
            (header, other)
        })
    });
    list.value(35, (Low, "RFC 7515 section 2", "A line break within the payload, which is signed so", LENIENT), |scene| {
        resigned(scene, |header, payload| (header, format!("{}\t{}", &payload[..8], &payload[8..])))
    });
    list.value(36, (Low, "RFC 7515 section 7.1", "Percent-encoded dots between the segments", LENIENT), |scene| {
        good(scene).replace('.', "%2E")
    });
    list.value(37, (Medium, "4.3(2)", "A single word", NOT_JWT), |_| "proof".to_owned());
    list.value(38, (Medium, "4.3(2)", "Two dots and nothing else", NOT_JWT), |_| "..".to_owned());
    list.value(39, (Critical, "4.3(2)", "An empty payload", UNSIGNED), |scene| resigned(scene, |header, _| (header, String::new())));
}

/// The proof with other texts of its first two segments, signed over those.
fn resigned(scene: &Scene<'_>, edit: impl FnOnce(String, String) -> (String, String)) -> String {
    resigned_of(&scene.draft, edit)
}

fn resigned_of(draft: &crate::jose::Draft, edit: impl FnOnce(String, String) -> (String, String)) -> String {
    let input = draft.signing_input();
    let (header, payload) = input.split_once('.').unwrap_or_default();
    let (header, payload) = edit(header.to_owned(), payload.to_owned());
    let input = format!("{header}.{payload}");
    format!("{input}.{}", b64(draft.key.sign(input.as_bytes())))
}

fn typ(list: &mut List) {
    list.draft(40, (High, "4.3(4)", "No typ", KIND), |draft| draft.without_head("typ"));
    let others = [
        (41, High, "JWT"),
        (42, High, "at+jwt"),
        (43, High, "client-authentication+jwt"),
        (44, High, "oauth-authz-req+jwt"),
        (45, Low, "dpop"),
        (46, Low, "dpop+jwt "),
        (47, Info, "DPoP+JWT"),
        (48, Info, "application/dpop+jwt"),
        (49, High, ""),
    ];
    for (number, severity, typ) in others {
        let title = format!("The typ {typ:?}");
        list.draft(number, (severity, "4.3(4)", &title, KIND), move |draft| draft.head("typ", typ));
    }
    let types = [
        (50, "null", Value::Null),
        (51, "a number", json!(1)),
        (52, "an array", json!(["dpop+jwt"])),
        (53, "an object", json!({"dpop+jwt": true})),
    ];
    for (number, name, value) in types {
        let title = format!("A typ that is {name}");
        list.draft(number, (High, "4.3(3)", &title, KIND), move |draft| draft.head("typ", value.clone()));
    }
}

fn alg(list: &mut List) {
    list.draft(60, (Critical, "4.3(5)", "No alg", UNSIGNED), |draft| draft.without_head("alg"));
    for (number, alg) in [(61, "none"), (62, "None"), (63, "NONE"), (64, "nOnE")] {
        let title = format!("The alg {alg:?} and no signature");
        list.value(number, (Critical, "4.3(5)", &title, UNSIGNED), move |scene| scene.draft.clone().head("alg", alg).with_signature(b""));
    }
    list.draft(65, (Critical, "4.3(5)", "The alg \"none\" with a signature", UNSIGNED), |draft| draft.head("alg", "none"));
    list.value(66, (Critical, "4.3(5)", "HS256 with the text of the public key as the secret", UNSIGNED), |scene| {
        let draft = scene.draft.clone().head("alg", "HS256");
        let secret = draft.header.get("jwk").map(Value::to_string).unwrap_or_default();
        draft.with_signature(hs256(secret.as_bytes(), &draft.signing_input()))
    });
    list.value(67, (Critical, "4.3(5)", "HS256 with a secret that the header holds", UNSIGNED), |scene| {
        let draft = scene.draft.clone().head("alg", "HS256").head("jwk", json!({"kty": "oct", "k": b64([7; 32])}));
        draft.with_signature(hs256(&[7; 32], &draft.signing_input()))
    });
    list.value(68, (Critical, "4.3(5)", "HS256 with an empty secret", UNSIGNED), |scene| {
        let draft = scene.draft.clone().head("alg", "HS256");
        draft.with_signature(hs256(b"", &draft.signing_input()))
    });
    let names = [
        (69, "es256", "the alg is compared without regard to case"),
        (70, "ES256 ", "the alg is trimmed before it is compared"),
        (71, "ES256K", "a curve that was not announced is taken"),
        (72, "ES384", "the alg is not tied to the key"),
        (73, "PS256", "the alg is not tied to the key"),
        (74, "EdDSA", "the alg is not tied to the key"),
        (75, "RS256", "the alg is not tied to the key"),
        (76, "HS512", "a MAC is taken for a signature"),
        (77, "ESP256", "a name that JOSE does not know is taken"),
        (78, "", "an alg that names nothing is taken"),
        (79, "RSA1_5", "an encryption algorithm is taken for a signature"),
    ];
    for (number, alg, breach) in names {
        let title = format!("The alg {alg:?} on an ES256 signature");
        list.draft(number, (Medium, "4.3(5)", &title, breach), move |draft| draft.head("alg", alg));
    }
    let types = [
        (80, "null", Value::Null),
        (81, "a number", json!(256)),
        (82, "an array", json!(["ES256"])),
        (83, "true", json!(true)),
        (84, "an object", json!({"alg": "ES256"})),
    ];
    for (number, name, value) in types {
        let title = format!("An alg that is {name}");
        list.draft(number, (High, "4.3(3)", &title, "the signature is judged by an algorithm that was never named"), move |draft| {
            draft.head("alg", value.clone())
        });
    }
}

fn critical(list: &mut List) {
    const IGNORED: &str = "an extension that the server must understand is ignored (RFC 7515 section 4.1.11)";
    let rule = "RFC 7515 section 4.1.11";
    list.draft(90, (Medium, rule, "A critical header parameter that nobody knows", IGNORED), |draft| {
        draft.head("crit", json!(["http://x.example/y"])).head("http://x.example/y", true)
    });
    list.draft(91, (Medium, rule, "A critical header parameter that is not there", IGNORED), |draft| draft.head("crit", json!(["exp"])));
    list.draft(92, (Low, rule, "An empty list of critical header parameters", IGNORED), |draft| draft.head("crit", json!([])));
    list.draft(93, (Low, rule, "A critical header parameter named twice", IGNORED), |draft| {
        draft.head("crit", json!(["x", "x"])).head("x", 1)
    });
    list.draft(94, (Low, rule, "A list of critical header parameters that is a string", IGNORED), |draft| draft.head("crit", "alg"));
    list.draft(95, (Low, rule, "A registered header parameter called critical", IGNORED), |draft| draft.head("crit", json!(["alg"])));
    list.value(96, (Medium, "RFC 7797 section 6", "An unencoded payload, announced as critical", IGNORED), |scene| {
        let draft = scene.draft.clone().head("b64", false).head("crit", json!(["b64"]));
        let input = format!("{}.{}", b64(Value::Object(draft.header.clone()).to_string()), Value::Object(draft.claims.clone()));
        let signature = draft.key.sign(input.as_bytes());
        format!("{}.{}", draft.signing_input(), b64(signature))
    });
    list.draft(97, (Medium, "RFC 7797 section 6", "b64 false on an encoded payload, announced as critical", IGNORED), |draft| {
        draft.head("b64", false).head("crit", json!(["b64"]))
    });
    list.value(
        98,
        (Medium, "RFC 7516 section 4.1.3", "A payload said to be compressed, which is not", "a compressed payload is unpacked"),
        |scene| scene.draft.clone().head("zip", "DEF").head("crit", json!(["zip"])).sign(),
    );
}

fn json_text(list: &mut List) {
    let rule = "RFC 7515 section 4";
    list.draft(100, (Info, rule, "alg twice in the header, none first", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', r#"{"alg":"none","#, 1))
    });
    list.draft(101, (Info, rule, "typ twice in the header, another first", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', r#"{"typ":"JWT","#, 1))
    });
    list.value(102, (Info, rule, "jwk twice in the header, another key first", DIFFERENT), |scene| {
        let other = scene.stranger.jwk();
        scene.draft.clone().header_text(|text| text.replacen('{', &format!("{{\"jwk\":{other},"), 1)).sign()
    });
    list.value(103, (High, rule, "jwk twice in the header, another key last", DIFFERENT), |scene| {
        let other = scene.stranger.jwk();
        scene.draft.clone().header_text(|text| format!("{},\"jwk\":{other}}}", &text[..text.len() - 1])).sign()
    });
    list.draft(104, (Info, rule, "alg twice in the header, once escaped", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', r#"{"\u0061lg":"ES256","#, 1))
    });
    list.draft(105, (Low, "RFC 8259 section 2", "Text after the object of the header", DIFFERENT), |draft| {
        draft.header_text(|text| text + "{}")
    });
    list.draft(106, (Info, "RFC 8259 section 8.1", "A byte order mark before the header", DIFFERENT), |draft| {
        draft.header_text(|text| format!("\u{feff}{text}"))
    });
    list.draft(107, (Low, "RFC 8259 section 2", "A comma after the last member of the header", DIFFERENT), |draft| {
        draft.header_text(|text| format!("{},}}", &text[..text.len() - 1]))
    });
    list.draft(108, (Low, "RFC 8259 section 2", "A comment in the header", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', "{/**/", 1))
    });
    list.draft(109, (Low, "RFC 8259 section 7", "Single quotes in the header", DIFFERENT), |draft| {
        draft.header_text(|text| text.replace('"', "'"))
    });
    list.draft(110, (Medium, rule, "A header that is an array", NOT_JWT), |draft| draft.header_text(|text| format!("[{text}]")));
    list.draft(111, (Medium, rule, "A header that is a string", NOT_JWT), |draft| draft.header_text(|text| json!(text).to_string()));
    list.draft(112, (Medium, rule, "An empty header object", NOT_JWT), |draft| draft.header_text(|_| "{}".to_owned()));
    list.draft(113, (Medium, rule, "A header that is no JSON", NOT_JWT), |draft| draft.header_text(|_| "header".to_owned()));
    list.value(114, (Low, "RFC 8259 section 8.1", "Bytes in the header that are not UTF-8", DIFFERENT), |scene| {
        let mut draft = scene.draft.clone().head("x", "?");
        let text = Value::Object(draft.header.clone()).to_string().replace("\"?\"", "\"\u{1}\"");
        draft.header_bytes = Some(text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect());
        draft.sign()
    });
    list.value(115, (Low, "RFC 8259 section 8.1", "A header in UTF-16", DIFFERENT), |scene| {
        let mut draft = scene.draft.clone();
        draft.header_bytes = Some(Value::Object(draft.header.clone()).to_string().encode_utf16().flat_map(u16::to_be_bytes).collect());
        draft.sign()
    });
    list.draft(116, (Low, "RFC 8259 section 6", "NaN in the header", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', r#"{"x":NaN,"#, 1))
    });
    list.draft(117, (Low, "RFC 8259 section 7", "A lone surrogate in the header", DIFFERENT), |draft| {
        draft.header_text(|text| text.replacen('{', r#"{"x":"\ud800","#, 1))
    });
    for (number, where_, place) in
        [(118, "the query", Place::Query), (119, "the form", Place::Form), (120, "the Authorization header", Place::Authorization)]
    {
        let title = format!("The proof in {where_} instead of the DPoP header");
        list.script(
            number,
            (Medium, "4.1", &title, "the place of the proof is not checked, so that a page or a log can hold one"),
            Judgement::Refused,
            "Make a good proof.\nSend it in the wrong place.\nA refusal holds; so does a token that says it is a Bearer token.",
            run!(misplaced, place),
        );
    }
}

#[derive(Clone, Copy)]
enum Place {
    Query,
    Form,
    Authorization,
}

async fn no_proof(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let answer = arena.send(&call, &[]).await?;
    bearer_or_refused(call.stage, &answer)
}

async fn misplaced(arena: &Arena, place: Place) -> Step<()> {
    let mut call = arena.call(Stage::Any).await?;
    let proof = arena.draft(&call).sign();
    match place {
        Place::Query => call.url.set_query(Some(&format!("dpop={proof}&DPoP={proof}"))),
        Place::Form => call = call.set("dpop", &proof).set("DPoP", &proof),
        // In place of Basic, where the client uses that.
        Place::Authorization => call = call.header("Authorization", format!("DPoP {proof}")),
    }
    let answer = arena.send(&call, &[]).await?;
    bearer_or_refused(call.stage, &answer)
}

fn bearer_or_refused(stage: Stage, answer: &crate::wire::Response) -> Step<()> {
    let bearer = answer.json()["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    if bearer && stage == Stage::Token {
        return Ok(());
    }
    if answer.access_token().is_some() {
        return breach(format!("a token that is called bound, without a proof: {}", told(&Ok(answer.clone()))));
    }
    refused(stage, answer)
}
