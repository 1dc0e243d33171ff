//! `RFR`: refresh tokens.

use std::collections::BTreeSet;

use serde_json::json;

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, core_rules, run};
use crate::arena::{Arena, Need, Stage, told};
use crate::halt::{Halt, Step, breach, inconclusive, not_applicable};
use crate::jose::{Key, claims_of, unique, with_tail_bits};
use crate::judge::{accepted, refused, still_works, succeeded, successes};
use crate::target::Session;
use crate::wire::Response;

const STOLEN: &str = "a stolen refresh token works without the key it is bound to";
const KILLED: &str = "who holds a stolen token without its key can end the session of the honest client";
const FORKED: &str = "thief and client both hold a refresh token that lives, and neither is noticed";
const GUESSED: &str = "refresh tokens can be made or changed by anyone";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Refresh, Stage::Refresh, "TWN-002");
    stolen(&mut list);
    strangers(&mut list);
    forged(&mut list);
    rotation(&mut list);
    ended(&mut list);
    races(&mut list);
    answers(&mut list);
    core_rules::add(&mut list, 101, "at a refresh");
    list.attacks
}

/// How a stolen refresh token is tried.
#[derive(Clone, Copy)]
enum Thief {
    NoProof,
    OwnKey,
    Garbage,
    BadSignature,
    OldProof,
    OtherClient,
    OtherClientOwnKey,
    NoClient,
    UnknownClient,
    BearerHeader,
    OwnKeyTwoLines,
    OwnKeyJktParameter,
}

impl Thief {
    /// Sends what the thief sends.
    async fn send(self, arena: &Arena, session: &Session) -> Step<Response> {
        let own = Key::es256();
        let call = arena.refresh(session)?;
        let call = match self {
            Self::OtherClient | Self::OtherClientOwnKey => match &arena.options.other {
                Some(other) => call.client(Some(other.clone())),
                None => return not_applicable("no other client was given: --other-client-id"),
            },
            Self::NoClient => call.client(None),
            Self::UnknownClient => call.client(None).set("client_id", format!("unknown-{}", unique())),
            Self::BearerHeader => call.header("Authorization", format!("Bearer {}", session.refresh_token)),
            Self::OwnKeyJktParameter => call.set("dpop_jkt", session.key.jkt()),
            _ => call,
        };
        match self {
            Self::NoProof | Self::BearerHeader => arena.send(&call, &[]).await,
            Self::Garbage => arena.send(&call, &[b"garbage".to_vec()]).await,
            Self::OwnKey | Self::OtherClientOwnKey | Self::OwnKeyJktParameter => arena.send_honest(&call.key(&own)).await,
            Self::BadSignature => arena.send_draft(&call, |draft| draft.signed_by(&own)).await,
            Self::OldProof => arena.send_draft(&call, |draft| draft.claim("iat", crate::clock::now() - 86_400)).await,
            Self::OtherClient | Self::NoClient | Self::UnknownClient => arena.send_honest(&call).await,
            Self::OwnKeyTwoLines => {
                let good = arena.draft(&call).signed_by(&own).sign();
                let mine = arena.draft(&call).by(&own).sign();
                arena.send(&call, &[mine.into_bytes(), good.into_bytes()]).await
            }
        }
    }
}

const THIEVES: [(Thief, &str, super::Severity); 12] = [
    (Thief::NoProof, "without a proof", Critical),
    (Thief::OwnKey, "with a proof of another key", Critical),
    (Thief::Garbage, "with garbage in place of a proof", Critical),
    (Thief::BadSignature, "with the right key and another's signature", Critical),
    (Thief::OldProof, "with a proof of yesterday", High),
    (Thief::OtherClient, "by another client with the right key", Medium),
    (Thief::OtherClientOwnKey, "by another client with its own key", Critical),
    (Thief::NoClient, "by nobody", Low),
    (Thief::UnknownClient, "by a client that does not exist", Medium),
    (Thief::BearerHeader, "as a Bearer token", Critical),
    (Thief::OwnKeyTwoLines, "with two proofs, the own one first", Critical),
    (Thief::OwnKeyJktParameter, "with a proof of another key and the thumbprint of the right one", Critical),
];

