//! `EXH`: time and memory. Bounded: each attack sends a few megabytes at most, and only to a server on this machine unless its owner asks.

use std::time::Duration;

use serde_json::{Value, json};

use super::Severity::{High, Low, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Call, Need, Stage};
use crate::halt::{Halt, Step, breach, inconclusive};
use crate::jose::{Draft, Key, b64, unique};
use crate::judge::{accepted, succeeded};
use crate::wire::{Response, WireError};

const SIZE: &str = "one request costs the server time or memory out of all proportion";
const SLOW: &str = "the server computes for long before it knows whether it should";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Exhaustion, Stage::Any, "TWN-001");
    proofs(&mut list);
    forms(&mut list);
    floods(&mut list);
    for attack in &mut list.attacks {
        attack.needs(&[Need::OwnServer]);
    }
    list.attacks
}

/// A forged header line.
type Forge = fn(Draft) -> Vec<Vec<u8>>;

fn proofs(list: &mut List) {
    let rows: [(u16, super::Severity, &str, &str, Forge); 20] = [
        (1, Medium, "A proof of 64 KiB", SIZE, |draft| one(draft.claim("x", "x".repeat(48 * 1024)).sign())),
        (2, Medium, "A header line of 1 MiB", SIZE, |_| vec![vec![b'x'; 1 << 20]]),
        (3, Medium, "50000 dots", SIZE, |_| vec![vec![b'.'; 50_000]]),
        (4, Medium, "A thousand proofs in one request", SIZE, |draft| vec![draft.sign().into_bytes(); 1_000]),
        (5, Medium, "A header nested 2000 deep", SIZE, |draft| {
            one(draft.header_text(|text| text.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(2_000), "]".repeat(2_000)), 1)).sign())
        }),
        (6, Medium, "Claims nested 2000 deep", SIZE, |draft| {
            one(draft
                .claims_text(|text| {
                    text.replacen('{', &format!("{{\"x\":{}{},", "{\"a\":".repeat(1_000), "1".to_owned() + &"}".repeat(1_000)), 1)
                })
                .sign())
        }),
        (7, High, "An RSA key of 16384 bits", SLOW, |draft| {
            one(draft.head("alg", "PS256").head("jwk", rsa_key(2_048, "AQAB")).with_signature([7; 2_048]))
        }),
        (8, High, "An RSA key with an exponent of 2048 bits", SLOW, |draft| {
            let e = b64([0x55; 256].map(|byte| byte | 1));
            one(draft.head("alg", "PS256").head("jwk", rsa_key(256, &e)).with_signature([7; 256]))
        }),
        (9, Medium, "A jti of 100 KiB", SIZE, |draft| one(draft.claim("jti", "j".repeat(100 * 1024)).sign())),
        (10, Low, "A jti of 3 KiB", SIZE, |draft| one(draft.claim("jti", "j".repeat(3 * 1024)).sign())),
        (11, Low, "An htu with a thousand dot segments", SIZE, |draft| {
            let htu = format!("{}{}", draft.text("htu"), "/..".repeat(1_000));
            one(draft.claim("htu", htu).sign())
        }),
        (12, Low, "An htu of percent triplets", SIZE, |draft| {
            let htu = format!("{}/{}", draft.text("htu"), "%61".repeat(1_000));
            one(draft.claim("htu", htu).sign())
        }),
        (13, Low, "Ten thousand claims", SIZE, |mut draft| {
            draft.claims.extend((0..10_000).map(|index| (format!("c{index}"), json!(index))));
            one(draft.sign())
        }),
        (14, Low, "A number of 20000 digits among the claims", SLOW, |draft| {
            one(draft.claims_text(|text| text.replacen('{', &format!("{{\"x\":{},", "9".repeat(20_000)), 1)).sign())
        }),
        (15, Low, "An iat of 3000 digits", SLOW, |draft| {
            one(draft.claim("iat", "@").claims_text(|text| text.replace("\"@\"", &"1".repeat(3_000))).sign())
        }),
        (16, Medium, "A JWE that wants ten million rounds of PBES2", SLOW, |_| {
            let header = json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10_000_000, "p2s": b64([7; 16]), "typ": "dpop+jwt"});
            one(format!("{}.{}.{}.{}.{}", b64(header.to_string()), b64([7; 24]), b64([7; 12]), b64([7; 64]), b64([7; 16])))
        }),
        (17, Medium, "A JWE that claims to be compressed", SLOW, |_| {
            let header = json!({"alg": "dir", "enc": "A128GCM", "zip": "DEF", "typ": "dpop+jwt"});
            one(format!("{}..{}.{}.{}", b64(header.to_string()), b64([7; 12]), b64([7; 3_000]), b64([7; 16])))
        }),
        (18, Low, "A list of 2000 critical header parameters", SIZE, |draft| {
            one(draft.head("crit", (0..2_000).map(|index| format!("c{index}")).collect::<Vec<_>>()).sign())
        }),
        (19, Low, "A chain of 500 certificates in the header", SIZE, |draft| one(draft.head("x5c", vec!["MIIB".repeat(20); 500]).sign())),
        (20, Low, "A key with 2000 further members", SIZE, |mut draft| {
            for index in 0..2_000 {
                draft = draft.jwk(&format!("m{index}"), "x");
            }
            one(draft.sign())
        }),
    ];
    for (number, severity, title, breach, forge) in rows {
        list.script(
            number,
            (severity, "RFC 8725 section 2.7", title, breach),
            Judgement::Bounded,
            &format!("Send a token request with a forged DPoP header: {title}.\nSend an honest request."),
            run!(bounded_proof, forge),
        );
    }
}

