//! Stories drawn at random, and shrunk to the fewest steps that break a rule.

use proptest::collection::vec;
use proptest::strategy::{BoxedStrategy, Just, Strategy as _, Union};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRng, TestRunner};

use super::{Op, play, words};
use crate::arena::{Arena, Need};
use crate::halt::{Halt, Step, breach, inconclusive};

/// What may happen in the stories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// What every server has to withstand.
    Thieves,
    /// Lost answers too, and thieves that are faster than the client.
    LostAnswers,
    /// Two nodes.
    Nodes,
    /// Restarts.
    Restarts,
}

impl Kind {
    fn ops(self, arena: &Arena) -> Vec<(u32, BoxedStrategy<Op>)> {
        let back = || 0_u8..4;
        let mut ops = vec![
            (6, Just(Op::Refresh).boxed()),
            (2, back().prop_map(Op::Replay).boxed()),
            (2, back().prop_map(Op::StolenToken).boxed()),
            (1, back().prop_map(Op::StolenTokenAlone).boxed()),
            (1, Just(Op::Reuse).boxed()),
        ];
        if arena.needs(Need::Revocation).is_ok() {
            ops.push((1, Just(Op::Revoke).boxed()));
        }
        if arena.needs(Need::Resource).is_ok() {
            ops.push((1, Just(Op::Access).boxed()));
        }
        match self {
            Self::Thieves => {}
            Self::LostAnswers => ops.extend([(3, Just(Op::RefreshLosingTheAnswer).boxed()), (2, Just(Op::StolenProof).boxed())]),
            Self::Nodes => ops.extend([(6, Just(Op::RefreshAtThePeer).boxed()), (3, back().prop_map(Op::ReplayAtThePeer).boxed())]),
            Self::Restarts => ops.extend([(3, Just(Op::Restart).boxed()), (2, Just(Op::RefreshLosingTheAnswer).boxed())]),
        }
        ops
    }

    /// Restarts take their time.
    const fn stories(self, wanted: u32) -> u32 {
        match self {
            Self::Restarts => wanted / 3 + 1,
            Self::Thieves | Self::LostAnswers | Self::Nodes => wanted,
        }
    }
}

/// Draws stories until one breaks a rule; tells the shortest one that does.
///
/// # Errors
/// A breach with the story in words.
pub(crate) async fn search(arena: &Arena, kind: Kind) -> Step<()> {
    let config = Config {
        cases: kind.stories(arena.options.stories),
        max_shrink_iters: 120,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(arena.options.seed),
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&arena.options.seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let stories = vec(Union::new_weighted(kind.ops(arena)), 1..12);
    let runtime = tokio::runtime::Handle::current();
    let ended = tokio::task::block_in_place(|| {
        runner.run(&stories, |story| match runtime.block_on(play(arena, &story)) {
            Ok(()) => Ok(()),
            Err(Halt::Breach(why)) => Err(TestCaseError::fail(why)),
            Err(Halt::Inconclusive(why)) => Err(TestCaseError::fail(format!("{UNDECIDED}{why}"))),
            // A story that needs what is not there tells nothing.
            Err(Halt::NotApplicable(why)) => Err(TestCaseError::reject(why)),
        })
    });
    match ended {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, story)) => {
            let why = why.to_string();
            match why.strip_prefix(UNDECIDED) {
                Some(why) => inconclusive(format!("{why}, in the story: {}", words(&story))),
                None => breach(format!("{why}. The story: {}", words(&story))),
            }
        }
        Err(TestError::Abort(why)) => inconclusive(why.to_string()),
    }
}

const UNDECIDED: &str = "undecided: ";