fn stolen(list: &mut List) {
    for (number, (thief, how, severity)) in (1..).zip(THIEVES) {
        let title = format!("A refresh token {how}");
        let needs: &[Need] =
            if matches!(thief, Thief::OtherClient | Thief::OtherClientOwnKey) { &[Need::Sessions, Need::OtherClient] } else { &[Need::Sessions] };
        list.script(
            number,
            (severity, "5", &title, STOLEN),
            Judgement::Refused,
            &format!("Take the refresh token of a session.\nShow it {how}."),
            run!(steal, thief),
        )
        .needs(needs);
    }
}

async fn steal(arena: &Arena, thief: Thief) -> Step<()> {
    let session = arena.session().await?;
    let answer = thief.send(arena, &session).await?;
    refused(Stage::Refresh, &answer)
}

fn strangers(list: &mut List) {
    for (number, (thief, how, _)) in (21..).zip(THIEVES) {
        let title = format!("The honest client after its refresh token was shown {how}");
        let needs: &[Need] =
            if matches!(thief, Thief::OtherClient | Thief::OtherClientOwnKey) { &[Need::Sessions, Need::OtherClient] } else { &[Need::Sessions] };
        list.script(
            number,
            (Medium, "RFC 9700 section 4.14.2", &title, KILLED),
            Judgement::LeavesNoTrace,
            &format!("Take the refresh token of a session.\nShow it {how}, three times; it is refused.\nRefresh honestly with it."),
            run!(survive, thief),
        )
        .needs(needs);
    }
    list.script(
        33,
        (Medium, "RFC 9700 section 4.14.2", "The honest client after an old refresh token was shown with another key", KILLED),
        Judgement::LeavesNoTrace,
        "Refresh three times.\nShow the first refresh token with a proof of another key.\nRefresh honestly with the newest one.",
        run!(survive_old_token, true),
    )
    .needs(&[Need::Sessions]);
    list.script(
        34,
        (Medium, "RFC 9700 section 4.14.2", "The honest client after an old refresh token was shown without a proof", KILLED),
        Judgement::LeavesNoTrace,
        "Refresh three times.\nShow the first refresh token without a proof.\nRefresh honestly with the newest one.",
        run!(survive_old_token, false),
    )
    .needs(&[Need::Sessions]);
}

async fn survive(arena: &Arena, thief: Thief) -> Step<()> {
    let session = arena.session().await?;
    for _ in 0..3 {
        refused(Stage::Refresh, &thief.send(arena, &session).await?)?;
    }
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "the honest refresh is refused")
}

async fn survive_old_token(arena: &Arena, with_key: bool) -> Step<()> {
    let (old, session) = rotated(arena, 3).await?;
    let call = arena.refresh(&Session { refresh_token: old[0].clone(), ..session.clone() })?;
    let answer = if with_key { arena.send_honest(&call.key(&Key::es256())).await? } else { arena.send(&call, &[]).await? };
    refused(Stage::Refresh, &answer)?;
    let answer = arena.send_honest(&arena.refresh(&session)?).await?;
    still_works(Stage::Refresh, &answer, "the honest refresh is refused")
}