fn one(proof: String) -> Vec<Vec<u8>> {
    vec![proof.into_bytes()]
}

fn rsa_key(bytes: usize, e: &str) -> Value {
    json!({"kty": "RSA", "n": b64(vec![0xd5; bytes]), "e": e})
}

/// An answer in time, of whatever kind; and an honest request after it.
async fn bounded(arena: &Arena, answers: Vec<Result<Response, WireError>>) -> Step<()> {
    for answer in answers {
        match answer {
            Err(WireError::Timeout(seconds)) => return breach(format!("no answer within {seconds} s")),
            Err(WireError::Connect(why)) => return breach(format!("the server is gone: {why}")),
            // To end the connection is an answer.
            Err(WireError::Closed | WireError::Garbled) => {}
            Ok(answer) if answer.elapsed > LIMIT => return breach(format!("the answer took {:.1} s", answer.elapsed.as_secs_f32())),
            Ok(answer) if answer.status == 500 || answer.status == 502 => {
                return inconclusive(format!("the server failed ({})", answer.status));
            }
            Ok(_) => {}
        }
    }
    let call = arena.call(Stage::Any).await?;
    let answer = match arena.send_honest(&call).await {
        Err(Halt::Inconclusive(why)) => return breach(format!("the honest request after it is not answered: {why}")),
        other => other?,
    };
    accepted(call.stage, &answer)?;
    if answer.elapsed > LIMIT {
        return breach(format!("the honest request after it took {:.1} s", answer.elapsed.as_secs_f32()));
    }
    Ok(())
}

async fn bounded_proof(arena: &Arena, forge: Forge) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let answer = arena.try_send(&call, &forge(arena.draft(&call))).await;
    if let Ok(answer) = &answer
        && succeeded(call.stage, answer)
        && call.stage == Stage::Refresh
    {
        arena.forget_shared().await;
    }
    bounded(arena, vec![answer]).await
}

type Swell = fn(Call) -> Call;

fn forms(list: &mut List) {
    let rows: [(u16, super::Severity, &str, Swell); 9] = [
        (30, Medium, "A form of 1 MiB", |call| call.set("x", "x".repeat(1 << 20))),
        (31, Medium, "Ten thousand parameters", |mut call| {
            call.form.extend((0..10_000).map(|index| (format!("p{index}"), "x".to_owned())));
            call
        }),
        (32, High, "A scope of 100000 words", |call| {
            call.set("scope", (0..100_000).map(|index| format!("s{index}")).collect::<Vec<_>>().join(" "))
        }),
        (33, Medium, "A scope of one word, a hundred thousand times", |call| call.set("scope", "openid ".repeat(100_000))),
        (34, Medium, "A thousand resources", |mut call| {
            call.form.extend((0..1_000).map(|index| ("resource".to_owned(), format!("https://r{index}.example/"))));
            call
        }),
        (35, Medium, "Authorization details nested 5000 deep", |call| {
            call.set("authorization_details", format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)))
        }),
        (36, Low, "A grant_type of 100 KiB", |call| call.set("grant_type", "g".repeat(100 * 1024))),
        (37, Medium, "A client assertion of 500 KiB", |call| {
            call.client(None).set("client_assertion_type", crate::target::ASSERTION_TYPE).set("client_assertion", "a.".repeat(250_000))
        }),
        (38, Low, "A form of percent triplets", |call| call.set("x", "\u{1}".repeat(100_000))),
    ];
    for (number, severity, title, swell) in rows {
        list.script(
            number,
            (severity, "RFC 8725 section 2.7", title, SIZE),
            Judgement::Bounded,
            &format!("Send a token request with {title}.\nSend an honest request."),
            run!(bounded_form, swell),
        );
    }
    list.script(
        39,
        (Medium, "RFC 6749 section 10.4", "A refresh token of 500 KiB", SIZE),
        Judgement::Bounded,
        "Send a refresh with a refresh token of 500 KiB.\nSend an honest request.",
        run!(long_token),
    )
    .needs(&[Need::Session]);
    list.script(
        40,
        (Medium, "RFC 6750 section 2.1", "An access token of 100 KiB", SIZE),
        Judgement::Bounded,
        "Show an access token of 100 KiB.\nSend an honest request.",
        run!(long_access_token),
    )
    .needs(&[Need::Resource]);
    list.script(
        41,
        (High, "RFC 8725 section 2.7", "A scope eight times as long that costs more than forty times as much", SLOW),
        Judgement::Bounded,
        "Measure a token request with a scope of 1000 words, and one with 8000.",
        run!(quadratic),
    );
}

