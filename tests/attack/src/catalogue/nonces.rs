//! `NON`: nonces.

use std::time::Duration;

use serde_json::{Value, json};

use super::Severity::{High, Low, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Need, Role, Stage, told};
use crate::clock::now;
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::unique;
use crate::judge::{accepted, refused, still_works};
use crate::wire::{Request, Response};

const MADE_UP: &str = "who can make up nonces can make proofs for later use";
const TRACE: &str = "an honest client that is asked for a nonce loses what it showed with the request";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Nonce, Stage::Any, "TWN-020");
    forged(&mut list);
    list.twin = "TWN-001";
    challenges(&mut list);
    list.attacks
}

/// A nonce made of a good one. Two tries are made: the second with the nonce that the refusal brings.
type Forged = fn(&str) -> Value;

fn forged(list: &mut List) {
    let forgeries: [(u16, super::Severity, &str, Forged); 14] = [
        (1, High, "A nonce that nobody gave", |_| json!(unique())),
        (2, High, "An empty nonce", |_| json!("")),
        (3, High, "A nonce that lacks its last character", |nonce| json!(nonce[..nonce.len() - 1])),
        (4, High, "A nonce with a character more", |nonce| json!(format!("{nonce}A"))),
        (5, High, "A nonce whose first character is another", |nonce| json!(changed(nonce, 0))),
        (6, High, "A nonce whose middle character is another", |nonce| json!(changed(nonce, nonce.len() / 2))),
        (7, High, "A nonce whose last character is another", |nonce| json!(changed(nonce, nonce.len() - 1))),
        (8, Medium, "A nonce in capitals", |nonce| json!(nonce.to_uppercase())),
        (9, High, "A nonce that is null", |_| Value::Null),
        (10, High, "A nonce that is a number", |_| json!(1)),
        (11, High, "A nonce in an array", |nonce| json!([nonce])),
        (12, Medium, "A nonce after a space", |nonce| json!(format!(" {nonce}"))),
        (13, Medium, "A nonce that is doubled", |nonce| json!(format!("{nonce}{nonce}"))),
        (14, High, "A nonce that is true", |_| json!(true)),
    ];
    for (number, severity, title, forgery) in forgeries {
        list.script(
            number,
            (severity, "8", title, MADE_UP),
            Judgement::Refused,
            "Take the nonce that the server gave last.\nSend a proof with the forged one; a demand for a nonce is a refusal.",
            run!(forged_nonce, forgery),
        )
        .needs(&[Need::Nonces]);
    }
    list.script(
        15,
        (
            High,
            "9",
            "A nonce of the authorization server at the resource server, and the other way round",
            "a nonce means something where it was not given",
        ),
        Judgement::Refused,
        "Take the nonces that both servers gave.\nUse each at the other.",
        run!(swapped_roles),
    )
    .needs(&[Need::Nonces, Need::Resource]);
    list.script(
        16,
        (High, "8", "No nonce, where nonces are demanded", MADE_UP),
        Judgement::Refused,
        "Show a proof without a nonce.\nIf that is answered with a demand for one, show another without.",
        run!(left_out),
    );
    list.script(
        17,
        (High, "4.2", "A nonce in the header of the proof instead of its claims", MADE_UP),
        Judgement::Refused,
        "Put the server's nonce into the JOSE header alone.",
        run!(in_the_header),
    );
    list.script(
        18,
        (Medium, "8", "A nonce that has outlived its time", "proofs that somebody made ahead with a nonce work for as long as the key does"),
        Judgement::Refused,
        "Take the nonce that the server gave last; a proof with it is accepted.\nWait for longer than a nonce may live.\nSend a new proof with it.",
        run!(outlived),
    )
    .needs(&[Need::Nonces])
    .slow();
}

fn changed(nonce: &str, at: usize) -> String {
    nonce.char_indices().map(|(index, character)| if index == at { if character == 'A' { 'B' } else { 'A' } } else { character }).collect()
}

/// A nonce of this server that is good now.
async fn good_nonce(arena: &Arena) -> Step<String> {
    if let Some(url) = &arena.endpoints.nonce
        && let Some(nonce) = arena.wire.send(&Request::new("GET", url)).await?.header("DPoP-Nonce")
    {
        return Ok(nonce.to_owned());
    }
    match arena.nonce(Role::AuthorizationServer) {
        Some(nonce) if nonce.len() > 1 => Ok(nonce),
        _ => not_applicable("the server hands out no nonces"),
    }
}

