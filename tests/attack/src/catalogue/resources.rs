//! `RES`: protected resources.

use serde_json::{Value, json};
use url::Url;

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, core_rules, run};
use crate::arena::{Arena, Call, Need, Stage, told};
use crate::clock::now;
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::{Draft, Key, b64, claims_of, malleate, sha256, unb64};
use crate::judge::{accepted, refused};
use crate::wire::{Request, Response};

const BEARER: &str = "a stolen access token works without the key it is bound to";
const UNTIED: &str = "a proof that was made for another token, or for none, works with this one";
const FORGED: &str = "anyone makes access tokens";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Resource, Stage::Resource, "TWN-004");
    schemes(&mut list);
    hashes(&mut list);
    methods(&mut list);
    tokens(&mut list);
    places(&mut list);
    challenges(&mut list);
    introspection(&mut list);
    core_rules::add(&mut list, 101, "at a protected resource");
    list.attacks
}

type Present = fn(Call, &str) -> Call;

/// A call of the resource with the token shown in another way; `true` sends a good proof with it.
async fn presented(arena: &Arena, present: Present, with_proof: bool) -> Step<()> {
    let (token, key) = arena.access_token().await?;
    let Some(url) = arena.resource_url() else { return not_applicable("no resource") };
    let call = present(arena.resource_call(&url, &token, &key).without_header("Authorization"), &token);
    let answer = if with_proof { arena.send_honest(&call).await? } else { arena.send(&call, &[]).await? };
    refused(Stage::Resource, &answer)
}

