//! `RFR`: refresh tokens.

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, core_rules, run};
use crate::arena::{Arena, Need, Stage};
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::{Key, unique, with_tail_bits};
use crate::judge::{accepted, refused, still_works, succeeded};
use crate::target::Session;
use crate::wire::Response;

mod answers;
mod rotation;

const STOLEN: &str = "a stolen refresh token works without the key it is bound to";

const KILLED: &str = "who holds a stolen token without its key can end the session of the honest client";

const FORKED: &str = "thief and client both hold a refresh token that lives, and neither is noticed";

const GUESSED: &str = "refresh tokens can be made or changed by anyone";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Refresh, Stage::Refresh, "TWN-002");
    stolen(&mut list);
    strangers(&mut list);
    forged(&mut list);
    rotation::rotation(&mut list);
    rotation::ended(&mut list);
    answers::races(&mut list);
    answers::answers(&mut list);
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
        let call = arena.refresh(session)?.by_a_thief();
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
        let needs: &[Need] = if matches!(thief, Thief::OtherClient | Thief::OtherClientOwnKey) {
            &[Need::Sessions, Need::OtherClient]
        } else {
            &[Need::Sessions]
        };
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
        let needs: &[Need] = if matches!(thief, Thief::OtherClient | Thief::OtherClientOwnKey) {
            &[Need::Sessions, Need::OtherClient]
        } else {
            &[Need::Sessions]
        };
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
    let (old, session) = rotation::rotated(arena, 3).await?;
    let call = arena.refresh(&Session { refresh_token: old[0].clone(), ..session.clone() })?.by_a_thief();
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
        (47, "in the other case", |token| {
            token
                .chars()
                .map(|letter| if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
                .collect()
        }),
        (48, "in quotes", |token| format!("\"{token}\"")),
        (49, "with a NUL after it", |token| format!("{token}\0")),
        (50, "of random characters", |token| token[..token.len().min(4)].to_owned() + &unique() + &unique()),
    ];
    for (number, how, forgery) in forgeries {
        let title = format!("A refresh token {how}");
        list.script(
            number,
            (Critical, "RFC 6749 section 10.4", &title, GUESSED),
            Judgement::Refused,
            &format!("Send a refresh token {how}, with a good proof."),
            run!(forged_token, forgery),
        )
        .needs(&[Need::Session]);
    }
    list.script(
        51,
        (
            Info,
            "RFC 4648 section 3.5",
            "A refresh token with unused bits set at its end",
            "one refresh token has several spellings, and a deny list may hold another",
        ),
        Judgement::Refused,
        "Send a refresh token whose last character is spelled otherwise.",
        run!(
            forged_token,
            (|token| {
                let at = token.rfind(['_', '.']).map_or(0, |at| at + 1);
                let (head, tail) = token.split_at(at);
                with_tail_bits(tail).map_or_else(|| format!("{token}="), |tail| format!("{head}{tail}"))
            }) as fn(&str) -> String
        ),
    )
    .needs(&[Need::Session]);
    list.script(
        52,
        (High, "RFC 6749 section 6", "An access token as a refresh token", "tokens of one kind are taken for another"),
        Judgement::Refused,
        "Refresh; send the access token as refresh_token.",
        run!(other_kind, "access_token"),
    )
    .needs(&[Need::Session]);
    list.script(
        53,
        (High, "RFC 6749 section 6", "An ID token as a refresh token", "tokens of one kind are taken for another"),
        Judgement::Refused,
        "Refresh; send the ID token as refresh_token.",
        run!(other_kind, "id_token"),
    )
    .needs(&[Need::Session]);
    list.script(
        54,
        (Low, "RFC 6749 section 3.2", "Two refresh tokens in one request", "which of two parameters counts depends on who reads"),
        Judgement::Refused,
        "Send a good refresh token and another beside it.",
        run!(doubled, "refresh_token"),
    )
    .needs(&[Need::Session]);
    list.script(
        55,
        (Low, "RFC 6749 section 3.2", "grant_type twice at a refresh", "which of two parameters counts depends on who reads"),
        Judgement::Refused,
        "Send grant_type twice.",
        run!(doubled, "grant_type"),
    )
    .needs(&[Need::Session]);
    list.script(
        56,
        (Medium, "RFC 6749 section 2.3.1", "A refresh token in the query", "refresh tokens end in logs and histories"),
        Judgement::Refused,
        "Send the refresh token in the query instead of the form.",
        run!(in_the_query),
    )
    .needs(&[Need::Session]);
    list.script(
        57,
        (High, "RFC 6749 section 6", "A wider scope than was granted", "a client gives itself what the user did not"),
        Judgement::Refused,
        "Refresh and ask for a scope that was never granted.",
        run!(wider),
    )
    .needs(&[Need::Session]);
}

pub(super) fn changed(token: &str, at: usize) -> String {
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
