//! `STO`: sequences of operations. Some are drawn at random against a model; those that broke a server once are kept.

use super::Severity::{High, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Need, Stage};
use crate::halt::Step;
use crate::model::{self, Kind, Op};

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Story, Stage::Refresh, "TWN-002");
    drawn(&mut list);
    pinned(&mut list);
    for attack in &mut list.attacks {
        attack.needs(&[Need::Sessions]);
    }
    list.attacks
}

fn drawn(list: &mut List) {
    const MODEL: &str = "some order of events breaks a guarantee that every single step keeps";
    let steps = "Draw a story of at most eleven steps, with a session of its own.\nAfter each step compare the answer with the model.\nShrink a story that breaks a rule to the fewest steps that do.";
    list.script(
        1,
        (High, "RFC 9700 section 4.14.2", "Stories of refreshes, thieves and sign-outs", MODEL),
        Judgement::FollowsTheModel,
        steps,
        run!(model::search, Kind::Thieves),
    );
    list.script(
        2,
        (Medium, "RFC 9700 section 4.14.2", "Stories with lost answers and stolen proofs", MODEL),
        Judgement::FollowsTheModel,
        steps,
        run!(model::search, Kind::LostAnswers),
    );
    list.script(
        3,
        (High, "RFC 9700 section 4.14.2", "Stories over two nodes", MODEL),
        Judgement::FollowsTheModel,
        steps,
        run!(model::search, Kind::Nodes),
    )
    .needs(&[Need::Peer]);
    list.script(
        4,
        (High, "RFC 9700 section 4.14.2", "Stories with restarts", MODEL),
        Judgement::FollowsTheModel,
        steps,
        run!(model::search, Kind::Restarts),
    )
    .needs(&[Need::Restart]);
}

fn pinned(list: &mut List) {
    use Op::{
        Access, Refresh, RefreshAtThePeer, RefreshLosingTheAnswer, Replay, ReplayAtThePeer, Restart, Reuse, Revoke, StolenProof,
        StolenToken, StolenTokenAlone,
    };
    let stories: [(u16, super::Severity, &str, &'static [Op], &[Need]); 14] = [
        (101, Medium, "An answer is lost, and a thief tries the old token", &[RefreshLosingTheAnswer, StolenToken(0), Refresh], &[]),
        (
            102,
            Medium,
            "A thief tries every token that ever was",
            &[Refresh, Refresh, Refresh, StolenToken(0), StolenToken(1), StolenToken(2), StolenToken(3)],
            &[],
        ),
        (103, Medium, "A thief is faster, twice", &[StolenProof, StolenProof, Refresh], &[]),
        (
            104,
            High,
            "A sign-out, and all that was recorded before it",
            &[Refresh, Refresh, Revoke, Replay(0), Replay(1), StolenToken(0), Access],
            &[Need::Revocation],
        ),
        (105, Medium, "An answer is lost, and the server is restarted", &[RefreshLosingTheAnswer, Restart, Refresh], &[Need::Restart]),
        (106, High, "A recorded refresh after a restart", &[Refresh, Restart, Replay(0), Refresh, Replay(0)], &[Need::Restart]),
        (
            107,
            High,
            "A session that changes nodes, and a thief that does too",
            &[RefreshAtThePeer, Refresh, RefreshAtThePeer, ReplayAtThePeer(0), ReplayAtThePeer(1), Replay(2)],
            &[Need::Peer],
        ),
        (108, High, "A thief is faster, and the client signs out", &[StolenProof, Revoke, Replay(0)], &[Need::Revocation]),
        (
            109,
            Medium,
            "Five lost answers",
            &[
                RefreshLosingTheAnswer,
                RefreshLosingTheAnswer,
                RefreshLosingTheAnswer,
                RefreshLosingTheAnswer,
                RefreshLosingTheAnswer,
                Refresh,
            ],
            &[],
        ),
        (110, High, "A clone of the key comes with an old token", &[Refresh, Refresh, Refresh, Reuse, Refresh, Refresh], &[]),
        (
            111,
            Medium,
            "A thief without a proof, between lost answers",
            &[RefreshLosingTheAnswer, StolenTokenAlone(0), RefreshLosingTheAnswer, StolenTokenAlone(0), Refresh],
            &[],
        ),
        (
            112,
            High,
            "An access token before and after the sign-out",
            &[Refresh, Access, Revoke, Access],
            &[Need::Revocation, Need::Resource],
        ),
        (
            113,
            High,
            "A sign-out that a restart follows",
            &[Refresh, Revoke, Restart, StolenToken(0), Replay(0)],
            &[Need::Revocation, Need::Restart],
        ),
        (
            114,
            Medium,
            "Old recordings between refreshes end nothing",
            &[Refresh, Replay(0), Refresh, Replay(1), Refresh, Replay(2), Replay(0)],
            &[],
        ),
    ];
    for (number, severity, title, story, needs) in stories {
        let steps = story.iter().map(|op| op.words()).collect::<Vec<_>>().join("\n");
        let breach = "this order of events breaks a guarantee that every single step keeps";
        list.script(number, (severity, "RFC 9700 section 4.14.2", title, breach), Judgement::FollowsTheModel, &steps, run!(told, story))
            .needs(needs);
    }
}

async fn told(arena: &Arena, story: &'static [Op]) -> Step<()> {
    model::play(arena, story).await
}