fn forged(list: &mut List) {
    let forgeries: [(u16, &str, fn(&str) -> String); 10] = [
        (41, "with its first character changed", |token| changed(token, 0)),
        (42, "with a character near its beginning changed", |token| changed(token, 8)),
        (43, "with its middle character changed", |token| changed(token, token.len() / 2)),
        (44, "with a character near its end changed", |token| changed(token, token.len() - 4)),
        (45, "that lacks its last four characters", |token| token[..token.len().saturating_sub(4)].to_owned()),
        (46, "with four characters more", |token| format!("{token}AAAA")),
        (47, "in the other case", |token| token.chars().map(|letter| if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }).collect()),
        (48, "in quotes", |token| format!("\"{token}\"")),
        (49, "with a NUL after it", |token| format!("{token}\0")),
        (50, "of random characters", |token| token[..token.len().min(4)].to_owned() + &unique() + &unique()),
    ];
    for (number, how, forgery) in forgeries {
        let title = format!("A refresh token {how}");
        list.script(number, (Critical, "RFC 6749 section 10.4", &title, GUESSED), Judgement::Refused, &format!("Send a refresh token {how}, with a good proof."), run!(forged_token, forgery))
            .needs(&[Need::Session]);
    }
    list.script(
        51,
        (Info, "RFC 4648 section 3.5", "A refresh token with unused bits set at its end", "one refresh token has several spellings, and a deny list may hold another"),
        Judgement::Refused,
        "Send a refresh token whose last character is spelled otherwise.",
        run!(forged_token, (|token| {
            let at = token.rfind(['_', '.']).map_or(0, |at| at + 1);
            let (head, tail) = token.split_at(at);
            with_tail_bits(tail).map_or_else(|| format!("{token}="), |tail| format!("{head}{tail}"))
        }) as fn(&str) -> String),
    )
    .needs(&[Need::Session]);
    list.script(52, (High, "RFC 6749 section 6", "An access token as a refresh token", "tokens of one kind are taken for another"), Judgement::Refused, "Refresh; send the access token as refresh_token.", run!(other_kind, "access_token")).needs(&[Need::Session]);
    list.script(53, (High, "RFC 6749 section 6", "An ID token as a refresh token", "tokens of one kind are taken for another"), Judgement::Refused, "Refresh; send the ID token as refresh_token.", run!(other_kind, "id_token")).needs(&[Need::Session]);
    list.script(54, (Low, "RFC 6749 section 3.2", "Two refresh tokens in one request", "which of two parameters counts depends on who reads"), Judgement::Refused, "Send a good refresh token and another beside it.", run!(doubled, "refresh_token")).needs(&[Need::Session]);
    list.script(55, (Low, "RFC 6749 section 3.2", "grant_type twice at a refresh", "which of two parameters counts depends on who reads"), Judgement::Refused, "Send grant_type twice.", run!(doubled, "grant_type")).needs(&[Need::Session]);
    list.script(56, (Medium, "RFC 6749 section 2.3.1", "A refresh token in the query", "refresh tokens end in logs and histories"), Judgement::Refused, "Send the refresh token in the query instead of the form.", run!(in_the_query)).needs(&[Need::Session]);
    list.script(57, (High, "RFC 6749 section 6", "A wider scope than was granted", "a client gives itself what the user did not"), Judgement::Refused, "Refresh and ask for a scope that was never granted.", run!(wider)).needs(&[Need::Session]);
}

fn changed(token: &str, at: usize) -> String {
    token.char_indices().map(|(index, letter)| if index == at { if letter == 'A' { 'B' } else { 'A' } } else { letter }).collect()
}

async fn forged_token(arena: &Arena, forgery: fn(&str) -> String) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let token = call.parameter("refresh_token").to_owned();
    if token.len() < 16 || !token.is_ascii() {
        return inconclusive("the refresh token is too short to be changed");
    }
    let answer = arena.send_honest(&call.set("refresh_token", forgery(&token))).await?;
    refused(Stage::Refresh, &answer)
}

async fn other_kind(arena: &Arena, kind: &'static str) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let answer = arena.send_honest(&call).await?;
    accepted(Stage::Refresh, &answer)?;
    let body = answer.json();
    let Some(token) = body[kind].as_str() else { return not_applicable(format!("a refresh gives no {kind}")) };
    let answer = arena.send_honest(&arena.call(Stage::Refresh).await?.set("refresh_token", token)).await?;
    refused(Stage::Refresh, &answer)
}

async fn doubled(arena: &Arena, name: &'static str) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let other = if name == "grant_type" { "client_credentials" } else { "other" };
    let answer = arena.send_honest(&call.add(name, other)).await?;
    refused(Stage::Refresh, &answer)
}

async fn in_the_query(arena: &Arena) -> Step<()> {
    let mut call = arena.call(Stage::Refresh).await?;
    let token = call.parameter("refresh_token").to_owned();
    call = call.without("refresh_token");
    call.url.query_pairs_mut().append_pair("refresh_token", &token);
    refused(Stage::Refresh, &arena.send_honest(&call).await?)
}

async fn wider(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let scope = format!("{} never-granted-{}", arena.options.scope, &unique()[..6].replace(['-', '_'], "x"));
    let answer = arena.send_honest(&call.set("scope", scope.trim())).await?;
    if succeeded(Stage::Refresh, &answer) {
        // A server may grant less than was asked for, and say so (RFC 6749 section 3.3).
        let granted = answer.json()["scope"].as_str().unwrap_or("never-granted").to_owned();
        return if granted.contains("never-granted") { breach("the wider scope was granted") } else { Ok(()) };
    }
    refused(Stage::Refresh, &answer)
}

