//! Families, row by row of the design's table (section 3).

use std::collections::BTreeSet;
use std::time::Duration;

use keybound_proofs::UnixTime;

use super::sample::{self, ABSOLUTE, IDLE, START, advance, client_named, confidential_family, family, id, jkt};
use crate::domain::{Advance, Advanced, Binding, Family, FamilyId, FamilyState, Generation, Grant, Refusal, RevokeReason};
use crate::store::{Families, FamilyFilter};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Plays every row on families of its own.
///
/// # Panics
/// Where the store does anything else.
pub async fn run(families: &dyn Families) {
    created_families_read_back(families).await;
    the_newest_token_rotates(families).await;
    the_token_before_is_answered_again(families).await;
    an_older_token_is_reuse(families).await;
    a_newer_token_rolls_forward(families).await;
    tokens_of_clients_that_do_not_rotate_stay(families).await;
    others_are_refused(families).await;
    confidential_clients_may_change_keys(families).await;
    a_family_ends_when_idle_for_too_long(families).await;
    a_family_ends_at_its_absolute_expiry(families).await;
    revoked_families_stay_revoked(families).await;
    cloned_keys_are_suspected(families).await;
    a_family_moves_to_another_key(families).await;
    what_the_old_key_may_not_move_stays(families).await;
    the_last_generation_goes_on(families).await;
}

async fn created_families_read_back(families: &dyn Families) {
    assert_eq!(families.read(id(1), START).await, Ok(None), "a family that was never created");
    let rich = Family {
        grant: Grant {
            resource: vec!["https://api.example.com".to_owned()],
            auth_time: Some(-1),
            acr: Some("ø \u{0}\u{1f511}".to_owned()),
            ..family(1).grant
        },
        ..family(1)
    };
    created(families, &rich).await;
    assert_eq!(read(families, 1).await, rich, "all members read back");
    assert_eq!(families.create(&rich).await, Ok(()), "the same family again, by a caller that lost the answer");
    assert!(families.create(&Family { generation: Generation(9), ..family(1) }).await.is_err(), "another family by a name that is taken");
    assert_eq!(read(families, 1).await, rich, "the first one stays");

    let bare = Family { grant: Grant::default(), ..confidential_family(2) };
    created(families, &bare).await;
    assert_eq!(read(families, 2).await, bare, "an empty grant reads back");
}

/// `g == gen`.
async fn the_newest_token_rotates(families: &dyn Families) {
    let before = family(10);
    created(families, &before).await;
    let request = advance(10, 0);
    let after = Family { generation: Generation(1), last_rotation: request.now, idle_expiry: request.now.plus(IDLE), ..before };
    assert_eq!(families.advance(&request).await, Ok(Advanced::Rotated(after.clone())));
    assert_eq!(read(families, 10).await, after);
    assert!(matches!(families.advance(&advance(10, 1)).await, Ok(Advanced::Rotated(family)) if family.generation == Generation(2)));
}

/// `g == gen - 1`: BCP-13, FAPI-AS-09.
async fn the_token_before_is_answered_again(families: &dyn Families) {
    created(families, &family(20)).await;
    let Ok(Advanced::Rotated(rotated)) = families.advance(&advance(20, 0)).await else { panic!("the newest token rotates") };
    for later in [0, 1, 30, 60] {
        let again = Advance { now: rotated.last_rotation.plus(Duration::from_secs(later)), ..advance(20, 0) };
        assert_eq!(families.advance(&again).await, Ok(Advanced::Repeated(rotated.clone())), "again after {later} s");
    }
    assert_eq!(read(families, 20).await, rotated, "repetitions move nothing");
}

/// `g < gen - 1`: BCP-02. Ending the family is the caller's step, not the store's.
async fn an_older_token_is_reuse(families: &dyn Families) {
    created(families, &Family { generation: Generation(5), ..family(30) }).await;
    let before = read(families, 30).await;
    for old in [0, 3] {
        assert_eq!(families.advance(&advance(30, old)).await, Ok(Advanced::Reused(before.clone())), "generation {old}");
    }
    assert_eq!(read(families, 30).await, before, "reuse itself moves nothing");
    assert!(matches!(families.advance(&advance(30, 4)).await, Ok(Advanced::Repeated(_))), "one before the newest is no reuse");
}

