//! A model of what must hold for one session, whatever is done to it in whatever order.
//!
//! | | |
//! |---|---|
//! | R1 | a proof is accepted at most once |
//! | G1 | at most one refresh token of a session goes on |
//! | G2 | the same key and token give the same successor, until that is used |
//! | G4 | a lost answer never costs the session |
//! | G5 | nothing works without the key |
//! | G6 | after an acknowledged end nothing is issued |

use std::collections::BTreeMap;

use crate::arena::{Arena, Call, Stage, told};
use crate::halt::{Step, breach, inconclusive};
use crate::jose::Key;
use crate::judge::{refused, succeeded};
use crate::target::Session;
use crate::wire::Response;

mod story;

pub(crate) use story::{Kind, search};

/// One thing that happens to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    /// The client refreshes.
    Refresh,
    /// The client refreshes and the answer gets lost.
    RefreshLosingTheAnswer,
    /// The client refreshes at the second node.
    RefreshAtThePeer,
    /// A thief sends a recorded refresh again: so many before the last one.
    Replay(u8),
    /// The same at the second node.
    ReplayAtThePeer(u8),
    /// A thief shows a refresh token with the own key: so many before the newest.
    StolenToken(u8),
    /// A thief shows a refresh token without a proof.
    StolenTokenAlone(u8),
    /// A thief is faster with the client's token and the proof it made for this refresh; then the client goes on.
    StolenProof,
    /// A clone of the key shows a token that is older than the one before the newest.
    Reuse,
    /// The client signs out.
    Revoke,
    /// The client uses its access token.
    Access,
    /// The server is restarted.
    Restart,
}

impl Op {
    /// In words.
    pub(crate) fn words(self) -> String {
        let older = |back: u8| match back {
            0 => "the newest refresh token".to_owned(),
            1 => "the refresh token before the newest".to_owned(),
            back => format!("the refresh token {back} before the newest"),
        };
        match self {
            Self::Refresh => "the client refreshes".to_owned(),
            Self::RefreshLosingTheAnswer => "the client refreshes, and the answer gets lost".to_owned(),
            Self::RefreshAtThePeer => "the client refreshes at the second node".to_owned(),
            Self::Replay(0) => "a thief sends the last recorded refresh again".to_owned(),
            Self::Replay(back) => format!("a thief sends a recorded refresh again, {back} before the last"),
            Self::ReplayAtThePeer(_) => "a thief sends a recorded refresh again, to the second node".to_owned(),
            Self::StolenToken(back) => format!("a thief shows {} with another key", older(back)),
            Self::StolenTokenAlone(back) => format!("a thief shows {} without a proof", older(back)),
            Self::StolenProof => "a thief is faster with the client's token and proof".to_owned(),
            Self::Reuse => "a clone of the key shows an old refresh token".to_owned(),
            Self::Revoke => "the client signs out".to_owned(),
            Self::Access => "the client uses its access token".to_owned(),
            Self::Restart => "the server is restarted".to_owned(),
        }
    }
}

/// A story in words.
pub(crate) fn words(story: &[Op]) -> String {
    story.iter().map(|op| op.words()).collect::<Vec<_>>().join("; ")
}

/// What the model knows of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Alive,
    /// The server may have ended it, and may have not.
    Doubtful,
    Ended,
}

struct World<'a> {
    arena: &'a Arena,
    session: Session,
    /// Every refresh token that anybody was given, oldest first; the last is the client's newest.
    tokens: Vec<String>,
    /// The successor that each token gave.
    successors: BTreeMap<String, String>,
    /// Requests that were accepted.
    recorded: Vec<(Call, Vec<u8>)>,
    access: Option<String>,
    life: Life,
}

/// Plays a story with a session of its own.
pub(crate) async fn play(arena: &Arena, story: &[Op]) -> Step<()> {
    let session = arena.session().await?;
    let mut world = World {
        arena,
        tokens: vec![session.refresh_token.clone()],
        session,
        successors: BTreeMap::new(),
        recorded: Vec::new(),
        access: None,
        life: Life::Alive,
    };
    for op in story {
        arena.say(op.words());
        world.step(*op).await?;
    }
    // Whatever happened, the end shows whether the session is what the model says.
    arena.say("the client refreshes, at the end of the story".to_owned());
    world.refresh(false, true).await
}

