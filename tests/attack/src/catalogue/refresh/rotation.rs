//! Old, lost and revoked refresh tokens.

use super::{FORKED, STOLEN};
use crate::arena::{Arena, Need, Stage, told};
use crate::catalogue::Severity::{High, Low, Medium};
use crate::catalogue::{Judgement, List, run};
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::Key;
use crate::judge::{accepted, refused, still_works, succeeded};
use crate::target::Session;
use std::collections::BTreeSet;

/// A session after so many refreshes, and the refresh tokens it had before.
pub(super) async fn rotated(arena: &Arena, times: usize) -> Step<(Vec<String>, Session)> {
    let mut session = arena.session().await?;
    let mut old = Vec::new();
    for _ in 0..times {
        let answer = arena.send_honest(&arena.refresh(&session)?).await?;
        accepted(Stage::Refresh, &answer)?;
        match answer.refresh_token() {
            Some(token) if token != session.refresh_token => old.push(std::mem::replace(&mut session.refresh_token, token)),
            _ => return not_applicable("the server does not rotate refresh tokens of this client"),
        }
    }
    Ok((old, session))
}

pub(super) fn rotation(list: &mut List) {
    let rule = "RFC 9700 section 4.14.2";
    list.script(
        60,
        (High, rule, "A refresh token from three generations ago", "a recorded refresh token works for as long as the session lasts"),
        Judgement::Refused,
        "Refresh three times.\nShow the first refresh token with the right key.",
        run!(reused, 3_usize),
    )
    .needs(&[Need::Sessions]);
    list.script(
        61,
        (Medium, rule, "A refresh token whose successor was used", "more than a lost answer is forgiven: any older token works"),
        Judgement::Refused,
        "Refresh twice.\nShow the first refresh token with the right key.",
        run!(reused, 2_usize),
    )
    .needs(&[Need::Sessions]);
    list.script(62, (Medium, rule, "The session after an old refresh token came back with the right key", "key and token were cloned, and the clone goes on unnoticed"), Judgement::StaysEnded, "Refresh three times.\nShow the first refresh token with the right key.\nRefresh with the newest one: it is refused, for one of the two is a thief.", run!(reuse_ends)).needs(&[Need::Sessions]);
    list.script(
        63,
        (Low, rule, "A session whose answer got lost", "a broken connection costs the user a sign-in"),
        Judgement::LeavesNoTrace,
        "Refresh, and lose the answer.\nRefresh with the same token and a new proof.",
        run!(lost_answer, 1_usize),
    )
    .needs(&[Need::Sessions]);
    list.script(
        64,
        (Low, rule, "A session whose answer got lost five times", "a bad connection costs the user a sign-in"),
        Judgement::LeavesNoTrace,
        "Refresh, and lose the answer, five times.\nRefresh with the same token and a new proof.",
        run!(lost_answer, 5_usize),
    )
    .needs(&[Need::Sessions]);
    list.script(
        65,
        (High, rule, "Two answers to one refresh token, both used", FORKED),
        Judgement::OneLeaf,
        "Refresh twice with the same token and two proofs.\nUse the refresh tokens of both answers, then those of the answers to them.",
        run!(forks),
    )
    .needs(&[Need::Sessions]);
    list.script(
        66,
        (High, "11.1", "A recorded refresh, sent again byte for byte", STOLEN),
        Judgement::AcceptedOnce,
        "Refresh.\nSend the same request again.",
        run!(recorded),
    )
    .needs(&[Need::Sessions]);
    list.script(
        67,
        (High, "11.1", "A recorded refresh, sent again after the next one", STOLEN),
        Judgement::Refused,
        "Refresh twice.\nSend the first request again.\nRefresh with the newest token.",
        run!(recorded_later),
    )
    .needs(&[Need::Sessions]);
    list.script(
        68,
        (Medium, "5", "The next key at a refresh of a public client", STOLEN),
        Judgement::Refused,
        "Refresh with the right key.\nRefresh with the new token and another key.",
        run!(successor_keeps_key),
    )
    .needs(&[Need::Sessions]);
}

async fn reused(arena: &Arena, generations: usize) -> Step<()> {
    let (old, session) = rotated(arena, generations).await?;
    let answer = arena.send_honest(&arena.refresh(&Session { refresh_token: old[0].clone(), ..session })?).await?;
    refused(Stage::Refresh, &answer)
}