/// `g > gen`.
async fn a_newer_token_rolls_forward(families: &dyn Families) {
    created(families, &family(40)).await;
    let Ok(Advanced::RolledForward(rolled)) = families.advance(&advance(40, 7)).await else { panic!("the store is behind") };
    assert_eq!((rolled.generation, rolled.last_rotation), (Generation(8), advance(40, 7).now));
    assert_eq!(read(families, 40).await, rolled);
    assert!(matches!(families.advance(&advance(40, 7)).await, Ok(Advanced::Repeated(_))), "the same token again");
    assert!(matches!(families.advance(&advance(40, 6)).await, Ok(Advanced::Reused(_))), "the token before is old now");

    created(families, &family(41)).await;
    let keeping = Advance { rotate: false, ..advance(41, 7) };
    assert!(matches!(families.advance(&keeping).await, Ok(Advanced::RolledForward(family)) if family.generation == Generation(7)));
}

/// `rotate = false`: FAPI-AS-09.
async fn tokens_of_clients_that_do_not_rotate_stay(families: &dyn Families) {
    created(families, &family(50)).await;
    for later in 1..4 {
        let request = Advance { rotate: false, now: START.plus(Duration::from_secs(later)), ..advance(50, 0) };
        let kept = Family { idle_expiry: request.now.plus(IDLE), ..family(50) };
        assert_eq!(families.advance(&request).await, Ok(Advanced::Kept(kept.clone())));
        assert_eq!(read(families, 50).await, kept, "only the idle expiry moves");
    }
}

/// Other client, other key, no proof, no authentication: refused without a trace (BCP-14, G5).
async fn others_are_refused(families: &dyn Families) {
    created(families, &family(60)).await;
    let rightful = advance(60, 0);
    let attempts = [
        (Advance { client_id: client_named("other"), ..rightful.clone() }, Refusal::OtherClient),
        (Advance { jkt: Some(jkt(61)), ..rightful.clone() }, Refusal::OtherKey),
        (Advance { jkt: None, ..rightful.clone() }, Refusal::OtherKey),
        (Advance { jkt: None, authenticated: true, ..rightful.clone() }, Refusal::OtherKey),
        (Advance { family: id(61), ..rightful.clone() }, Refusal::Unknown),
    ];
    for (attempt, refusal) in attempts {
        for presented in [Generation(0), Generation(9)] {
            let attempt = Advance { presented, ..attempt.clone() };
            assert_eq!(families.advance(&attempt).await, Ok(Advanced::Refused(refusal)));
        }
    }
    assert_eq!(read(families, 60).await, family(60), "no attempt left a trace");
    assert!(matches!(families.advance(&rightful).await, Ok(Advanced::Rotated(_))), "the holder is served");
}

/// SEC-13.
async fn confidential_clients_may_change_keys(families: &dyn Families) {
    created(families, &confidential_family(70)).await;
    let unauthenticated = advance(70, 0);
    assert_eq!(families.advance(&unauthenticated).await, Ok(Advanced::Refused(Refusal::NotAuthenticated)));
    assert_eq!(read(families, 70).await, confidential_family(70));
    for (generation, key) in [(0, Some(jkt(1))), (1, Some(jkt(2))), (2, None)] {
        let request = Advance { authenticated: true, jkt: key, ..advance(70, generation) };
        assert!(matches!(families.advance(&request).await, Ok(Advanced::Rotated(_))), "generation {generation}");
    }
}

async fn a_family_ends_when_idle_for_too_long(families: &dyn Families) {
    let end = START.plus(IDLE);
    for (number, now, alive) in [(80, end.minus(MILLISECOND), true), (81, end, false), (82, end.plus(MILLISECOND), false)] {
        created(families, &family(number)).await;
        ends(families, number, now, alive).await;
    }
    // Each use starts the time anew.
    created(families, &family(83)).await;
    let used = Advance { now: end.minus(MILLISECOND), ..advance(83, 0) };
    assert!(matches!(families.advance(&used).await, Ok(Advanced::Rotated(_))));
    let again = Advance { now: end.plus(IDLE).minus(MILLISECOND * 2), ..advance(83, 1) };
    assert!(matches!(families.advance(&again).await, Ok(Advanced::Rotated(_))), "used in time");
}