impl World<'_> {
    async fn step(&mut self, op: Op) -> Step<()> {
        match op {
            Op::Refresh => self.refresh(false, true).await,
            Op::RefreshLosingTheAnswer => self.refresh(false, false).await,
            Op::RefreshAtThePeer => self.refresh(true, true).await,
            Op::Replay(back) => self.replay(back, false).await,
            Op::ReplayAtThePeer(back) => self.replay(back, true).await,
            Op::StolenToken(back) => {
                let call = self.call(self.older(back))?.by_a_thief().key(&Key::es256());
                self.must_refuse("G5: a refresh token works with another key", self.arena.send_honest(&call).await?)
            }
            Op::StolenTokenAlone(back) => {
                let call = self.call(self.older(back))?.by_a_thief();
                self.must_refuse("G5: a refresh token works without a proof", self.arena.send(&call, &[]).await?)
            }
            Op::StolenProof => self.stolen_proof().await,
            Op::Reuse => self.reuse().await,
            Op::Revoke => {
                self.arena.revoke(&self.older(0)).await?;
                self.life = Life::Ended;
                Ok(())
            }
            Op::Access => self.access().await,
            Op::Restart => self.arena.restart().await,
        }
    }

    fn older(&self, back: u8) -> String {
        let at = self.tokens.len().saturating_sub(1 + usize::from(back));
        self.tokens.get(at).cloned().unwrap_or_default()
    }

    fn call(&self, token: String) -> Step<Call> {
        self.arena.refresh(&Session { refresh_token: token, ..self.session.clone() })
    }

    /// Sends a call with a proof that can be recorded.
    async fn send(&self, call: &Call) -> Step<(Response, Vec<u8>)> {
        let mut proof = self.arena.draft(call).sign().into_bytes();
        let mut answer = self.arena.send(call, &[proof.clone()]).await?;
        if answer.wants_nonce() {
            proof = self.arena.draft(call).sign().into_bytes();
            answer = self.arena.send(call, &[proof.clone()]).await?;
        }
        Ok((answer, proof))
    }

    async fn refresh(&mut self, peer: bool, learns: bool) -> Step<()> {
        let token = self.older(0);
        let call = self.call(token.clone())?;
        let call = if peer { call.at_the_peer() } else { call };
        let (answer, proof) = self.send(&call).await?;
        if !self.judge("G4: the session of an honest client is over", &answer)? {
            return Ok(());
        }
        self.recorded.push((call, proof));
        self.learn(&token, &answer, learns)
    }

    /// Whether the client got tokens, where the model lets it.
    fn judge(&mut self, loss: &str, answer: &Response) -> Step<bool> {
        match (succeeded(Stage::Refresh, answer), self.life) {
            (true, Life::Ended) => breach(format!("G6: tokens are issued after the end: {}", told(&Ok(answer.clone())))),
            (true, _) => Ok(true),
            (false, Life::Alive) => match answer.status {
                500..=599 | 429 => inconclusive(format!("an honest refresh was answered {}", answer.status)),
                _ => breach(format!("{loss}: {}", told(&Ok(answer.clone())))),
            },
            (false, Life::Doubtful | Life::Ended) => {
                refused(Stage::Refresh, answer)?;
                self.life = Life::Ended;
                Ok(false)
            }
        }
    }

    /// Takes in what an answer brought, whoever got it.
    fn learn(&mut self, token: &str, answer: &Response, client_learns: bool) -> Step<()> {
        let successor = answer.refresh_token().unwrap_or_else(|| token.to_owned());
        if let Some(before) = self.successors.get(token)
            && *before != successor
            && !self.successors.contains_key(before)
        {
            return breach("G2: the same token gave two successors");
        }
        self.successors.insert(token.to_owned(), successor.clone());
        if client_learns {
            if self.tokens.last() != Some(&successor) {
                self.tokens.push(successor);
            }
            self.access = answer.access_token();
        }
        Ok(())
    }

    async fn replay(&mut self, back: u8, peer: bool) -> Step<()> {
        let at = self.recorded.len().checked_sub(1 + usize::from(back));
        let Some((call, proof)) = at.and_then(|at| self.recorded.get(at)).cloned() else { return Ok(()) };
        let call = Call { to_peer: peer, ..call };
        self.must_refuse("R1: a recorded proof works again", self.arena.send(&call, &[proof]).await?)
    }

    fn must_refuse(&self, rule: &str, answer: Response) -> Step<()> {
        if succeeded(Stage::Refresh, &answer) { breach(format!("{rule}: {}", told(&Ok(answer)))) } else { refused(Stage::Refresh, &answer) }
    }

    async fn stolen_proof(&mut self) -> Step<()> {
        let token = self.older(0);
        let call = self.call(token.clone())?;
        let (answer, proof) = self.send(&call).await?;
        if !self.judge("the first use of a good proof is refused", &answer)? {
            return Ok(());
        }
        // The thief holds tokens that are bound to the client's key. The client, whose proof is spent, makes another.
        self.learn(&token, &answer, false)?;
        self.must_refuse("R1: a proof works twice", self.arena.send(&call, std::slice::from_ref(&proof)).await?)?;
        self.recorded.push((call, proof));
        if let Some(stolen) = answer.refresh_token() {
            let call = self.call(stolen)?.by_a_thief().key(&Key::es256());
            self.must_refuse("G5: what a stolen proof brought works with another key", self.arena.send_honest(&call).await?)?;
        }
        self.refresh(false, true).await
    }

    async fn reuse(&mut self) -> Step<()> {
        // Only what is older than the predecessor, and was used with its successor, is reuse.
        let Some(old) = self.tokens.len().checked_sub(3).and_then(|at| self.tokens.get(at)).cloned() else { return Ok(()) };
        let call = self.call(old)?;
        let (answer, _) = self.send(&call).await?;
        self.must_refuse("G1: a refresh token from generations ago works", answer)?;
        if self.life == Life::Alive {
            self.life = Life::Doubtful;
        }
        Ok(())
    }

    async fn access(&mut self) -> Step<()> {
        let (Some(token), Some(url)) = (self.access.clone(), self.arena.resource_url()) else { return Ok(()) };
        let answer = self.arena.send_honest(&self.arena.resource_call(&url, &token, &self.session.key)).await?;
        match (succeeded(Stage::Resource, &answer), self.life) {
            (true, Life::Ended) => breach("G6: an access token works after the end"),
            (false, Life::Alive) if answer.status < 500 => breach(format!("an honest access token is refused: {}", told(&Ok(answer)))),
            (false, Life::Alive) => inconclusive(format!("the resource answered {}", answer.status)),
            _ => Ok(()),
        }
    }
}