async fn reuse_ends(arena: &Arena) -> Step<()> {
    let (old, session) = rotated(arena, 3).await?;
    let answer = arena.send_draft(&arena.refresh(&Session { refresh_token: old[0].clone(), ..session.clone() })?, later).await?;
    refused(Stage::Refresh, &answer)?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    if succeeded(Stage::Refresh, &answer) { breach("the session goes on") } else { refused(Stage::Refresh, &answer) }
}

/// A proof that was clearly made after the last rotation: one from the same second might be an honest one that was late.
fn later(draft: crate::jose::Draft) -> crate::jose::Draft {
    draft.claim("iat", crate::clock::now() + 1)
}

async fn lost_answer(arena: &Arena, times: usize) -> Step<()> {
    let mut session = arena.session().await?;
    for _ in 0..=times {
        let answer = arena.send_honest(&arena.refresh(&session)?).await?;
        still_works(Stage::Refresh, &answer, "the retry after a lost answer is refused")?;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    if let Some(token) = answer.refresh_token() {
        session.refresh_token = token;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "the session is over after lost answers")
}

async fn forks(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = arena.send_honest(&arena.refresh(&session)?).await?;
        if let Some(token) = answer.refresh_token() {
            tokens.push(token);
        }
    }
    if tokens.is_empty() {
        return inconclusive("an honest refresh gives no refresh token");
    }
    one_leaf(arena, &session, tokens).await
}

/// Uses each of these refresh tokens, and then each that came of it: at most one line goes on.
///
/// A token that is given twice is one token. A server may answer a token that was used with its successor again, so the second use of
/// each line decides.
pub(super) async fn one_leaf(arena: &Arena, session: &Session, tokens: Vec<String>) -> Step<()> {
    let distinct: BTreeSet<String> = tokens.into_iter().collect();
    let mut next = BTreeSet::new();
    for token in &distinct {
        let answer = arena.send_honest(&arena.refresh(&Session { refresh_token: token.clone(), ..session.clone() })?).await?;
        if let Some(successor) = answer.refresh_token() {
            next.insert(successor);
        }
    }
    let mut alive = BTreeSet::new();
    for token in next {
        let answer = arena.send_honest(&arena.refresh(&Session { refresh_token: token, ..session.clone() })?).await?;
        if let Some(successor) = answer.refresh_token() {
            alive.insert(successor);
        }
    }
    arena.say(format!("{} refresh tokens came back, {} lines go on", distinct.len(), alive.len()));
    if alive.len() > 1 { breach(format!("{} refresh tokens of one grant are alive", alive.len())) } else { Ok(()) }
}

async fn recorded(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    let call = arena.refresh(&session)?;
    let mut proof = arena.draft(&call).sign().into_bytes();
    let mut answer = arena.send(&call, &[proof.clone()]).await?;
    if answer.wants_nonce() {
        proof = arena.draft(&call).sign().into_bytes();
        answer = arena.send(&call, &[proof.clone()]).await?;
    }
    accepted(Stage::Refresh, &answer)?;
    refused(Stage::Refresh, &arena.send(&call, &[proof]).await?)
}

async fn recorded_later(arena: &Arena) -> Step<()> {
    let mut session = arena.session().await?;
    let call = arena.refresh(&session)?;
    let mut proof = arena.draft(&call).sign().into_bytes();
    let mut answer = arena.send(&call, &[proof.clone()]).await?;
    if answer.wants_nonce() {
        proof = arena.draft(&call).sign().into_bytes();
        answer = arena.send(&call, &[proof.clone()]).await?;
    }
    accepted(Stage::Refresh, &answer)?;
    for _ in 0..2 {
        if let Some(token) = answer.refresh_token() {
            session.refresh_token = token;
        }
        answer = arena.send_honest(&arena.refresh(&session)?).await?;
        accepted(Stage::Refresh, &answer)?;
    }
    refused(Stage::Refresh, &arena.send(&call, &[proof]).await?)?;
    if let Some(token) = answer.refresh_token() {
        session.refresh_token = token;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "a recorded request ends the session of the honest client")
}

async fn successor_keeps_key(arena: &Arena) -> Step<()> {
    let mut session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    accepted(Stage::Refresh, &answer)?;
    if let Some(token) = answer.refresh_token() {
        session.refresh_token = token;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?.by_a_thief().key(&Key::es256())).await?;
    refused(Stage::Refresh, &answer)
}