fn schemes(list: &mut List) {
    let dpop = |call: Call, token: &str| call.header("Authorization", format!("DPoP {token}"));
    let rows: [(u16, super::Severity, &str, &str, &str, Present, bool); 20] = [
        (
            1,
            Critical,
            "7.2",
            "A bound token as a Bearer token",
            BEARER,
            |call, token| call.header("Authorization", format!("Bearer {token}")),
            false,
        ),
        (
            2,
            Critical,
            "7.2",
            "A bound token as a bearer token, in small letters",
            BEARER,
            |call, token| call.header("Authorization", format!("bearer {token}")),
            false,
        ),
        (
            3,
            High,
            "7.2",
            "A bound token as a Bearer token, with a good proof",
            "the scheme says Bearer, and whoever reads it so asks for no proof",
            |call, token| call.header("Authorization", format!("Bearer {token}")),
            true,
        ),
        (4, Critical, "7.1", "A token without a proof", BEARER, dpop, false),
        (5, Critical, "7.1", "A proof without a token", "a proof alone opens the resource", |call, _| call, true),
        (6, Critical, "7.1", "Neither token nor proof", "the resource is open", |call, _| call, false),
        (
            7,
            Medium,
            "RFC 6750 section 2.2",
            "The token in the query",
            "tokens end in logs",
            |mut call, token| {
                call.url.query_pairs_mut().append_pair("access_token", token);
                call
            },
            true,
        ),
        (
            8,
            Critical,
            "RFC 6750 section 2.2",
            "The token in the query, without a proof",
            BEARER,
            |mut call, token| {
                call.url.query_pairs_mut().append_pair("access_token", token);
                call
            },
            false,
        ),
        (
            9,
            Low,
            "7.1",
            "The token under Proxy-Authorization",
            "a proxy's header is taken for the client's",
            |call, token| call.header("Proxy-Authorization", format!("DPoP {token}")),
            true,
        ),
        (
            10,
            High,
            "RFC 9110 section 5.3",
            "Two Authorization lines, the good one first",
            "two parties judge two of the tokens",
            |call, token| call.header("Authorization", format!("DPoP {token}")).header("Authorization", "DPoP other"),
            true,
        ),
        (
            11,
            High,
            "RFC 9110 section 5.3",
            "Two Authorization lines, the good one last",
            "two parties judge two of the tokens",
            |call, token| call.header("Authorization", "DPoP other").header("Authorization", format!("DPoP {token}")),
            true,
        ),
        (
            12,
            High,
            "7.2",
            "The token as Bearer and as DPoP, in two lines",
            "two parties judge two of the schemes",
            |call, token| call.header("Authorization", format!("Bearer {token}")).header("Authorization", format!("DPoP {token}")),
            true,
        ),
        (
            13,
            High,
            "RFC 9110 section 5.3",
            "Two tokens in one Authorization line",
            "two parties judge two of the tokens",
            |call, token| call.header("Authorization", format!("DPoP {token}, DPoP other")),
            true,
        ),
        (
            14,
            Medium,
            "7.1",
            "The token after the scheme Basic",
            BEARER,
            |call, token| call.header("Authorization", format!("Basic {token}")),
            true,
        ),
        (15, Medium, "7.1", "The token without a scheme", BEARER, |call, token| call.header("Authorization", token), true),
        (
            16,
            Low,
            "7.1",
            "A word after the token",
            "tokens are cut by one reader and not by another",
            |call, token| call.header("Authorization", format!("DPoP {token} more")),
            true,
        ),
        (
            17,
            Low,
            "7.1",
            "The token in quotes",
            "tokens are cut by one reader and not by another",
            |call, token| call.header("Authorization", format!("DPoP \"{token}\"")),
            true,
        ),
        (
            18,
            Low,
            "7.1",
            "A comma after the token",
            "tokens are cut by one reader and not by another",
            |call, token| call.header("Authorization", format!("DPoP {token},")),
            true,
        ),
        (
            19,
            Info,
            "RFC 9110 section 11.4",
            "A tab between scheme and token",
            "tokens are cut by one reader and not by another",
            |call, token| call.header("Authorization", format!("DPoP\t{token}")),
            true,
        ),
        (20, Medium, "7.1", "The scheme and no token", BEARER, |call, _| call.header("Authorization", "DPoP "), true),
    ];
    for (number, severity, section, title, breach, present, with_proof) in rows {
        list.script(
            number,
            (severity, section, title, breach),
            Judgement::Refused,
            &format!("{title}."),
            run!(presented, present, with_proof),
        )
        .needs(&[Need::Resource]);
    }
    list.script(
        21,
        (High, "RFC 6750 section 2.2", "The token in the body", "tokens end where bodies are kept"),
        Judgement::Refused,
        "Send the token as access_token in a form, with a good proof.",
        run!(in_the_body, true),
    )
    .needs(&[Need::Resource]);
    list.script(
        22,
        (Critical, "RFC 6750 section 2.2", "The token in the body, without a proof", BEARER),
        Judgement::Refused,
        "Send the token as access_token in a form.",
        run!(in_the_body, false),
    )
    .needs(&[Need::Resource]);
}

async fn in_the_body(arena: &Arena, with_proof: bool) -> Step<()> {
    let (token, key) = arena.access_token().await?;
    let Some(url) = arena.resource_url() else { return not_applicable("no resource") };
    let call =
        Call { method: "POST", ..arena.resource_call(&url, &token, &key) }.without_header("Authorization").set("access_token", token);
    let answer = if with_proof { arena.send_honest(&call).await? } else { arena.send(&call, &[]).await? };
    refused(Stage::Resource, &answer)
}