/// A session after so many refreshes, and the refresh tokens it had before.
async fn rotated(arena: &Arena, times: usize) -> Step<(Vec<String>, Session)> {
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

fn rotation(list: &mut List) {
    let rule = "RFC 9700 section 4.14.2";
    list.script(60, (High, rule, "A refresh token from three generations ago", "a recorded refresh token works for as long as the session lasts"), Judgement::Refused, "Refresh three times.\nShow the first refresh token with the right key.", run!(reused, 3_usize)).needs(&[Need::Sessions]);
    list.script(61, (Medium, rule, "A refresh token whose successor was used", "more than a lost answer is forgiven: any older token works"), Judgement::Refused, "Refresh twice.\nShow the first refresh token with the right key.", run!(reused, 2_usize)).needs(&[Need::Sessions]);
    list.script(62, (Medium, rule, "The session after an old refresh token came back with the right key", "key and token were cloned, and the clone goes on unnoticed"), Judgement::StaysEnded, "Refresh three times.\nShow the first refresh token with the right key.\nRefresh with the newest one: it is refused, for one of the two is a thief.", run!(reuse_ends)).needs(&[Need::Sessions]);
    list.script(63, (Low, rule, "A session whose answer got lost", "a broken connection costs the user a sign-in"), Judgement::LeavesNoTrace, "Refresh, and lose the answer.\nRefresh with the same token and a new proof.", run!(lost_answer, 1_usize)).needs(&[Need::Sessions]);
    list.script(64, (Low, rule, "A session whose answer got lost five times", "a bad connection costs the user a sign-in"), Judgement::LeavesNoTrace, "Refresh, and lose the answer, five times.\nRefresh with the same token and a new proof.", run!(lost_answer, 5_usize)).needs(&[Need::Sessions]);
    list.script(65, (High, rule, "Two answers to one refresh token, both used", FORKED), Judgement::OneLeaf, "Refresh twice with the same token and two proofs.\nUse the refresh tokens of both answers, then those of the answers to them.", run!(forks)).needs(&[Need::Sessions]);
    list.script(66, (High, "11.1", "A recorded refresh, sent again byte for byte", STOLEN), Judgement::AcceptedOnce, "Refresh.\nSend the same request again.", run!(recorded)).needs(&[Need::Sessions]);
    list.script(67, (High, "11.1", "A recorded refresh, sent again after the next one", STOLEN), Judgement::Refused, "Refresh twice.\nSend the first request again.\nRefresh with the newest token.", run!(recorded_later)).needs(&[Need::Sessions]);
    list.script(68, (Medium, "5", "The next key at a refresh of a public client", STOLEN), Judgement::Refused, "Refresh with the right key.\nRefresh with the new token and another key.", run!(successor_keeps_key)).needs(&[Need::Sessions]);
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
async fn one_leaf(arena: &Arena, session: &Session, tokens: Vec<String>) -> Step<()> {
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
    let answer = arena.send_honest(&arena.refresh(&session)?.key(&Key::es256())).await?;
    refused(Stage::Refresh, &answer)
}

fn ended(list: &mut List) {
    let rule = "RFC 7009 section 2.1";
    let over = "who was signed out, or found out, goes on";
    list.script(70, (High, rule, "A refresh token after its revocation", over), Judgement::StaysEnded, "Revoke a refresh token.\nRefresh with it.", run!(after_revocation, false)).needs(&[Need::Sessions, Need::Revocation]);
    list.script(71, (High, rule, "The successor of a refresh token that was revoked", over), Judgement::StaysEnded, "Refresh.\nRevoke the old refresh token.\nRefresh with the new one: the grant is over.", run!(after_revocation, true)).needs(&[Need::Sessions, Need::Revocation]);
    list.script(72, (High, rule, "A refresh token after the operator ended its grant", over), Judgement::StaysEnded, "End the grant.\nRefresh.", run!(after_the_end)).needs(&[Need::Sessions]);
    list.script(73, (High, rule, "An access token after its grant was revoked", over), Judgement::StaysEnded, "Refresh; use the access token.\nRevoke the refresh token.\nUse the access token.", run!(access_after_revocation)).needs(&[Need::Sessions, Need::Revocation, Need::Resource]);
    list.script(74, (High, rule, "A refresh token after its revocation and a restart", over), Judgement::StaysEnded, "Revoke a refresh token.\nRestart the server.\nRefresh with it.", run!(revoked_and_restarted)).needs(&[Need::Sessions, Need::Revocation, Need::Restart]);
    list.script(75, (Medium, rule, "A refresh token after a restart", "a restart costs every user a sign-in"), Judgement::LeavesNoTrace, "Refresh.\nRestart the server.\nRefresh with the new token.", run!(restarted)).needs(&[Need::Sessions, Need::Restart]);
    list.script(76, (High, rule, "A refresh token revoked at one node, at the other", over), Judgement::StaysEnded, "Revoke a refresh token at the first node.\nRefresh with it at the second.", run!(revoked_at_the_peer)).needs(&[Need::Sessions, Need::Revocation, Need::Peer]);
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

fn races(list: &mut List) {
    let rule = "RFC 9700 section 4.14.2";
    list.script(80, (High, rule, "32 refreshes of one token at one moment", FORKED), Judgement::OneLeaf, "Send 32 refreshes of one token, each with its own proof, at one moment.\nUse every refresh token that came back, and every one that came of those.", run!(race, 32_usize, false)).needs(&[Need::Sessions]);
    list.script(81, (High, rule, "64 refreshes of one token at one moment, half of them at the second node", FORKED), Judgement::OneLeaf, "Send 64 refreshes of one token at one moment, each other one to the second node.\nUse every refresh token that came back.", run!(race, 64_usize, true)).needs(&[Need::Sessions, Need::Peer]);
    list.script(82, (High, "RFC 7009 section 2.1", "Refreshes of one token at the moment of its revocation", "a refresh that was under way brings a session back to life"), Judgement::StaysEnded, "Send 16 refreshes and a revocation at one moment.\nAfter all are answered, use every refresh token that came back.", run!(race_with_revocation)).needs(&[Need::Sessions, Need::Revocation]);
    list.script(83, (Medium, rule, "An honest refresh among 31 with other keys, at one moment", KILLED), Judgement::LeavesNoTrace, "Send an honest refresh and 31 with proofs of other keys at one moment.\nRefresh with what came back.", run!(race_with_strangers)).needs(&[Need::Sessions]);
    list.script(84, (High, "11.1", "32 copies of one recorded refresh at one moment", FORKED), Judgement::OneLeaf, "Make one refresh request.\nSend 32 copies at one moment.\nUse every refresh token that came back.", run!(race_of_copies)).needs(&[Need::Sessions]);
    list.script(85, (High, rule, "Two refreshes of one token at one moment, ten times", FORKED), Judgement::OneLeaf, "Send two refreshes of one token at one moment.\nUse both refresh tokens that came back.\nRepeat with new sessions.", run!(race_of_two)).needs(&[Need::Sessions]);
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
            let call = call.clone().key(&Key::es256());
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

fn answers(list: &mut List) {
    list.script(90, (High, "6.1", "The access token of a refresh, by its own account", "a token that is called bound is not, or to another key"), Judgement::WellFormed, "Refresh with a proof.\nThe answer says token_type DPoP, and an access token that is a JWT has the thumbprint of the key in cnf.jkt.", run!(bound)).needs(&[Need::Session]);
    list.script(91, (Low, "RFC 6749 section 5.1", "Tokens that a cache may keep", "a cache hands tokens to others"), Judgement::WellFormed, "Refresh.\nThe answer says Cache-Control: no-store.", run!(uncached)).needs(&[Need::Session]);
    list.script(92, (Medium, "RFC 6749 section 6", "The scope of the next refresh after a narrowed one", "narrowing once takes from the client what the user granted"), Judgement::LeavesNoTrace, "Refresh for a part of the scope.\nRefresh without a scope: all that was granted is there.", run!(narrowed)).needs(&[Need::Sessions]);
    list.script(93, (Low, "RFC 6749 section 5.2", "Different answers to unknown and to foreign refresh tokens", "the answers tell a thief whether a token is alive"), Judgement::WellFormed, "Show a made-up refresh token, and a genuine one with another key.\nStatus and error are the same.", run!(same_answer)).needs(&[Need::Sessions]);
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
        Some(claims) if claims["cnf"]["jkt"] != json!(call.key.jkt()) => breach("cnf.jkt of the access token is not the thumbprint of the key"),
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
        let answer = arena.send_honest(&match scope {
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