pub(super) fn ended(list: &mut List) {
    let rule = "RFC 7009 section 2.1";
    let over = "who was signed out, or found out, goes on";
    list.script(
        70,
        (High, rule, "A refresh token after its revocation", over),
        Judgement::StaysEnded,
        "Revoke a refresh token.\nRefresh with it.",
        run!(after_revocation, false),
    )
    .needs(&[Need::Sessions, Need::Revocation]);
    list.script(
        71,
        (High, rule, "The successor of a refresh token that was revoked", over),
        Judgement::StaysEnded,
        "Refresh.\nRevoke the old refresh token.\nRefresh with the new one: the grant is over.",
        run!(after_revocation, true),
    )
    .needs(&[Need::Sessions, Need::Revocation]);
    list.script(
        72,
        (High, rule, "A refresh token after the operator ended its grant", over),
        Judgement::StaysEnded,
        "End the grant.\nRefresh.",
        run!(after_the_end),
    )
    .needs(&[Need::Sessions]);
    list.script(
        73,
        (High, rule, "An access token after its grant was revoked", over),
        Judgement::StaysEnded,
        "Refresh; use the access token.\nRevoke the refresh token.\nUse the access token.",
        run!(access_after_revocation),
    )
    .needs(&[Need::Sessions, Need::Revocation, Need::Resource]);
    list.script(
        74,
        (High, rule, "A refresh token after its revocation and a restart", over),
        Judgement::StaysEnded,
        "Revoke a refresh token.\nRestart the server.\nRefresh with it.",
        run!(revoked_and_restarted),
    )
    .needs(&[Need::Sessions, Need::Revocation, Need::Restart]);
    list.script(
        75,
        (Medium, rule, "A refresh token after a restart", "a restart costs every user a sign-in"),
        Judgement::LeavesNoTrace,
        "Refresh.\nRestart the server.\nRefresh with the new token.",
        run!(restarted),
    )
    .needs(&[Need::Sessions, Need::Restart]);
    list.script(
        76,
        (High, rule, "A refresh token revoked at one node, at the other", over),
        Judgement::StaysEnded,
        "Revoke a refresh token at the first node.\nRefresh with it at the second.",
        run!(revoked_at_the_peer),
    )
    .needs(&[Need::Sessions, Need::Revocation, Need::Peer]);
}

async fn after_revocation(arena: &Arena, successor: bool) -> Step<()> {
    let mut session = arena.session().await?;
    let old = session.refresh_token.clone();
    if successor {
        let answer = arena.send_honest(&arena.refresh(&session)?).await?;
        accepted(Stage::Refresh, &answer)?;
        match answer.refresh_token() {
            Some(token) if token != old => session.refresh_token = token,
            _ => return not_applicable("the server does not rotate refresh tokens of this client"),
        }
    }
    arena.revoke(&old).await?;
    refused(Stage::Refresh, &arena.send_honest(&arena.refresh(&session)?).await?)
}

async fn after_the_end(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    arena.end_grant(&session).await?;
    refused(Stage::Refresh, &arena.send_honest(&arena.refresh(&session)?).await?)
}

async fn access_after_revocation(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    let (Some(access), Some(refresh), Some(url)) = (answer.access_token(), answer.refresh_token(), arena.resource_url()) else {
        return inconclusive(format!("an honest refresh gives {}", told(&Ok(answer))));
    };
    let call = arena.resource_call(&url, &access, &session.key);
    accepted(Stage::Resource, &arena.send_honest(&call).await?)?;
    arena.revoke(&refresh).await?;
    refused(Stage::Resource, &arena.send_honest(&call).await?)
}

async fn revoked_and_restarted(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    arena.revoke(&session.refresh_token).await?;
    arena.restart().await?;
    refused(Stage::Refresh, &arena.send_honest(&arena.refresh(&session)?).await?)
}

async fn restarted(arena: &Arena) -> Step<()> {
    let mut session = arena.session().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    accepted(Stage::Refresh, &answer)?;
    if let Some(token) = answer.refresh_token() {
        session.refresh_token = token;
    }
    arena.restart().await?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "the session is over after a restart")
}

async fn revoked_at_the_peer(arena: &Arena) -> Step<()> {
    let session = arena.session().await?;
    arena.revoke(&session.refresh_token).await?;
    refused(Stage::Refresh, &arena.send_honest(&arena.refresh(&session)?.at_the_peer()).await?)
}