fn hashes(list: &mut List) {
    let rule = "4.3(12)";
    list.draft(30, (High, rule, "A proof without an ath", UNTIED), |draft| draft.without("ath"));
    list.draft(31, (High, rule, "The ath of another token", UNTIED), |draft| draft.claim("ath", b64(sha256("another token"))));
    list.draft(32, (High, rule, "An empty ath", UNTIED), |draft| draft.claim("ath", ""));
    list.draft(33, (High, rule, "An ath that is null", UNTIED), |draft| draft.claim("ath", Value::Null));
    list.draft(34, (High, rule, "An ath that is a number", UNTIED), |draft| draft.claim("ath", 1));
    list.draft(35, (High, rule, "An ath that is true", UNTIED), |draft| draft.claim("ath", true));
    list.draft(36, (Medium, rule, "An ath in an array", UNTIED), |draft| {
        let ath = draft.text("ath");
        draft.claim("ath", json!([ath]))
    });
    list.draft(37, (Low, "4.2", "A padded ath", UNTIED), |draft| {
        let ath = draft.text("ath");
        draft.claim("ath", format!("{ath}="))
    });
    list.draft(38, (Low, "RFC 4648 section 3.5", "Unused bits set at the end of the ath", UNTIED), |draft| {
        let ath = crate::jose::with_tail_bits(&draft.text("ath")).unwrap_or_default();
        draft.claim("ath", ath)
    });
    list.draft(39, (Medium, rule, "The first half of the ath", UNTIED), |draft| {
        let ath = draft.text("ath");
        draft.claim("ath", ath.get(..21).unwrap_or_default())
    });
    list.draft(40, (Low, "4.2", "The ath in hexadecimal", UNTIED), |draft| {
        let bytes = unb64(&draft.text("ath")).unwrap_or_default();
        draft.claim("ath", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    });
    list.draft(41, (Low, "4.2", "The ath in capitals", UNTIED), |draft| {
        let ath = draft.text("ath").to_uppercase();
        draft.claim("ath", ath)
    });
    list.lines(42, (Medium, "4.2", "The token itself as the ath", UNTIED), |scene| {
        let token = scene.call.access_token.clone().unwrap_or_default();
        vec![scene.draft.clone().claim("ath", token).sign().into_bytes()]
    });
    list.lines(43, (Medium, "4.2", "The ath of the token with its scheme", UNTIED), |scene| {
        let token = scene.call.access_token.clone().unwrap_or_default();
        vec![scene.draft.clone().claim("ath", b64(sha256(format!("DPoP {token}")))).sign().into_bytes()]
    });
    list.draft(
        44,
        (Info, "RFC 7519 section 4", "A wrong ath and a right one after it", "two readers of one proof see different values"),
        |draft| draft.claims_text(|text| text.replacen('{', r#"{"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo","#, 1)),
    );
    list.value(45, (Critical, rule, "A proof of another key", BEARER), |scene| scene.draft.clone().by(&scene.stranger).sign());
    list.value(46, (Critical, rule, "A proof of another key with the thumbprint of the right one", BEARER), |scene| {
        let jkt = scene.call.key.jkt();
        scene.draft.clone().by(&scene.stranger).head("kid", jkt.clone()).claim("jkt", jkt.clone()).claim("cnf", json!({"jkt": jkt})).sign()
    });
}

fn methods(list: &mut List) {
    list.draft(50, (High, "4.3(8)", "A proof for POST at a resource that is read", UNTIED), |draft| draft.claim("htm", "POST"));
    list.draft(51, (Medium, "4.3(8)", "A proof for HEAD at a resource that is read", UNTIED), |draft| draft.claim("htm", "HEAD"));
    list.draft(52, (Low, "4.3(8)", "A proof for get in small letters", UNTIED), |draft| draft.claim("htm", "get"));
    list.script(
        53,
        (High, "4.3(9)", "A proof for the token endpoint at the resource", UNTIED),
        Judgement::Refused,
        "Make a proof for a POST to the token endpoint.\nSend it with a token to the resource.",
        run!(token_endpoint_proof),
    )
    .needs(&[Need::Resource]);
}

async fn token_endpoint_proof(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Resource).await?;
    let htu = arena.endpoints.token.to_string();
    let answer = arena.send_draft(&call, |draft| draft.claim("htm", "POST").claim("htu", htu.clone())).await?;
    refused(Stage::Resource, &answer)
}

/// A token made of a good one.
type Retoken = fn(&str, &Key) -> Option<String>;

fn tokens(list: &mut List) {
    let rows: [(u16, super::Severity, &str, &str, Retoken); 13] = [
        (60, Critical, "RFC 9068 section 4", "An access token with its signature changed", |token, _| {
            let (input, signature) = token.rsplit_once('.')?;
            let mut bytes = unb64(signature)?;
            *bytes.get_mut(10)? ^= 1;
            Some(format!("{input}.{}", b64(bytes)))
        }),
        (61, Critical, "RFC 9068 section 4", "An access token without its signature", |token, _| {
            Some(format!("{}.", token.rsplit_once('.')?.0))
        }),
        (62, Critical, "RFC 9068 section 4", "An access token with the alg none", |token, _| {
            let mut parts = token.split('.');
            let mut header: Value = serde_json::from_slice(&unb64(parts.next()?)?).ok()?;
            header["alg"] = json!("none");
            Some(format!("{}.{}.", b64(header.to_string()), parts.next()?))
        }),
        (63, Critical, "6.1", "An access token bound to the thief's key, with the old signature", |token, key| {
            edited(token, key, |claims, key| claims["cnf"] = json!({"jkt": key.jkt()}))
        }),
        (64, Critical, "6.1", "An access token whose binding was taken out, with the old signature", |token, key| {
            edited(token, key, |claims, _| {
                if let Some(members) = claims.as_object_mut() {
                    members.remove("cnf");
                }
            })
        }),
        (65, Critical, "RFC 9068 section 4", "An access token that lives on, with the old signature", |token, key| {
            edited(token, key, |claims, _| claims["exp"] = json!(now() + 86_400))
        }),
        (66, Critical, "RFC 9068 section 4", "An access token of another user, with the old signature", |token, key| {
            edited(token, key, |claims, _| claims["sub"] = json!("admin"))
        }),
        (67, Critical, "RFC 9068 section 4", "An access token that the thief signed, with the key in its header", |token, key| {
            let claims = claims_of(token)?;
            let header = json!({"alg": "ES256", "typ": "at+jwt", "jwk": key.jwk()});
            Some(signed(&header, &claims, key))
        }),
        (68, Critical, "RFC 9068 section 4", "An access token that the thief signed, with the kid of the server", |token, key| {
            let mut header: Value = serde_json::from_slice(&unb64(token.split('.').next()?)?).ok()?;
            header["alg"] = json!("ES256");
            Some(signed(&header, &claims_of(token)?, key))
        }),
        (69, High, "RFC 8725 section 3.11", "A proof as the access token", |_, key| {
            Some(Draft::new(key, "GET", "https://x.example/", now()).sign())
        }),
        (70, High, "RFC 9068 section 4", "A random word as the access token", |_, _| Some("word".to_owned())),
        (71, High, "RFC 9068 section 4", "An access token with a segment more", |token, _| Some(format!("{token}.e30"))),
        (72, High, "RFC 9068 section 4", "An access token that lacks its last character", |token, _| {
            Some(token.get(..token.len().checked_sub(1)?)?.to_owned())
        }),
    ];
    for (number, severity, section, title, retoken) in rows {
        list.script(
            number,
            (severity, section, title, FORGED),
            Judgement::Refused,
            &format!("{title}, with a proof that fits it."),
            run!(retokened, retoken),
        )
        .needs(&[Need::Resource]);
    }
    list.script(
        73,
        (High, "RFC 8725 section 3.11", "An ID token as the access token", "tokens of one kind are taken for another"),
        Judgement::Refused,
        "Refresh; show the ID token to the resource.",
        run!(other_kind, "id_token"),
    )
    .needs(&[Need::Resource]);
    list.script(
        74,
        (High, "RFC 6749 section 1.5", "A refresh token as the access token", "tokens of one kind are taken for another"),
        Judgement::Refused,
        "Refresh; show the refresh token to the resource.",
        run!(other_kind, "refresh_token"),
    )
    .needs(&[Need::Resource]);
    list.script(
        75,
        (High, "7.1", "The access token of another session, with the own key", BEARER),
        Judgement::Refused,
        "Take the tokens of two sessions.\nShow the token of one with a proof of the other's key.",
        run!(of_another_session),
    )
    .needs(&[Need::Sessions, Need::Resource]);
    list.script(
        76,
        (
            High,
            "RFC 7009 section 2.1",
            "The other ECDSA signature of an access token that was revoked",
            "tokens are revoked by their bytes, of which one token has many",
        ),
        Judgement::StaysEnded,
        "Refresh.\nRevoke the grant.\nShow the access token with the signature (r, n - s).",
        run!(revoked_twin),
    )
    .needs(&[Need::Sessions, Need::Resource, Need::Revocation]);
    list.script(
        77,
        (
            Medium,
            "OpenID Connect Core section 5.3",
            "The token of a machine at a resource of users",
            "a client that no user has agreed to reads what is theirs",
        ),
        Judgement::Refused,
        "Take a token with client_credentials.\nShow it at userinfo.",
        run!(machine_token),
    )
    .needs(&[Need::Machine, Need::Resource]);
    list.script(
        78,
        (High, "RFC 6750 section 3.1", "An access token that has expired", "tokens live for ever"),
        Judgement::Refused,
        "Refresh.\nWait until the access token has expired, for ten minutes at most.\nShow it.",
        run!(expired),
    )
    .needs(&[Need::Sessions, Need::Resource])
    .slow();
}

/// The token with other claims and the signature it had.
fn edited(token: &str, key: &Key, edit: fn(&mut Value, &Key)) -> Option<String> {
    let mut parts = token.split('.');
    let (header, _, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let mut claims = claims_of(token)?;
    edit(&mut claims, key);
    Some(format!("{header}.{}.{signature}", b64(claims.to_string())))
}

fn signed(header: &Value, claims: &Value, key: &Key) -> String {
    let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    format!("{input}.{}", b64(key.sign(input.as_bytes())))
}

async fn retokened(arena: &Arena, retoken: Retoken) -> Step<()> {
    let (token, key) = arena.access_token().await?;
    let thief = Key::es256();
    let Some(forged) = retoken(&token, &thief) else { return not_applicable("the access token is not a JWT") };
    let Some(url) = arena.resource_url() else { return not_applicable("no resource") };
    // Who bound the token to the own key proves the own key.
    for key in [key, thief] {
        let answer = arena.send_honest(&arena.resource_call(&url, &forged, &key)).await?;
        refused(Stage::Resource, &answer)?;
    }
    Ok(())
}

async fn other_kind(arena: &Arena, kind: &'static str) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Refresh, &answer)?;
    let body = answer.json();
    let (Some(token), Some(url)) = (body[kind].as_str(), arena.resource_url()) else {
        return not_applicable(format!("a refresh gives no {kind}"));
    };
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, token, &call.key)).await?)
}

