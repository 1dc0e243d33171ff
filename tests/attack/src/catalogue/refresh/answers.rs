//! Many refreshes at one moment, and what the answers say.

use super::rotation::one_leaf;
use super::{FORKED, KILLED, changed};
use crate::arena::{Arena, Need, Stage, told};
use crate::catalogue::Severity::{High, Low, Medium};
use crate::catalogue::{Judgement, List, run};
use crate::halt::{Halt, Step, breach, inconclusive, not_applicable};
use crate::jose::{Key, claims_of};
use crate::judge::{accepted, refused, still_works, successes};
use crate::target::Session;
use crate::wire::Response;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) fn races(list: &mut List) {
    let rule = "RFC 9700 section 4.14.2";
    list.script(80, (High, rule, "32 refreshes of one token at one moment", FORKED), Judgement::OneLeaf, "Send 32 refreshes of one token, each with its own proof, at one moment.\nUse every refresh token that came back, and every one that came of those.", run!(race, 32_usize, false)).needs(&[Need::Sessions]);
    list.script(
        81,
        (High, rule, "64 refreshes of one token at one moment, half of them at the second node", FORKED),
        Judgement::OneLeaf,
        "Send 64 refreshes of one token at one moment, each other one to the second node.\nUse every refresh token that came back.",
        run!(race, 64_usize, true),
    )
    .needs(&[Need::Sessions, Need::Peer]);
    list.script(
        82,
        (
            High,
            "RFC 7009 section 2.1",
            "Refreshes of one token at the moment of its revocation",
            "a refresh that was under way brings a session back to life",
        ),
        Judgement::StaysEnded,
        "Send 16 refreshes and a revocation at one moment.\nAfter all are answered, use every refresh token that came back.",
        run!(race_with_revocation),
    )
    .needs(&[Need::Sessions, Need::Revocation]);
    list.script(
        83,
        (Medium, rule, "An honest refresh among 31 with other keys, at one moment", KILLED),
        Judgement::LeavesNoTrace,
        "Send an honest refresh and 31 with proofs of other keys at one moment.\nRefresh with what came back.",
        run!(race_with_strangers),
    )
    .needs(&[Need::Sessions]);
    list.script(
        84,
        (High, "11.1", "32 copies of one recorded refresh at one moment", FORKED),
        Judgement::OneLeaf,
        "Make one refresh request.\nSend 32 copies at one moment.\nUse every refresh token that came back.",
        run!(race_of_copies),
    )
    .needs(&[Need::Sessions]);
    list.script(
        85,
        (High, rule, "Two refreshes of one token at one moment, ten times", FORKED),
        Judgement::OneLeaf,
        "Send two refreshes of one token at one moment.\nUse both refresh tokens that came back.\nRepeat with new sessions.",
        run!(race_of_two),
    )
    .needs(&[Need::Sessions]);
}

async fn fresh_requests(arena: &Arena, session: &Session, count: usize, peer: bool) -> Step<Vec<crate::wire::Request>> {
    let call = arena.refresh(session)?;
    Ok((0..count)
        .map(|index| {
            let call = if peer && index % 2 == 1 { call.clone().at_the_peer() } else { call.clone() };
            arena.request(&call, &[arena.draft(&call).sign().into_bytes()])
        })
        .collect())
}

/// A session, of which an honest refresh was answered, so that the suite knows the nonce.
async fn warm_session(arena: &Arena) -> Step<Session> {
    let mut session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    accepted(Stage::Refresh, &answer)?;
    if let Some(token) = answer.refresh_token() {
        session.refresh_token = token;
    }
    Ok(session)
}

async fn race(arena: &Arena, count: usize, peer: bool) -> Step<()> {
    let session = warm_session(arena).await?;
    let requests = fresh_requests(arena, &session, count, peer).await?;
    let answers = successes(Stage::Refresh, arena.volley("refreshes of one token", requests).await)?;
    one_leaf(arena, &session, answers.iter().filter_map(Response::refresh_token).collect()).await
}

async fn race_of_two(arena: &Arena) -> Step<()> {
    for _ in 0..10 {
        race(arena, 2, false).await?;
    }
    Ok(())
}

async fn race_of_copies(arena: &Arena) -> Step<()> {
    let session = warm_session(arena).await?;
    let call = arena.refresh(&session)?;
    let proof = arena.draft(&call).sign().into_bytes();
    let requests = (0..32).map(|_| arena.request(&call, std::slice::from_ref(&proof))).collect();
    let answers = successes(Stage::Refresh, arena.volley("copies of one refresh", requests).await)?;
    crate::judge::once(32, answers.len())?;
    one_leaf(arena, &session, answers.iter().filter_map(Response::refresh_token).collect()).await
}

async fn race_with_revocation(arena: &Arena) -> Step<()> {
    let session = warm_session(arena).await?;
    let mut requests = fresh_requests(arena, &session, 16, false).await?;
    let Some(url) = &arena.endpoints.revocation else { return not_applicable("the server has no revocation endpoint") };
    let (mut form, mut headers) = (vec![("token".to_owned(), session.refresh_token.clone())], Vec::new());
    arena.app()?.authenticate(&arena.endpoints.issuer, &mut form, &mut headers);
    let mut revocation = crate::wire::Request::new("POST", url);
    for (name, value) in &headers {
        revocation = revocation.header(name, value);
    }
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    requests.insert(8, revocation.body("application/x-www-form-urlencoded", body));
    let answers = arena.volley("refreshes and a revocation", requests).await;
    if !answers.get(8).is_some_and(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)) {
        return inconclusive("the revocation was not acknowledged");
    }
    let mut tokens: BTreeSet<String> = answers.iter().flatten().filter_map(Response::refresh_token).collect();
    tokens.insert(session.refresh_token.clone());
    for token in tokens {
        let answer = arena.send_honest(&arena.refresh(&Session { refresh_token: token, ..session.clone() })?).await?;
        refused(Stage::Refresh, &answer)?;
    }
    Ok(())
}