async fn bounded_form(arena: &Arena, swell: Swell) -> Step<()> {
    let call = swell(arena.call(Stage::Any).await?);
    let answer = arena.try_send(&call, &one(arena.draft(&call).sign())).await;
    bounded(arena, vec![answer]).await
}

async fn long_token(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let token = call.parameter("refresh_token").to_owned();
    let call = call.set("refresh_token", token + &"A".repeat(500 * 1024));
    let answer = arena.try_send(&call, &one(arena.draft(&call).sign())).await;
    bounded(arena, vec![answer]).await
}

async fn long_access_token(arena: &Arena) -> Step<()> {
    let (token, key) = arena.access_token().await?;
    let Some(url) = arena.resource_url() else { return inconclusive("no resource") };
    let call = arena.resource_call(&url, &(token + &"A".repeat(100 * 1024)), &key);
    let answer = arena.try_send(&call, &one(arena.draft(&call).sign())).await;
    bounded(arena, vec![answer]).await
}

async fn quadratic(arena: &Arena) -> Step<()> {
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..3 {
        for (slot, words) in [(0, 1_000), (1, 8_000)] {
            let scope: Vec<String> = (0..words).map(|index| format!("s{index}")).collect();
            let call = arena.call(Stage::Any).await?.set("scope", scope.join(" "));
            match arena.try_send(&call, &one(arena.draft(&call).sign())).await {
                Ok(answer) => fastest[slot] = fastest[slot].min(answer.elapsed),
                Err(WireError::Timeout(seconds)) => return breach(format!("no answer within {seconds} s")),
                Err(_) => return Ok(()),
            }
        }
    }
    // What is answered within a few milliseconds is not worth a ratio.
    let slow = fastest[1] > Duration::from_millis(50) && fastest[1] > fastest[0] * 40;
    if slow { breach(format!("{:?} for 1000 words, {:?} for 8000", fastest[0], fastest[1])) } else { bounded(arena, Vec::new()).await }
}

fn floods(list: &mut List) {
    list.script(
        50,
        (Medium, "RFC 8725 section 2.7", "64 requests with broken signatures at one moment", SLOW),
        Judgement::Bounded,
        "Send 64 requests whose signatures are wrong at one moment.\nSend an honest request.",
        run!(flood, 64_usize, Flood::BadSignature),
    );
    list.script(
        51,
        (Medium, "RFC 8725 section 2.7", "64 requests with forms of 256 KiB at one moment", SIZE),
        Judgement::Bounded,
        "Send 64 requests with long forms at one moment.\nSend an honest request.",
        run!(flood, 64_usize, Flood::LongForm),
    );
    list.script(
        52,
        (Medium, "RFC 8725 section 2.7", "64 requests with header lines of 64 KiB at one moment", SIZE),
        Judgement::Bounded,
        "Send 64 requests with long proofs at one moment.\nSend an honest request.",
        run!(flood, 64_usize, Flood::LongProof),
    );
    list.script(
        53,
        (Medium, "RFC 8725 section 2.7", "64 requests with large RSA keys at one moment", SLOW),
        Judgement::Bounded,
        "Send 64 requests with RSA keys of 16384 bits at one moment.\nSend an honest request.",
        run!(flood, 64_usize, Flood::LargeKey),
    );
}

#[derive(Clone, Copy)]
enum Flood {
    BadSignature,
    LongForm,
    LongProof,
    LargeKey,
}

async fn flood(arena: &Arena, count: usize, flood: Flood) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let stranger = Key::es256();
    let requests = (0..count)
        .map(|_| {
            let draft = arena.draft(&call).claim("jti", unique());
            match flood {
                Flood::BadSignature => arena.request(&call, &one(draft.signed_by(&stranger).sign())),
                Flood::LongForm => {
                    let call = call.clone().set("x", "x".repeat(256 * 1024));
                    arena.request(&call, &one(draft.signed_by(&stranger).sign()))
                }
                Flood::LongProof => arena.request(&call, &one(draft.claim("x", "x".repeat(48 * 1024)).sign())),
                Flood::LargeKey => {
                    arena.request(&call, &one(draft.head("alg", "PS256").head("jwk", rsa_key(2_048, "AQAB")).with_signature([7; 2_048])))
                }
            }
        })
        .collect();
    let answers = arena.volley("hostile requests", requests).await;
    bounded(arena, answers).await
}

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(3);