async fn of_another_session(arena: &Arena) -> Step<()> {
    let (token, _) = arena.access_token().await?;
    let other = arena.session().await?;
    let Some(url) = arena.resource_url() else { return not_applicable("no resource") };
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &token, &other.key)).await?)
}

async fn revoked_twin(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    let (Some(access), Some(refresh), Some(url)) = (answer.access_token(), answer.refresh_token(), arena.resource_url()) else {
        return inconclusive(format!("an honest refresh gives {}", told(&Ok(answer))));
    };
    let header: Option<Value> = access.split('.').next().and_then(unb64).and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if header.is_none_or(|header| header["alg"] != "ES256") {
        return not_applicable("the access token is not a JWT signed with ES256");
    }
    let twin = access
        .rsplit_once('.')
        .map(|(input, signature)| format!("{input}.{}", b64(malleate(&unb64(signature).unwrap_or_default()))))
        .unwrap_or_default();
    accepted(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &access, &session.key)).await?)?;
    arena.revoke(&refresh).await?;
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &access, &session.key)).await?)?;
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &twin, &session.key)).await?)
}

async fn machine_token(arena: &Arena) -> Step<()> {
    if arena.options.resource.is_some() {
        return not_applicable("the given resource may well be one of machines");
    }
    let call = arena.call(Stage::Token).await?;
    let answer = arena.send_honest(&call).await?;
    let (Some(token), Some(url)) = (answer.access_token(), arena.resource_url()) else { return inconclusive("no token for the machine") };
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &token, &call.key)).await?)
}