async fn forged_nonce(arena: &Arena, forgery: Forged) -> Step<()> {
    let nonce = good_nonce(arena).await?;
    if nonce.len() < 2 || !nonce.is_ascii() {
        return inconclusive("the nonce of the server is too short to be forged");
    }
    let call = arena.call(Stage::Any).await?;
    let answer = arena.send(&call, &[arena.draft(&call).claim("nonce", forgery(&nonce)).sign().into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn swapped_roles(arena: &Arena) -> Step<()> {
    let same_origin = arena.resource_url().is_some_and(|url| url.origin() == arena.endpoints.token.origin());
    if same_origin && arena.options.resource.is_none() {
        return not_applicable("userinfo belongs to the authorization server and may share its nonces");
    }
    for stage in [Stage::Any, Stage::Resource] {
        let call = arena.call(stage).await?;
        accepted(call.stage, &arena.send_honest(&call).await?)?;
    }
    let (Some(ours), Some(theirs)) = (arena.nonce(Role::AuthorizationServer), arena.nonce(Role::ResourceServer)) else {
        return not_applicable("not both the authorization server and the resource hand out nonces");
    };
    for (stage, nonce) in [(Stage::Any, theirs), (Stage::Resource, ours)] {
        let call = arena.call(stage).await?;
        let answer = arena.send(&call, &[arena.draft(&call).claim("nonce", nonce).sign().into_bytes()]).await?;
        refused(call.stage, &answer)?;
    }
    Ok(())
}

/// A demand for a nonce; where the server makes none, the attack does not apply.
async fn demanded(arena: &Arena, stage: Stage) -> Step<(crate::arena::Call, Response)> {
    let call = arena.call(stage).await?;
    let answer = arena.send(&call, &[arena.draft(&call).without("nonce").sign().into_bytes()]).await?;
    if answer.wants_nonce() { Ok((call, answer)) } else { not_applicable("the server demands no nonces") }
}

async fn left_out(arena: &Arena) -> Step<()> {
    let (call, _) = demanded(arena, Stage::Any).await?;
    let answer = arena.send(&call, &[arena.draft(&call).without("nonce").sign().into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn in_the_header(arena: &Arena) -> Step<()> {
    let (call, _) = demanded(arena, Stage::Any).await?;
    let draft = arena.draft(&call);
    let nonce = draft.text("nonce");
    let answer = arena.send(&call, &[draft.without("nonce").head("nonce", nonce).sign().into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn outlived(arena: &Arena) -> Step<()> {
    let Some(life) = arena.options.nonce_life_s else { return not_applicable("how long a nonce lives was not told: --nonce-life-s") };
    let nonce = good_nonce(arena).await?;
    let call = arena.call(Stage::Any).await?;
    accepted(call.stage, &arena.send_draft(&call, |draft| draft.claim("nonce", nonce.clone())).await?)?;
    // A second of slack for clocks that count whole ones.
    tokio::time::sleep(Duration::from_secs(u64::from(life) + 1)).await;
    let call = arena.call(Stage::Any).await?;
    let answer = arena.send(&call, &[arena.draft(&call).claim("nonce", nonce).sign().into_bytes()]).await?;
    refused(call.stage, &answer)
}

fn challenges(list: &mut List) {
    list.script(
        30,
        (Medium, "8", "A demand for a nonce uses up the refresh token", TRACE),
        Judgement::LeavesNoTrace,
        "Refresh with a nonce that nobody gave.\nRefresh with the same token and the nonce of the answer.",
        run!(demand_leaves, Stage::Refresh),
    )
    .needs(&[Need::Session])
    .twin("TWN-002");
    list.script(
        31,
        (Medium, "8", "A demand for a nonce uses up the jti of the proof", TRACE),
        Judgement::LeavesNoTrace,
        "Send a proof with a nonce that nobody gave.\nSend a proof with the same jti and the nonce of the answer.",
        run!(demand_leaves, Stage::Any),
    );
    list.script(
        32,
        (Medium, "8", "A demand for a nonce uses up the client assertion", TRACE),
        Judgement::LeavesNoTrace,
        "Send a client assertion, and a proof with a nonce that nobody gave.\nSend the same assertion, and a proof with the nonce of the answer.",
        run!(demand_leaves_assertion),
    )
    .needs(&[Need::Assertion])
    .twin("TWN-030");
    list.script(
        33,
        (Medium, "8", "A demand for a nonce uses up the authorization code", TRACE),
        Judgement::LeavesNoTrace,
        "Redeem a code with a proof whose nonce nobody gave.\nRedeem it with the nonce of the answer.",
        run!(demand_leaves_code),
    )
    .needs(&[Need::Codes])
    .twin("TWN-005");
    list.script(
        34,
        (Low, "8", "A demand for a nonce without a nonce, with two, or with characters that a nonce may not have", "a client can't answer the demand"),
        Judgement::WellFormed,
        "Send a proof with a nonce that nobody gave.\nThe demand has exactly one DPoP-Nonce, of other characters than quotes, spaces and backslashes, and not the one that was sent.",
        run!(well_formed),
    );
    list.script(
        35,
        (Low, "8.2", "A demand for a nonce that a cache may keep", "a cache hands one nonce to many, and answers of tokens with it"),
        Judgement::WellFormed,
        "Send a proof with a nonce that nobody gave.\nThe demand says Cache-Control: no-store.",
        run!(uncached),
    );
    list.script(
        36,
        (
            High,
            "8",
            "A proof from an hour ago with a nonce of now, and one from an hour ahead",
            "whoever gets one nonce can use every proof ever recorded",
        ),
        Judgement::Refused,
        "Take a good nonce.\nSend proofs with it whose iat is a day old, and a day ahead.",
        run!(old_with_nonce),
    )
    .needs(&[Need::Nonces])
    .twin("TWN-020");
}

async fn challenged(arena: &Arena, stage: Stage, bad: &str) -> Step<(crate::arena::Call, Response, String)> {
    let call = arena.call(stage).await?;
    let draft = arena.draft(&call);
    let jti = draft.text("jti");
    let answer = arena.send(&call, &[draft.claim("nonce", bad).sign().into_bytes()]).await?;
    if !answer.wants_nonce() {
        refused(call.stage, &answer).or_else(|_| not_applicable("the server makes nothing of nonces"))?;
        return not_applicable("the server does not demand a nonce where it gets a bad one");
    }
    Ok((call, answer, jti))
}

async fn demand_leaves(arena: &Arena, stage: Stage) -> Step<()> {
    let (call, _, jti) = challenged(arena, stage, &unique()).await?;
    let answer = arena.send(&call, &[arena.draft(&call).claim("jti", jti).sign().into_bytes()]).await?;
    still_works(call.stage, &answer, "after a demand for a nonce the same request is refused")
}

async fn demand_leaves_assertion(arena: &Arena) -> Step<()> {
    let mut call = arena.call(Stage::Token).await?;
    if let Some(client) = call.client.take() {
        client.authenticate(&arena.endpoints.issuer, &mut call.form, &mut call.headers);
    }
    let answer = arena.send(&call, &[arena.draft(&call).claim("nonce", unique()).sign().into_bytes()]).await?;
    if !answer.wants_nonce() {
        return not_applicable("the server does not demand a nonce where it gets a bad one");
    }
    let answer = arena.send(&call, &[arena.draft(&call).sign().into_bytes()]).await?;
    still_works(call.stage, &answer, "after a demand for a nonce the same client assertion is refused")
}

async fn demand_leaves_code(arena: &Arena) -> Step<()> {
    let request = crate::arena::AuthorizationRequest::new(arena)?;
    let code = arena.code(&request).await?;
    let call = arena.redeem(&request, &code, &crate::jose::Key::es256())?;
    let answer = arena.send(&call, &[arena.draft(&call).claim("nonce", unique()).sign().into_bytes()]).await?;
    if !answer.wants_nonce() {
        return not_applicable("the server does not demand a nonce where it gets a bad one");
    }
    let answer = arena.send(&call, &[arena.draft(&call).sign().into_bytes()]).await?;
    still_works(call.stage, &answer, "after a demand for a nonce the same code is refused")
}

async fn well_formed(arena: &Arena) -> Step<()> {
    let sent = unique();
    let (_, answer, _) = challenged(arena, Stage::Any, &sent).await?;
    let nonces: Vec<&str> = answer.all("DPoP-Nonce").collect();
    match nonces.as_slice() {
        [nonce] if *nonce == sent => breach("the demand repeats the nonce that was refused"),
        [nonce] if nonce.is_empty() || !nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) => {
            breach("the nonce has characters that a nonce may not have")
        }
        [_] => Ok(()),
        other => breach(format!("{} with {} DPoP-Nonce headers", told(&Ok(answer.clone())), other.len())),
    }
}

async fn uncached(arena: &Arena) -> Step<()> {
    let (_, answer, _) = challenged(arena, Stage::Any, &unique()).await?;
    let kept = answer.header("Cache-Control").unwrap_or_default().to_ascii_lowercase();
    if kept.contains("no-store") { Ok(()) } else { breach("the demand does not say Cache-Control: no-store") }
}

async fn old_with_nonce(arena: &Arena) -> Step<()> {
    let nonce = good_nonce(arena).await?;
    for shift in [-86_400, 86_400] {
        let call = arena.call(Stage::Any).await?;
        let draft = arena.draft(&call).claim("nonce", nonce.clone()).claim("iat", now() + shift);
        let answer = arena.send(&call, &[draft.sign().into_bytes()]).await?;
        refused(call.stage, &answer)?;
    }
    Ok(())
}