async fn a_family_ends_at_its_absolute_expiry(families: &dyn Families) {
    let end = START.plus(ABSOLUTE);
    for (number, now, alive) in [(90, end.minus(MILLISECOND), true), (91, end, false), (92, end.plus(MILLISECOND), false)] {
        created(families, &Family { idle_expiry: end.plus(IDLE), ..family(number) }).await;
        ends(families, number, now, alive).await;
    }
    // No use moves the idle expiry beyond it.
    created(families, &Family { idle_expiry: end, ..family(93) }).await;
    let last = Advance { now: end.minus(MILLISECOND), ..advance(93, 0) };
    assert!(matches!(families.advance(&last).await, Ok(Advanced::Rotated(family)) if family.idle_expiry == end));
}

async fn ends(families: &dyn Families, number: u64, now: UnixTime, alive: bool) {
    assert_eq!(families.read(id(number), now).await.expect("readable").is_some(), alive, "read of {number}");
    let listed = all_pages(families, &FamilyFilter { jkt: Some(jkt(number)), ..FamilyFilter::default() }, 10, now).await;
    assert_eq!(listed.len(), usize::from(alive), "list of {number}");
    let advanced = families.advance(&Advance { now, ..advance(number, 0) }).await.expect("answered");
    if alive {
        assert!(matches!(advanced, Advanced::Rotated(_)), "{number} is alive: {advanced:?}");
    } else {
        assert!(matches!(advanced, Advanced::Refused(Refusal::Expired | Refusal::Unknown)), "{number} is over: {advanced:?}");
        assert_eq!(families.revoke(id(number), RevokeReason::Requested, now).await, Ok(false), "nothing left to revoke in {number}");
    }
}

/// G6; the first reason stays.
async fn revoked_families_stay_revoked(families: &dyn Families) {
    assert_eq!(families.revoke(id(100), RevokeReason::Requested, START).await, Ok(false), "a family that was never created");
    let reasons =
        [RevokeReason::Requested, RevokeReason::Reuse, RevokeReason::ClonedKey, RevokeReason::ClientDeleted, RevokeReason::CodeReuse];
    for (number, reason) in (100..).zip(reasons) {
        created(families, &family(number)).await;
        assert_eq!(families.revoke(id(number), reason, START).await, Ok(true), "this call ends it");
        assert_eq!(families.revoke(id(number), RevokeReason::Requested, START).await, Ok(false), "it is over already");
        let revoked = Family { state: FamilyState::Revoked(reason), ..family(number) };
        assert_eq!(read(families, number).await, revoked, "a revoked family is still read");
        for presented in [0, 1, 5] {
            assert_eq!(families.advance(&advance(number, presented)).await, Ok(Advanced::Refused(Refusal::Revoked)));
        }
        assert_eq!(read(families, number).await, revoked, "nothing moved");
    }
    let live = all_pages(families, &FamilyFilter { jkt: Some(jkt(100)), ..FamilyFilter::default() }, 10, START).await;
    assert!(live.is_empty(), "a revoked family is not listed");
}

/// Four generations in a row, each presented twice more than a minute apart.
async fn cloned_keys_are_suspected(families: &dyn Families) {
    for (number, gap, suspected) in [(110, Family::CLONE_GAP, false), (111, Family::CLONE_GAP + MILLISECOND, true)] {
        created(families, &family(number)).await;
        let mut now = START;
        for generation in 0..u32::from(Family::CLONE_GENERATIONS) {
            let rotated = families.advance(&Advance { now, ..advance(number, generation) }).await;
            assert!(matches!(rotated, Ok(Advanced::Rotated(_))), "generation {generation}: {rotated:?}");
            now = now.plus(gap);
            let repeated = families.advance(&Advance { now, ..advance(number, generation) }).await;
            let last = generation + 1 == u32::from(Family::CLONE_GENERATIONS);
            match repeated {
                Ok(Advanced::CloneSuspected(family)) if last && suspected => {
                    assert_eq!(read(families, number).await, family, "a suspicion moves nothing");
                }
                Ok(Advanced::Repeated(_)) if !(last && suspected) => {}
                other => panic!("gap {gap:?}, generation {generation}: {other:?}"),
            }
        }
    }
    // One generation that is not presented twice begins the count anew.
    created(families, &family(112)).await;
    let mut now = START;
    for generation in 0..10 {
        let rotated = families.advance(&Advance { now, ..advance(112, generation) }).await;
        assert!(matches!(rotated, Ok(Advanced::Rotated(_))), "generation {generation}: {rotated:?}");
        now = now.plus(Family::CLONE_GAP * 2);
        if generation % 4 != 3 {
            let repeated = families.advance(&Advance { now, ..advance(112, generation) }).await;
            assert!(matches!(repeated, Ok(Advanced::Repeated(_))), "generation {generation}: {repeated:?}");
        }
    }
}