async fn expired(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    let (Some(token), Some(url)) = (answer.access_token(), arena.resource_url()) else { return inconclusive("no access token") };
    let seconds = answer.json()["expires_in"].as_u64().unwrap_or(u64::MAX);
    if seconds > 600 {
        return not_applicable("access tokens live for more than ten minutes");
    }
    tokio::time::sleep(std::time::Duration::from_secs(seconds + 12)).await;
    refused(Stage::Resource, &arena.send_honest(&arena.resource_call(&url, &token, &session.key)).await?)
}

fn places(list: &mut List) {
    const SPOOFED: &str = "who sends the request decides which place the proof has to name, or who is signed in";
    for (number, header) in [(80, "Host"), (81, "X-Forwarded-Host"), (82, "Forwarded"), (83, "X-Original-URL"), (84, "X-Forwarded-Proto")] {
        let title = format!("A {header} header that agrees with a wrong htu, at a protected resource");
        list.script(
            number,
            (High, "RFC 9700 section 4.13", &title, SPOOFED),
            Judgement::Refused,
            &format!("Make a proof whose htu is another place.\nSend it to the resource with a {header} header that names that place."),
            run!(spoofed, header),
        )
        .needs(&[Need::Resource]);
    }
    list.script(
        85,
        (Critical, "RFC 9700 section 4.13", "Headers of a gateway that say who is signed in, and no token", SPOOFED),
        Judgement::Refused,
        "Send X-DPoP-Subject, X-DPoP-Jkt and their like, and neither token nor proof.",
        run!(identity_headers),
    )
    .needs(&[Need::Resource]);
    list.script(
        86,
        (High, "RFC 9700 section 4.13", "A method override at a protected resource", SPOOFED),
        Judgement::Refused,
        "Send a proof for DELETE with X-HTTP-Method-Override: DELETE.",
        run!(overridden),
    )
    .needs(&[Need::Resource]);
}

