//! What an answer means.

use crate::arena::{Arena, Call, Stage, told};
use crate::catalogue::{Forge, Scene};
use crate::halt::{Halt, Step, breach, inconclusive};
use crate::jose::Key;
use crate::wire::{Response, WireError};

/// Whether a call got what an honest one gets.
pub(crate) fn succeeded(stage: Stage, answer: &Response) -> bool {
    (200..300).contains(&answer.status)
        && match stage {
            Stage::Any | Stage::Token | Stage::Refresh => answer.access_token().is_some(),
            Stage::Par => answer.json()["request_uri"].is_string(),
            Stage::Resource => true,
        }
}

/// The answer is a refusal.
pub(crate) fn refused(stage: Stage, answer: &Response) -> Step<()> {
    if succeeded(stage, answer) {
        return breach(match stage {
            Stage::Any | Stage::Token | Stage::Refresh => format!("the server issued tokens: {}", told(&Ok(answer.clone()))),
            Stage::Par => "the server accepted the pushed request".to_owned(),
            Stage::Resource => format!("the resource answered {}", answer.status),
        });
    }
    match answer.status {
        400..=499 if answer.status != 429 => Ok(()),
        // To the sign-in page, say: whoever sent the request has got nothing.
        300..=399 => match answer.header("Location") {
            Some(place) if place.contains("access_token=") || place.contains("code=") => {
                breach("the server redirects with a token or a code")
            }
            _ => Ok(()),
        },
        429 => inconclusive("the server limits the rate (429)"),
        500..=599 => inconclusive(format!("the server failed ({}), which is no refusal", answer.status)),
        other => inconclusive(format!("the server answered {other}, which is neither a success nor a refusal")),
    }
}

/// The answer is a success.
pub(crate) fn accepted(stage: Stage, answer: &Response) -> Step<()> {
    if succeeded(stage, answer) { Ok(()) } else { inconclusive(format!("an honest request was refused: {}", told(&Ok(answer.clone())))) }
}

/// The honest request works still; otherwise the attack has cost the honest client something.
pub(crate) fn still_works(stage: Stage, answer: &Response, loss: &str) -> Step<()> {
    match answer.status {
        500..=599 | 429 => inconclusive(format!("the honest request was answered {}", answer.status)),
        _ if succeeded(stage, answer) => Ok(()),
        _ => breach(format!("{loss}: {}", told(&Ok(answer.clone())))),
    }
}

/// Sends an honest call with forged proofs; a demand for a nonce is met once.
pub(crate) async fn forged(arena: &Arena, call: &Call, forge: &Forge) -> Step<()> {
    for last in [false, true] {
        let scene = Scene {
            draft: arena.draft(call),
            call,
            stranger: Key::es256(),
            window_s: arena.options.window_s,
            skew_s: arena.options.skew_s,
        };
        match arena.try_send(call, &forge(&scene)).await {
            // Bytes that no HTTP header may hold may well end the connection.
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(answer) if answer.wants_nonce() && !last => {}
            Ok(answer) => return refused(call.stage, &answer),
        }
    }
    Ok(())
}

/// The successes among the answers to many requests at one moment. Answers that say nothing end the attack.
pub(crate) fn successes(stage: Stage, answers: Vec<Result<Response, WireError>>) -> Step<Vec<Response>> {
    let mut successes = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) if succeeded(stage, &answer) => successes.push(answer),
            Ok(answer) => {
                if let Err(halt @ Halt::Inconclusive(_)) = refused(stage, &answer) {
                    return Err(halt);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(successes)
}

/// Exactly one of the copies succeeded.
pub(crate) fn once(copies: usize, successes: usize) -> Step<()> {
    match successes {
        1 => Ok(()),
        0 => inconclusive(format!("none of {copies} copies was accepted")),
        many => breach(format!("{many} of {copies} copies of one proof were accepted")),
    }
}