/// A refresh with two proofs: the binding moves in the same step as the generation, and asking again changes nothing more.
async fn a_family_moves_to_another_key(families: &dyn Families) {
    for (number, generation, presented, rotate) in [(130, 0, 0, true), (131, 4, 3, true), (132, 4, 6, true), (133, 4, 4, false)] {
        let before = Family { generation: Generation(generation), clone_run: 2, clone_flag: true, ..family(number) };
        created(families, &before).await;
        let request = Advance { rebind_to: Some(jkt(999)), rotate, ..advance(number, presented) };
        let Ok(Advanced::Rebound(moved)) = families.advance(&request).await else { panic!("the family {number} moves") };
        let same_key = Advance { rebind_to: None, ..request.clone() };
        let generation = match before.clone().decide(&same_key) {
            Advanced::Rotated(family) | Advanced::Repeated(family) | Advanced::RolledForward(family) | Advanced::Kept(family) => family,
            other => panic!("{other:?}"),
        };
        let expected =
            Family { binding: Binding::Key(jkt(999)), last_rotation: request.now, clone_run: 0, clone_flag: false, ..generation };
        assert_eq!(moved, expected);
        assert_eq!(read(families, number).await, expected);

        let again = families.advance(&request).await;
        assert!(
            matches!(&again, Ok(Advanced::Repeated(family) | Advanced::Kept(family)) if *family == expected),
            "after a lost answer: {again:?}"
        );
        assert_eq!(families.advance(&same_key).await, Ok(Advanced::Refused(Refusal::OtherKey)), "the old key alone");
        let on = Advance { jkt: Some(jkt(999)), rebind_to: None, presented: moved.generation, ..request.clone() };
        assert!(matches!(families.advance(&on).await, Ok(Advanced::Rotated(_) | Advanced::Kept(_))), "the new key goes on");
    }
}

/// Without the old key nothing moves: not by its proof being left out, not by another one, not by a token that gives nothing.
async fn what_the_old_key_may_not_move_stays(families: &dyn Families) {
    created(families, &Family { generation: Generation(5), ..family(140) }).await;
    let before = read(families, 140).await;
    let change = Advance { rebind_to: Some(jkt(999)), ..advance(140, 5) };
    for (attempt, refusal) in [
        (Advance { jkt: None, ..change.clone() }, Refusal::OtherKey),
        (Advance { jkt: Some(jkt(999)), ..change.clone() }, Refusal::OtherKey),
        (Advance { jkt: None, authenticated: true, ..change.clone() }, Refusal::OtherKey),
        (Advance { client_id: client_named("other"), ..change.clone() }, Refusal::OtherClient),
        (Advance { now: START.plus(IDLE), ..change.clone() }, Refusal::Expired),
    ] {
        assert_eq!(families.advance(&attempt).await, Ok(Advanced::Refused(refusal)), "{attempt:?}");
    }
    let old = Advance { presented: Generation(2), ..change.clone() };
    assert_eq!(families.advance(&old).await, Ok(Advanced::Reused(before.clone())), "an old token is reuse all the same");
    assert_eq!(read(families, 140).await, before, "nothing moved");

    let confidential = Family { generation: Generation(5), ..confidential_family(141) };
    created(families, &confidential).await;
    let change = Advance { authenticated: true, rebind_to: Some(jkt(999)), ..advance(141, 5) };
    assert!(matches!(families.advance(&change).await, Ok(Advanced::Rotated(_))), "client authentication is no key to be changed");
    assert_eq!(read(families, 141).await.binding, Binding::ClientAuthentication);

    created(families, &family(142)).await;
    assert_eq!(families.revoke(id(142), RevokeReason::Requested, START).await, Ok(true));
    let change = Advance { rebind_to: Some(jkt(999)), ..advance(142, 0) };
    assert_eq!(families.advance(&change).await, Ok(Advanced::Refused(Refusal::Revoked)));
    assert_eq!(read(families, 142).await.binding, Binding::Key(jkt(142)), "a revoked family goes nowhere");
}