async fn spoofed(arena: &Arena, header: &'static str) -> Step<()> {
    let mut call = arena.call(Stage::Resource).await?;
    let authority = Url::parse(call.url.as_str()).map(|url| url.authority().to_owned()).unwrap_or_default();
    let other_host = call.url.as_str().replacen(&authority, "evil.example", 1);
    let (value, htu) = match header {
        "Host" | "X-Forwarded-Host" => ("evil.example".to_owned(), other_host),
        "Forwarded" => ("host=evil.example".to_owned(), other_host),
        "X-Original-URL" => ("/elsewhere".to_owned(), format!("{}/elsewhere", call.url.origin().ascii_serialization())),
        _ => {
            let scheme = if call.url.scheme() == "https" { "http" } else { "https" };
            (scheme.to_owned(), call.url.as_str().replacen(call.url.scheme(), scheme, 1))
        }
    };
    if header == "Host" {
        call.host = Some(value);
    } else {
        call = call.header(header, value);
    }
    let answer = arena.send_draft(&call, |draft| draft.claim("htu", htu.clone())).await?;
    refused(Stage::Resource, &answer)
}

async fn identity_headers(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Resource).await?.without_header("Authorization");
    let call = call
        .header("X-DPoP-Subject", "alice")
        .header("X-DPoP-Client-Id", "app")
        .header("X-DPoP-Scope", "openid")
        .header("X-DPoP-Jkt", "x")
        .header("X-DPoP-Token-Id", "x");
    let call = call.header("X-Forwarded-User", "alice").header("X-Remote-User", "alice");
    refused(Stage::Resource, &arena.send(&call, &[]).await?)
}

async fn overridden(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Resource).await?.header("X-HTTP-Method-Override", "DELETE");
    refused(Stage::Resource, &arena.send_draft(&call, |draft| draft.claim("htm", "DELETE")).await?)
}

fn challenges(list: &mut List) {
    list.script(
        90,
        (Low, "7.1", "A refusal of a bad proof without a DPoP challenge", "a client does not learn what is asked of it"),
        Judgement::WellFormed,
        "Show a token with a broken proof.\nThe answer is 401 with WWW-Authenticate: DPoP.",
        run!(challenged, true),
    )
    .needs(&[Need::Resource]);
    list.script(
        91,
        (Low, "7.1", "A refusal without credentials without a DPoP challenge", "a client does not learn what is asked of it"),
        Judgement::WellFormed,
        "Show nothing.\nThe answer is 401 with WWW-Authenticate: DPoP.",
        run!(challenged, false),
    )
    .needs(&[Need::Resource]);
}