async fn race_with_strangers(arena: &Arena) -> Step<()> {
    let mut session = warm_session(arena).await?;
    let call = arena.refresh(&session)?;
    let mut requests: Vec<_> = (0..31)
        .map(|_| {
            let call = call.clone().by_a_thief().key(&Key::es256());
            arena.request(&call, &[arena.draft(&call).sign().into_bytes()])
        })
        .collect();
    requests.insert(15, arena.request(&call, &[arena.draft(&call).sign().into_bytes()]));
    let answers = arena.volley("an honest refresh among strangers", requests).await;
    for (index, answer) in answers.iter().enumerate() {
        match answer {
            Ok(answer) if index == 15 => still_works(Stage::Refresh, answer, "the honest refresh is refused")?,
            Ok(answer) => refused(Stage::Refresh, answer)?,
            Err(error) => return Err(Halt::from(error.clone())),
        }
    }
    if let Some(token) = answers[15].as_ref().ok().and_then(Response::refresh_token) {
        session.refresh_token = token;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "the session of the honest client is over")
}

pub(super) fn answers(list: &mut List) {
    list.script(90, (High, "6.1", "The access token of a refresh, by its own account", "a token that is called bound is not, or to another key"), Judgement::WellFormed, "Refresh with a proof.\nThe answer says token_type DPoP, and an access token that is a JWT has the thumbprint of the key in cnf.jkt.", run!(bound)).needs(&[Need::Session]);
    list.script(
        91,
        (Low, "RFC 6749 section 5.1", "Tokens that a cache may keep", "a cache hands tokens to others"),
        Judgement::WellFormed,
        "Refresh.\nThe answer says Cache-Control: no-store.",
        run!(uncached),
    )
    .needs(&[Need::Session]);
    list.script(
        92,
        (
            Medium,
            "RFC 6749 section 6",
            "The scope of the next refresh after a narrowed one",
            "narrowing once takes from the client what the user granted",
        ),
        Judgement::LeavesNoTrace,
        "Refresh for a part of the scope.\nRefresh without a scope: all that was granted is there.",
        run!(narrowed),
    )
    .needs(&[Need::Sessions]);
    list.script(
        93,
        (
            Low,
            "RFC 6749 section 5.2",
            "Different answers to unknown and to foreign refresh tokens",
            "the answers tell a thief whether a token is alive",
        ),
        Judgement::WellFormed,
        "Show a made-up refresh token, and a genuine one with another key.\nStatus and error are the same.",
        run!(same_answer),
    )
    .needs(&[Need::Sessions]);
}

async fn bound(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Refresh, &answer)?;
    let body = answer.json();
    if !body["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP")) {
        return breach("the token_type is not DPoP");
    }
    let claims = answer.access_token().as_deref().and_then(claims_of);
    match claims {
        Some(claims) if claims["cnf"]["jkt"] != json!(call.key.jkt()) => {
            breach("cnf.jkt of the access token is not the thumbprint of the key")
        }
        _ => Ok(()),
    }
}

async fn uncached(arena: &Arena) -> Step<()> {
    let answer = arena.send_honest(&arena.call(Stage::Refresh).await?).await?;
    accepted(Stage::Refresh, &answer)?;
    let kept = answer.header("Cache-Control").unwrap_or_default().to_ascii_lowercase();
    if kept.contains("no-store") { Ok(()) } else { breach("the answer does not say Cache-Control: no-store") }
}

async fn narrowed(arena: &Arena) -> Step<()> {
    let mut session = arena.session().await?;
    let Some(part) = arena.options.scope.split(' ').next().filter(|_| arena.options.scope.contains(' ')) else {
        return not_applicable("the scope has one part only");
    };
    for (scope, whole) in [(Some(part), false), (None, true)] {
        let call = arena.refresh(&session)?;
        let answer = arena
            .send_honest(&match scope {
                Some(scope) => call.set("scope", scope),
                None => call,
            })
            .await?;
        still_works(Stage::Refresh, &answer, "a narrowed refresh, or the one after it, is refused")?;
        let granted = answer.json()["scope"].as_str().map(str::to_owned);
        if whole && let Some(granted) = granted {
            let granted: BTreeSet<&str> = granted.split(' ').collect();
            if !arena.options.scope.split(' ').all(|scope| granted.contains(scope)) {
                return breach("the scope of the grant has shrunk");
            }
        }
        if let Some(token) = answer.refresh_token() {
            session.refresh_token = token;
        }
    }
    Ok(())
}

async fn same_answer(arena: &Arena) -> Step<()> {
    if !arena.app()?.is_public() {
        return not_applicable("the refresh tokens of a client that authenticates are not bound to a key");
    }
    let session = arena.session().await?;
    let foreign = arena.send_honest(&arena.refresh(&session)?.key(&Key::es256())).await?;
    refused(Stage::Refresh, &foreign)?;
    let unknown = Session { refresh_token: changed(&session.refresh_token, session.refresh_token.len() / 2), ..session };
    let unknown = arena.send_honest(&arena.refresh(&unknown)?).await?;
    refused(Stage::Refresh, &unknown)?;
    if (foreign.status, foreign.error()) == (unknown.status, unknown.error()) {
        Ok(())
    } else {
        breach(format!("{} for a foreign token, {} for an unknown one", told(&Ok(foreign)), told(&Ok(unknown))))
    }
}