/// No number that a token can name is a trap.
async fn the_last_generation_goes_on(families: &dyn Families) {
    created(families, &Family { generation: Generation(u32::MAX - 1), ..family(120) }).await;
    for presented in [u32::MAX - 1, u32::MAX, u32::MAX] {
        let advanced = families.advance(&advance(120, presented)).await;
        assert!(matches!(&advanced, Ok(Advanced::Rotated(family)) if family.generation == Generation(u32::MAX)), "{advanced:?}");
    }
}

/// Filters, pages and cursors. Wants a store without other families.
///
/// # Panics
/// Where the store does anything else.
pub async fn lists(families: &dyn Families) {
    let empty = families.list(&FamilyFilter::default(), None, 10, START).await.expect("an empty store lists nothing");
    assert!(empty.families.is_empty() && empty.next.is_none());
    for number in 0..25 {
        let sub = (number % 3 != 0).then(|| if number % 2 == 0 { "alice" } else { "bob" }.to_owned());
        let mut one = if number % 5 == 0 { confidential_family(number) } else { family(number) };
        one.grant.sub = sub;
        if number % 4 == 0 {
            one.client_id = client_named("other");
        }
        created(families, &one).await;
    }
    let matching = |wanted: &dyn Fn(u64) -> bool| (0..25).filter(|number| wanted(*number)).map(id).collect::<BTreeSet<_>>();
    let filter = FamilyFilter::default;
    let cases = [
        (filter(), matching(&|_| true)),
        (FamilyFilter { sub: Some("alice".to_owned()), ..filter() }, matching(&|n| n % 3 != 0 && n % 2 == 0)),
        (FamilyFilter { sub: Some("nobody".to_owned()), ..filter() }, matching(&|_| false)),
        (FamilyFilter { client_id: Some(client_named("other")), ..filter() }, matching(&|n| n % 4 == 0)),
        (FamilyFilter { jkt: Some(jkt(7)), ..filter() }, matching(&|n| n == 7)),
        (FamilyFilter { jkt: Some(jkt(5)), ..filter() }, matching(&|_| false)),
        (FamilyFilter { sub: Some("bob".to_owned()), client_id: Some(sample::client()), jkt: Some(jkt(7)) }, matching(&|n| n == 7)),
    ];
    for (filter, expected) in &cases {
        for limit in [1, 3, 24, 25, 26, 1_000] {
            let listed = all_pages(families, filter, limit, START).await;
            let names: BTreeSet<FamilyId> = listed.iter().map(|family| family.id).collect();
            assert_eq!((listed.len(), &names), (expected.len(), expected), "{filter:?}, {limit} a page: each exactly once");
        }
    }
    assert_eq!(families.revoke(id(7), RevokeReason::Requested, START).await, Ok(true));
    assert_eq!(all_pages(families, &FamilyFilter::default(), 10, START).await.len(), 24, "a revoked family is not listed");
}

async fn all_pages(families: &dyn Families, filter: &FamilyFilter, limit: usize, now: UnixTime) -> Vec<Family> {
    let (mut listed, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = families.list(filter, cursor.as_deref(), limit, now).await.expect("the store lists");
        assert!(page.families.len() <= limit, "a page holds {limit} at most");
        listed.extend(page.families);
        cursor = page.next;
        match &cursor {
            None => return listed,
            Some(next) => assert!(next.bytes().all(|byte| byte.is_ascii_graphic()), "a cursor is visible ASCII"),
        }
    }
}

async fn created(families: &dyn Families, family: &Family) {
    families.create(family).await.expect("a new family is stored");
}

async fn read(families: &dyn Families, number: u64) -> Family {
    families.read(id(number), START).await.expect("the store can be read").expect("the family is there")
}