async fn challenged(arena: &Arena, with_token: bool) -> Step<()> {
    let call = arena.call(Stage::Resource).await?;
    let answer = if with_token {
        arena.send_draft(&call, |draft| draft.claim("htm", "DELETE")).await?
    } else {
        arena.send(&call.without_header("Authorization"), &[]).await?
    };
    refused(Stage::Resource, &answer)?;
    let named = answer
        .all("WWW-Authenticate")
        .any(|line| line.split(',').any(|part| part.trim().get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("dpop"))));
    if answer.status == 401 && named { Ok(()) } else { breach(format!("{} without a DPoP challenge", told(&Ok(answer)))) }
}

fn introspection(list: &mut List) {
    let needs = [Need::Introspection];
    list.script(95, (Medium, "6.2", "Introspection of a bound token that does not tell the binding", "a resource server takes the token for a bearer token"), Judgement::WellFormed, "Take a bound token with client_credentials and introspect it.\nIt is active with cnf.jkt, and token_type, if it is there, is DPoP.", run!(introspected)).needs(&needs).twin("TWN-001");
    list.script(
        96,
        (High, "RFC 7662 section 2.1", "Introspection by nobody", "anyone asks what tokens are good for"),
        Judgement::Refused,
        "Introspect a token without authenticating.",
        run!(introspected_by_nobody),
    )
    .needs(&needs)
    .twin("TWN-001");
    list.script(
        97,
        (High, "RFC 7662 section 2.2", "Introspection of a token that was changed", FORGED),
        Judgement::Refused,
        "Change a token and introspect it.\nIt is not active.",
        run!(introspected_forgery),
    )
    .needs(&needs)
    .twin("TWN-001");
}

async fn introspect(arena: &Arena, token: &str, authenticated: bool) -> Step<Response> {
    let Some(url) = &arena.endpoints.introspection else { return not_applicable("the server has no introspection endpoint") };
    let (mut form, mut headers) = (vec![("token".to_owned(), token.to_owned())], Vec::new());
    if authenticated {
        arena.machine()?.authenticate(&arena.endpoints.issuer, &mut form, &mut headers);
    }
    let mut request = Request::new("POST", url);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    let answer = arena.wire.send(&request.body("application/x-www-form-urlencoded", body)).await?;
    arena.say(format!("POST {}: {}, active {}", url.path(), answer.status, answer.json()["active"]));
    Ok(answer)
}

async fn machine_access(arena: &Arena) -> Step<(String, Key)> {
    let call = arena.call(Stage::Token).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Token, &answer)?;
    Ok((answer.access_token().unwrap_or_default(), call.key))
}

async fn introspected(arena: &Arena) -> Step<()> {
    let (token, key) = machine_access(arena).await?;
    let body = introspect(arena, &token, true).await?.json();
    if body["active"] != json!(true) {
        return not_applicable("the client may not introspect its own tokens");
    }
    if body["cnf"]["jkt"] != json!(key.jkt()) {
        return breach("the answer has no cnf.jkt, or another's");
    }
    match body["token_type"].as_str() {
        Some(kind) if !kind.eq_ignore_ascii_case("DPoP") => breach(format!("the token_type is {kind}")),
        _ => Ok(()),
    }
}

async fn introspected_by_nobody(arena: &Arena) -> Step<()> {
    let (token, _) = machine_access(arena).await?;
    let answer = introspect(arena, &token, false).await?;
    if answer.json()["active"] == json!(true) { breach("anyone is told that the token is active") } else { Ok(()) }
}

async fn introspected_forgery(arena: &Arena) -> Step<()> {
    let (token, _) = machine_access(arena).await?;
    let forged = format!("{}AAAA", token.get(..token.len().saturating_sub(4)).unwrap_or_default());
    let answer = introspect(arena, &forged, true).await?;
    if answer.json()["active"] == json!(true) { breach("the forgery is called active") } else { Ok(()) }
}
