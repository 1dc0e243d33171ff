//! `COD`: authorization codes and pushed requests.

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, core_rules, run};
use crate::arena::{Arena, AuthorizationRequest, Call, Need, Stage};
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::{Key, unique};
use crate::judge::{accepted, refused, still_works, succeeded, successes};
use crate::target::Authorized;
use crate::wire::Response;

const CODE: &str = "a stolen code works without the key it is bound to";
const OPEN: &str = "codes go where an attacker wants them";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Code, Stage::Par, "TWN-005");
    binding(&mut list);
    redemption(&mut list);
    pushed(&mut list);
    requests(&mut list);
    list.twin = "TWN-003";
    core_rules::add(&mut list, 101, "at the endpoint for pushed requests");
    list.attacks
}

fn binding(list: &mut List) {
    let steps = |how: &str| format!("Ask for a code with dpop_jkt.\nRedeem it {how}.");
    list.script(
        1,
        (High, "10", "A code bound by dpop_jkt, redeemed with another key", CODE),
        Judgement::Refused,
        &steps("with a proof of another key"),
        run!(bound_code, Redeemer::OtherKey),
    )
    .needs(&[Need::Codes]);
    list.script(
        2,
        (High, "10", "A code bound by dpop_jkt, redeemed without a proof", CODE),
        Judgement::Refused,
        &steps("without a proof"),
        run!(bound_code, Redeemer::NoProof),
    )
    .needs(&[Need::Codes]);
    list.script(
        3,
        (High, "10", "A code bound by dpop_jkt, redeemed with another's signature", CODE),
        Judgement::Refused,
        &steps("with a proof that another key signed"),
        run!(bound_code, Redeemer::BadSignature),
    )
    .needs(&[Need::Codes]);
    list.script(
        4,
        (High, "10", "A code bound by dpop_jkt, redeemed with another key and the thumbprint as a parameter", CODE),
        Judgement::Refused,
        &steps("with another key, and dpop_jkt in the form"),
        run!(bound_code, Redeemer::OtherKeyJktParameter),
    )
    .needs(&[Need::Codes]);
    let pushed = |how: &str| format!("Push a request with a DPoP header.\nRedeem its code {how}.");
    list.script(
        5,
        (High, "10.1", "A code bound by the proof of the pushed request, redeemed with another key", CODE),
        Judgement::Refused,
        &pushed("with a proof of another key"),
        run!(pushed_code, Redeemer::OtherKey),
    )
    .needs(&[Need::Codes, Need::Par]);
    list.script(
        6,
        (High, "10.1", "A code bound by the proof of the pushed request, redeemed without a proof", CODE),
        Judgement::Refused,
        &pushed("without a proof"),
        run!(pushed_code, Redeemer::NoProof),
    )
    .needs(&[Need::Codes, Need::Par]);
    list.script(7, (High, "10.1", "A dpop_jkt beside a pushed request that has another", CODE), Judgement::Refused, "Push a request with the thumbprint of one key.\nOpen it with the thumbprint of another in the query.\nRedeem its code with that other key.", run!(overridden)).needs(&[Need::Codes, Need::Par]);
    list.script(
        8,
        (High, "10", "The proof of the pushed request, used again to redeem the code", CODE),
        Judgement::Refused,
        "Push a request with a DPoP header.\nRedeem its code with that same proof.",
        run!(pushed_code, Redeemer::PushedProof),
    )
    .needs(&[Need::Codes, Need::Par]);
    let malformed = [
        (10, "short", "abc"),
        (11, "long", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I0"),
        (12, "not base64url", "0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        (13, "padded", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="),
    ];
    for (number, name, value) in malformed {
        let title = format!("A pushed request with a dpop_jkt that is {name}");
        list.script(
            number,
            (Info, "10", &title, "a binding that no key can meet, or that is cut to one that many meet"),
            Judgement::Refused,
            "Push a request with that dpop_jkt.",
            run!(malformed_jkt, value),
        )
        .needs(&[Need::Par])
        .twin("TWN-003");
    }
    list.script(
        14,
        (Medium, "10.1", "A pushed request whose proof and dpop_jkt disagree", CODE),
        Judgement::Refused,
        "Push a request with a proof of one key, and dpop_jkt of another.",
        run!(disagreeing),
    )
    .needs(&[Need::Par])
    .twin("TWN-003");
    list.script(
        15,
        (Medium, "RFC 6749 section 3.1", "dpop_jkt twice in a pushed request", CODE),
        Judgement::Refused,
        "Push a request with two thumbprints.",
        run!(doubled_jkt),
    )
    .needs(&[Need::Par])
    .twin("TWN-003");
}

#[derive(Clone, Copy)]
enum Redeemer {
    OtherKey,
    NoProof,
    BadSignature,
    OtherKeyJktParameter,
    PushedProof,
}

async fn redeem_as(arena: &Arena, call: &Call, redeemer: Redeemer, pushed: Option<&[u8]>) -> Step<Response> {
    let other = Key::es256();
    match (redeemer, pushed) {
        (Redeemer::OtherKey, _) => arena.send_honest(&call.clone().key(&other)).await,
        (Redeemer::NoProof, _) => arena.send(call, &[]).await,
        (Redeemer::BadSignature, _) => arena.send_draft(call, |draft| draft.signed_by(&other)).await,
        (Redeemer::OtherKeyJktParameter, _) => arena.send_honest(&call.clone().key(&other).set("dpop_jkt", call.key.jkt())).await,
        (Redeemer::PushedProof, Some(proof)) => arena.send(call, &[proof.to_vec()]).await,
        (Redeemer::PushedProof, None) => inconclusive("there is no pushed proof"),
    }
}

async fn bound_code(arena: &Arena, redeemer: Redeemer) -> Step<()> {
    let key = Key::es256();
    let request = AuthorizationRequest::new(arena)?.set("dpop_jkt", key.jkt());
    let code = arena.code(&request).await?;
    let answer = redeem_as(arena, &arena.redeem(&request, &code, &key)?, redeemer, None).await?;
    refused(Stage::Token, &answer)
}

/// A code of a request that was pushed with a proof, its proof, and its honest redemption.
async fn pushed_with_proof(arena: &Arena) -> Step<(Call, Vec<u8>)> {
    let request = AuthorizationRequest::new(arena)?;
    let call = Call { form: request.parameters.clone(), ..arena.call(Stage::Par).await? };
    let mut proof = arena.draft(&call).sign().into_bytes();
    let mut answer = arena.send(&call, &[proof.clone()]).await?;
    if answer.wants_nonce() {
        proof = arena.draft(&call).sign().into_bytes();
        answer = arena.send(&call, &[proof.clone()]).await?;
    }
    accepted(Stage::Par, &answer)?;
    let name = answer.json()["request_uri"].as_str().unwrap_or_default().to_owned();
    let code = open(arena, &name).await?;
    Ok((arena.redeem(&request, &code, &call.key)?, proof))
}

async fn open(arena: &Arena, request_uri: &str) -> Step<String> {
    let query = [("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), request_uri.to_owned())];
    match arena.authorize(&query, &arena.options.redirect_uri).await?.code() {
        Some(code) => Ok(code.to_owned()),
        None => inconclusive("a good pushed request gives no code"),
    }
}

async fn pushed_code(arena: &Arena, redeemer: Redeemer) -> Step<()> {
    let (call, proof) = pushed_with_proof(arena).await?;
    let answer = redeem_as(arena, &call, redeemer, Some(&proof)).await?;
    refused(Stage::Token, &answer)
}

async fn overridden(arena: &Arena) -> Step<()> {
    let (honest, thief) = (Key::es256(), Key::es256());
    let request = AuthorizationRequest::new(arena)?.set("dpop_jkt", honest.jkt());
    let name = arena.push(&request).await?;
    let query = [("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), name), ("dpop_jkt".to_owned(), thief.jkt())];
    let end = arena.authorize(&query, &arena.options.redirect_uri).await?;
    let Some(code) = end.code() else { return Ok(()) };
    let answer = arena.send_honest(&arena.redeem(&request, code, &thief)?).await?;
    refused(Stage::Token, &answer)
}

async fn malformed_jkt(arena: &Arena, value: &'static str) -> Step<()> {
    let call = arena.call(Stage::Par).await?.set("dpop_jkt", value);
    refused(Stage::Par, &arena.send(&call, &[]).await?)
}

async fn disagreeing(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Par).await?.set("dpop_jkt", Key::es256().jkt());
    refused(Stage::Par, &arena.send_honest(&call).await?)
}

async fn doubled_jkt(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Par).await?;
    let (mine, other) = (call.key.jkt(), Key::es256().jkt());
    refused(Stage::Par, &arena.send(&call.add("dpop_jkt", mine).add("dpop_jkt", other), &[]).await?)
}

/// A code that is honestly asked for, and the call that redeems it.
async fn fresh_code(arena: &Arena) -> Step<Call> {
    let request = AuthorizationRequest::new(arena)?;
    let code = arena.code(&request).await?;
    arena.redeem(&request, &code, &Key::es256())
}

fn redemption(list: &mut List) {
    let rule = "RFC 6749 section 4.1.2";
    list.script(
        20,
        (High, rule, "A code twice", "a recorded code works again"),
        Judgement::AcceptedOnce,
        "Redeem a code.\nRedeem it again with a new proof.",
        run!(twice),
    )
    .needs(&[Need::Codes]);
    list.script(
        21,
        (Low, rule, "The tokens of a code that came back", "the tokens of a stolen code live on"),
        Judgement::StaysEnded,
        "Redeem a code.\nRedeem it again; it is refused.\nRefresh with the refresh token of the first answer: it is refused.",
        run!(twice_ends),
    )
    .needs(&[Need::Codes]);
    list.script(
        22,
        (High, rule, "One code 16 times at one moment", "two checks at one moment both find the code unused"),
        Judgement::AcceptedOnce,
        "Redeem a code 16 times at one moment, each with its own proof.",
        run!(at_once, false),
    )
    .needs(&[Need::Codes]);
    list.script(
        23,
        (High, rule, "One code 16 times at one moment, half of them at the second node", "two nodes both find the code unused"),
        Judgement::AcceptedOnce,
        "Redeem a code 16 times at one moment, each other time at the second node.",
        run!(at_once, true),
    )
    .needs(&[Need::Codes, Need::Peer]);
    let spoiled: [(u16, super::Severity, &str, &str, &str, Spoil); 8] = [
        (24, Critical, "RFC 7636 section 4.6", "A code with another code_verifier", "a stolen code works", |call| {
            call.set("code_verifier", format!("{}{}", unique(), unique()))
        }),
        (25, Critical, "RFC 7636 section 4.6", "A code without its code_verifier", "a stolen code works", |call| {
            call.without("code_verifier")
        }),
        (26, Critical, "RFC 7636 section 4.6", "A code with an empty code_verifier", "a stolen code works", |call| {
            call.set("code_verifier", "")
        }),
        (
            27,
            Medium,
            "RFC 6749 section 4.1.3",
            "A code with another redirect_uri",
            "a code of one place is redeemed from another",
            |call| call.set("redirect_uri", "https://evil.example/cb"),
        ),
        (28, Critical, "RFC 6749 section 4.1.3", "A code that was changed", "codes can be made up", |call| {
            let code = call.parameter("code").to_owned();
            call.set("code", format!("{}AAAA", code.get(..code.len().saturating_sub(4)).unwrap_or_default()))
        }),
        (29, Low, "RFC 6749 section 3.2", "Two codes in one request", "which of two parameters counts depends on who reads", |call| {
            call.add("code", "other")
        }),
        (30, Medium, "RFC 6749 section 2.3.1", "A code in the query", "codes end in logs", |mut call| {
            let code = call.parameter("code").to_owned();
            call.url.query_pairs_mut().append_pair("code", &code);
            call.without("code")
        }),
        (31, High, "RFC 6749 section 4.1.3", "A code as a refresh token", "tokens of one kind are taken for another", |call| {
            let code = call.parameter("code").to_owned();
            call.set("grant_type", "refresh_token").set("refresh_token", code)
        }),
    ];
    for (number, severity, section, title, breach, spoil) in spoiled {
        list.script(
            number,
            (severity, section, title, breach),
            Judgement::Refused,
            &format!("Ask for a code.\nRedeem it, with one thing changed: {title}."),
            run!(spoiled_code, spoil),
        )
        .needs(&[Need::Codes]);
    }
    list.script(
        32,
        (Critical, "RFC 6749 section 4.1.3", "A code in the hands of another client", "a stolen code works for any client"),
        Judgement::Refused,
        "Ask for a code.\nRedeem it as another client.",
        run!(other_client),
    )
    .needs(&[Need::Codes, Need::OtherClient]);
    list.script(
        33,
        (Medium, "5", "The code after it was shown with a broken proof", "a broken proof costs the user a sign-in"),
        Judgement::LeavesNoTrace,
        "Ask for a code.\nRedeem it with a proof that is refused.\nRedeem it with a good one.",
        run!(survives),
    )
    .needs(&[Need::Codes]);
    list.script(
        34,
        (High, "5", "The refresh token of a code, with another key", "a refresh token that a proof came with is bound to nothing"),
        Judgement::Refused,
        "Redeem a code with a proof.\nRefresh with another key.",
        run!(refresh_of_code),
    )
    .needs(&[Need::Codes]);
}

type Spoil = fn(Call) -> Call;

async fn spoiled_code(arena: &Arena, spoil: Spoil) -> Step<()> {
    let call = spoil(fresh_code(arena).await?);
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn twice(arena: &Arena) -> Step<()> {
    let call = fresh_code(arena).await?;
    accepted(Stage::Token, &arena.send_honest(&call).await?)?;
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn twice_ends(arena: &Arena) -> Step<()> {
    let call = fresh_code(arena).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Token, &answer)?;
    let Some(refresh_token) = answer.refresh_token() else { return not_applicable("a code gives no refresh token") };
    refused(Stage::Token, &arena.send_honest(&call).await?)?;
    let session = crate::target::Session { key: call.key, refresh_token, grant: None };
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    if succeeded(Stage::Refresh, &answer) { breach("the tokens of the code live on") } else { refused(Stage::Refresh, &answer) }
}

async fn at_once(arena: &Arena, peer: bool) -> Step<()> {
    let call = fresh_code(arena).await?;
    let requests = (0..16)
        .map(|index| {
            let call = if peer && index % 2 == 1 { call.clone().at_the_peer() } else { call.clone() };
            arena.request(&call, &[arena.draft(&call).sign().into_bytes()])
        })
        .collect();
    let successes = successes(Stage::Token, arena.volley("redemptions of one code", requests).await)?;
    match successes.len() {
        1 => Ok(()),
        0 => inconclusive("the code was not accepted at all"),
        many => breach(format!("one code was redeemed {many} times")),
    }
}

async fn other_client(arena: &Arena) -> Step<()> {
    let Some(other) = arena.options.other.clone() else { return not_applicable("no other client was given") };
    let call = fresh_code(arena).await?.client(Some(other));
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn survives(arena: &Arena) -> Step<()> {
    let call = fresh_code(arena).await?;
    let answer = arena.send_draft(&call, |draft| draft.claim("htm", "GET")).await?;
    refused(Stage::Token, &answer)?;
    still_works(Stage::Token, &arena.send_honest(&call).await?, "the code is refused after a broken proof")
}

async fn refresh_of_code(arena: &Arena) -> Step<()> {
    let call = fresh_code(arena).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Token, &answer)?;
    let Some(refresh_token) = answer.refresh_token() else { return not_applicable("a code gives no refresh token") };
    let session = crate::target::Session { key: Key::es256(), refresh_token, grant: None };
    refused(Stage::Refresh, &arena.send_honest(&arena.refresh(&session)?.by_a_thief()).await?)
}

fn pushed(list: &mut List) {
    let rule = "RFC 9126 section 2.1";
    let spoiled: [(u16, super::Severity, &str, &str, Spoil); 7] = [
        (40, Medium, rule, "A pushed request that names another pushed request", |call| {
            call.set("request_uri", "urn:ietf:params:oauth:request_uri:other")
        }),
        (41, High, "RFC 9700 section 2.1", "A pushed request with a redirect_uri that is not registered", |call| {
            call.set("redirect_uri", "https://evil.example/cb")
        }),
        (42, High, "RFC 9700 section 2.1", "A pushed request whose redirect_uri begins like a registered one", |call| {
            let uri = call.parameter("redirect_uri").to_owned();
            call.set("redirect_uri", format!("{uri}.evil.example"))
        }),
        (43, Low, "RFC 9700 section 2.1.1", "A pushed request with the PKCE method plain", |call| {
            call.set("code_challenge_method", "plain")
        }),
        (44, Medium, "RFC 9700 section 2.1.2", "A pushed request for a token in the redirect", |call| call.set("response_type", "token")),
        (45, Low, "RFC 6749 section 3.1", "A pushed request with two redirect URIs", |call| {
            call.add("redirect_uri", "https://evil.example/cb")
        }),
        (46, Medium, rule, "A pushed request of nobody", |call| call.client(None).without("client_id")),
    ];
    for (number, severity, section, title, spoil) in spoiled {
        list.script(
            number,
            (severity, section, title, OPEN),
            Judgement::Refused,
            &format!("Push a request, with one thing changed: {title}."),
            run!(spoiled_push, spoil),
        )
        .needs(&[Need::Par])
        .twin("TWN-003");
    }
    list.script(
        47,
        (Medium, "RFC 9126 section 4", "A pushed request, opened twice", "a recorded request URI gives a second code"),
        Judgement::AcceptedOnce,
        "Push a request and run it to its code.\nOpen it again.",
        run!(opened_twice),
    )
    .needs(&[Need::Codes, Need::Par]);
    list.script(
        48,
        (High, "RFC 9126 section 4", "A pushed request in the name of another client", OPEN),
        Judgement::Refused,
        "Push a request.\nOpen it with the client_id of another client.",
        run!(opened_by_other),
    )
    .needs(&[Need::Codes, Need::Par, Need::OtherClient]);
    list.script(
        49,
        (Medium, "RFC 9126 section 4", "A made-up request URI", OPEN),
        Judgement::Refused,
        "Open a request URI that nobody pushed.",
        run!(made_up_request),
    )
    .needs(&[Need::Codes, Need::Par]);
    list.script(
        50,
        (Medium, "RFC 9126 section 4", "A pushed request, opened three times at one moment", "one pushed request gives several codes"),
        Judgement::AcceptedOnce,
        "Push a request.\nRun it to its code in three browsers at one moment.\nRepeat with new requests.",
        run!(opened_at_once),
    )
    .needs(&[Need::Codes, Need::Par]);
}

async fn spoiled_push(arena: &Arena, spoil: Spoil) -> Step<()> {
    let call = spoil(arena.call(Stage::Par).await?);
    refused(Stage::Par, &arena.send_honest(&call).await?)
}

/// No code came, and the browser was led nowhere else.
fn no_code(end: &Authorized) -> Step<()> {
    match end {
        Authorized::Redirected(answer) if answer.contains_key("code") => breach("the authorization endpoint gave a code"),
        Authorized::Elsewhere(place) => breach(format!("the browser was led to {place}")),
        Authorized::Page(500..) => inconclusive("the authorization endpoint failed"),
        Authorized::Redirected(_) | Authorized::Page(_) => Ok(()),
    }
}

async fn opened_twice(arena: &Arena) -> Step<()> {
    let request = AuthorizationRequest::new(arena)?;
    let name = arena.push(&request).await?;
    open(arena, &name).await?;
    let query = [("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), name)];
    no_code(&arena.authorize(&query, &arena.options.redirect_uri).await?)
}

async fn opened_at_once(arena: &Arena) -> Step<()> {
    for _ in 0..3 {
        let request = AuthorizationRequest::new(arena)?;
        let name = arena.push(&request).await?;
        let query = [("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), name)];
        let open = || arena.authorize(&query, &arena.options.redirect_uri);
        let (first, second, third) = tokio::try_join!(open(), open(), open())?;
        match [first, second, third].iter().filter(|end| end.code().is_some()).count() {
            1 => {}
            0 => return inconclusive("a good pushed request gives no code"),
            many => return breach(format!("one pushed request gave {many} codes")),
        }
    }
    Ok(())
}

async fn opened_by_other(arena: &Arena) -> Step<()> {
    let request = AuthorizationRequest::new(arena)?;
    let name = arena.push(&request).await?;
    let Some(other) = &arena.options.other else { return not_applicable("no other client was given") };
    let query = [("client_id".to_owned(), other.id.clone()), ("request_uri".to_owned(), name)];
    no_code(&arena.authorize(&query, &arena.options.redirect_uri).await?)
}

async fn made_up_request(arena: &Arena) -> Step<()> {
    let query =
        [("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), format!("urn:ietf:params:oauth:request_uri:{}", unique()))];
    no_code(&arena.authorize(&query, &arena.options.redirect_uri).await?)
}

type SpoilRequest = fn(AuthorizationRequest) -> AuthorizationRequest;

fn requests(list: &mut List) {
    let spoiled: [(u16, super::Severity, &str, &str, SpoilRequest); 6] = [
        (60, High, "RFC 9700 section 2.1", "An authorization request with a redirect_uri that is not registered", |request| {
            request.set("redirect_uri", "https://evil.example/cb")
        }),
        (61, High, "RFC 9700 section 2.1", "An authorization request with a user name in its redirect_uri", |request| {
            let uri = request
                .parameters
                .iter()
                .find(|(name, _)| name == "redirect_uri")
                .map(|(_, uri)| uri.replacen("://", "://evil.example@", 1));
            request.set("redirect_uri", uri.unwrap_or_default())
        }),
        (62, Medium, "RFC 9700 section 2.1.1", "An authorization request of a public client without PKCE", |request| {
            request.without("code_challenge").without("code_challenge_method")
        }),
        (63, Low, "RFC 9700 section 2.1.1", "An authorization request with the PKCE method plain", |request| {
            request.set("code_challenge_method", "plain")
        }),
        (64, Medium, "RFC 9700 section 2.1.2", "An authorization request for a token in the redirect", |request| {
            request.set("response_type", "token")
        }),
        (65, Info, "10", "An authorization request with a malformed dpop_jkt", |request| request.set("dpop_jkt", "abc")),
    ];
    for (number, severity, section, title, spoil) in spoiled {
        list.script(
            number,
            (severity, section, title, OPEN),
            Judgement::Refused,
            &format!("Open an authorization request, with one thing changed: {title}."),
            run!(spoiled_request, spoil),
        )
        .needs(&[Need::Codes, Need::PlainAuthorize]);
    }
    list.script(
        66,
        (
            Low,
            "RFC 9207 section 2",
            "An answer of the authorization endpoint without its issuer",
            "a client can't tell which of two servers has answered it",
        ),
        Judgement::WellFormed,
        "Ask for a code.\nThe answer has iss, which is the issuer.",
        run!(issuer_named),
    )
    .needs(&[Need::Codes]);
}

async fn spoiled_request(arena: &Arena, spoil: SpoilRequest) -> Step<()> {
    let request = spoil(AuthorizationRequest::new(arena)?);
    let redirect_uri = request.parameters.iter().find(|(name, _)| name == "redirect_uri").map_or("", |(_, uri)| uri);
    match arena.authorize(&request.parameters, redirect_uri).await? {
        Authorized::Redirected(answer) if answer.contains_key("access_token") => breach("the redirect holds a token"),
        // An error at an unregistered place is an open redirector.
        Authorized::Redirected(_) if redirect_uri != arena.options.redirect_uri => {
            breach("the browser was led to a place that is not registered")
        }
        Authorized::Elsewhere(place) if place.contains("evil") => breach(format!("the browser was led to {place}")),
        end => no_code(&end),
    }
}

async fn issuer_named(arena: &Arena) -> Step<()> {
    let request = AuthorizationRequest::new(arena)?;
    let query = if arena.endpoints.requires_par {
        vec![("client_id".to_owned(), arena.app()?.id), ("request_uri".to_owned(), arena.push(&request).await?)]
    } else {
        request.parameters.clone()
    };
    match arena.authorize(&query, &arena.options.redirect_uri).await? {
        Authorized::Redirected(answer) if answer.get("iss") == Some(&arena.endpoints.issuer) => Ok(()),
        Authorized::Redirected(answer) if answer.contains_key("code") => breach("the answer has no iss, or another's"),
        _ => inconclusive("a good authorization request gives no code"),
    }
}
