//! The scripts against the one definition of what a refresh token does.

use std::collections::HashMap;
use std::time::Duration;

use keybound::domain::{Advance, Advanced, Binding, Family, FamilyId, FamilyState, Generation, Refusal, RevokeReason};
use keybound::store::conformance::sample;
use keybound::store::{Families as _, FamilyFilter};
use keybound_proofs::{ClaimAnswer, Ledger as _, UnixTime};
use keybound_testkit::redis::RedisServer;

use super::{claim, node, now, proof};

const CALLS: u32 = 12_000;

/// A little generator of our own: the same calls in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(super) fn random_family(dice: &mut Dice, number: u64, now: UnixTime) -> Family {
    let sample = if dice.one_in(3) { sample::confidential_family(number) } else { sample::family(number) };
    let generation = match dice.below(6) {
        0 => u32::MAX,
        1 => u32::MAX - 1,
        _ => u32::try_from(dice.below(6)).unwrap(),
    };
    let seconds = |dice: &mut Dice, bound| Duration::from_secs(dice.below(bound));
    let absolute_expiry = now.plus(seconds(dice, 5000));
    Family {
        generation: Generation(generation),
        created: now,
        last_rotation: now.minus(seconds(dice, 100)),
        idle_expiry: now.plus(seconds(dice, 2000)).min(absolute_expiry),
        absolute_expiry,
        clone_run: [0, 1, 2, 3, 4, 255][usize::try_from(dice.below(6)).unwrap()],
        clone_flag: dice.one_in(2),
        ..sample
    }
}

fn random_request(dice: &mut Dice, family: &Family, now: UnixTime) -> Advance {
    let stored = family.generation.0;
    let presented = match dice.below(8) {
        0..=2 => stored,
        3..=4 => stored.saturating_sub(1),
        5 => stored.saturating_sub(2),
        6 => stored.saturating_add(1 + u32::try_from(dice.below(3)).unwrap()),
        _ => u32::MAX,
    };
    let own_key = match family.binding {
        Binding::Key(jkt) => jkt,
        Binding::ClientAuthentication => sample::jkt(1),
    };
    Advance {
        family: family.id,
        presented: Generation(presented),
        client_id: if dice.one_in(12) { sample::client_named("app2") } else { family.client_id.clone() },
        authenticated: !dice.one_in(6),
        jkt: if dice.one_in(12) { None } else { Some(if dice.one_in(12) { sample::jkt(999) } else { own_key }) },
        rebind_to: if dice.one_in(8) { Some(if dice.one_in(4) { own_key } else { sample::jkt(998) }) } else { None },
        rotate: !dice.one_in(4),
        // Around the edges of the gap of the cloned-key pattern and of the family's own life.
        now: match dice.below(6) {
            0 => family.last_rotation.plus(Family::CLONE_GAP + Duration::from_millis(dice.below(3))).minus(Duration::from_millis(1)),
            1 => family.idle_expiry.plus(Duration::from_millis(dice.below(3))).minus(Duration::from_millis(1)),
            2 => family.absolute_expiry.plus(Duration::from_millis(dice.below(3))).minus(Duration::from_millis(1)),
            _ => now,
        },
        idle: Duration::from_secs(dice.below(3000)),
    }
}

fn moved(answer: &Advanced) -> Option<&Family> {
    match answer {
        Advanced::Rotated(family)
        | Advanced::Repeated(family)
        | Advanced::RolledForward(family)
        | Advanced::Kept(family)
        | Advanced::Rebound(family) => Some(family),
        Advanced::Reused(_) | Advanced::CloneSuspected(_) | Advanced::Refused(_) => None,
    }
}

/// The script answers what [`Family::decide`] answers, and stores what it stores, over many thousand random calls.
#[tokio::test]
async fn the_script_agrees_with_the_state_machine() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let mut dice = Dice(0x4b65_7962_6f75_6e64);
    let mut model: HashMap<FamilyId, Family> = HashMap::new();
    let mut kinds: HashMap<String, u32> = HashMap::new();
    let mut live: Vec<FamilyId> = Vec::new();
    let mut now = sample::START;
    for call in 0..CALLS {
        now = now.plus(Duration::from_millis(dice.below(20_000)));
        if live.len() < 12 || dice.one_in(6) {
            let family = random_family(&mut dice, u64::from(call), now);
            store.create(&family).await.unwrap();
            live.push(family.id);
            model.insert(family.id, family);
            if live.len() > 24 {
                live.remove(0);
            }
        }
        let id = live[usize::try_from(dice.below(live.len() as u64)).unwrap()];
        let family = model[&id].clone();
        if dice.one_in(30) {
            let expected = family.state == FamilyState::Live && !family.is_expired(now);
            assert_eq!(store.revoke(id, RevokeReason::Reuse, now).await, Ok(expected), "call {call}");
            if expected {
                model.get_mut(&id).unwrap().state = FamilyState::Revoked(RevokeReason::Reuse);
            }
            continue;
        }
        let request = random_request(&mut dice, &family, now);
        let (answer, expected) = (store.advance(&request).await.unwrap(), family.decide(&request));
        assert_eq!(answer, expected, "call {call}: {request:?}");
        let kind = format!("{answer:?}");
        let kind = if kind.starts_with("Refused") { kind } else { kind.split('(').next().unwrap().to_owned() };
        *kinds.entry(kind).or_default() += 1;
        if let Some(family) = moved(&expected) {
            model.insert(id, family.clone());
        }
        let long_ago = UnixTime::from_secs(0);
        assert_eq!(store.read(id, long_ago).await.unwrap().as_ref(), model.get(&id), "call {call}: what is stored");
    }
    println!("{CALLS} calls: {kinds:?}");
    for kind in ["Rotated", "Repeated", "RolledForward", "Kept", "Reused", "CloneSuspected", "Rebound"] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= 20), "{kind} hardly came up: {kinds:?}");
    }
    for refusal in [Refusal::Revoked, Refusal::Expired, Refusal::OtherClient, Refusal::OtherKey, Refusal::NotAuthenticated] {
        let kind = format!("{:?}", Advanced::Refused(refusal));
        assert!(kinds.get(&kind).is_some_and(|count| *count >= 20), "{kind} hardly came up: {kinds:?}");
    }
}

/// A record ends by itself a minute after the family did, and not before.
#[tokio::test]
async fn a_family_is_kept_until_it_expires_and_a_minute() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    store.create(&sample::family(1)).await.unwrap();
    let key = [b"f:".as_slice(), sample::id(1).as_bytes()].concat();
    let lifetime = async || match server.command(&[b"PTTL".as_slice(), &key]).await.unwrap() {
        ::redis::Value::Int(ms) => Duration::from_millis(u64::try_from(ms).unwrap()),
        other => panic!("{other:?}"),
    };
    let grace = Duration::from_secs(60);
    let near = |got: Duration, wanted: Duration| got <= wanted && got + Duration::from_secs(10) > wanted;
    assert!(near(lifetime().await, sample::IDLE + grace), "after it was created");
    let after = |seconds| sample::START.plus(Duration::from_secs(seconds));
    let idle = Duration::from_secs(5000);
    store.advance(&Advance { now: after(10), idle, ..sample::advance(1, 0) }).await.unwrap();
    assert!(near(lifetime().await, idle + grace), "idle again");
    store.advance(&Advance { now: after(4000), idle: Duration::from_secs(100_000), ..sample::advance(1, 1) }).await.unwrap();
    assert!(near(lifetime().await, sample::ABSOLUTE - Duration::from_secs(4000) + grace), "the absolute end comes first");
    store.revoke(sample::id(1), RevokeReason::Requested, after(4000)).await.unwrap();
    assert!(near(lifetime().await, sample::ABSOLUTE - Duration::from_secs(4000) + grace), "revoked ones stay as long");
}

/// R1 (REQUIREMENTS section 8): whatever was accepted at one instant is refused at every later one, over a grid of seconds. The server's
/// time can't be moved, so its lifetime of the entry is read instead of waited for.
#[tokio::test]
async fn an_accepted_proof_is_remembered_for_as_long_as_it_could_be_accepted() {
    const MAX_AGE: i64 = 60;
    const SKEW: i64 = 10;
    const SPREAD: i64 = 5;
    let acceptable = |iat: i64, at: i64| (-MAX_AGE..=SKEW).contains(&(iat - at));
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let mut accepted = 0;
    for iat in -120..=120_i64 {
        if !acceptable(iat, 0) {
            continue;
        }
        accepted += 1;
        // The last instant at which this proof could be accepted, as a distance from now; DESIGN section 4.
        let lifetime = Duration::from_secs(u64::try_from(iat + MAX_AGE + SPREAD + 1).unwrap());
        let number = u64::try_from(iat + 1000).unwrap();
        let key = proof(number);
        let claimed = keybound_proofs::Claim { key, ttl: lifetime, epoch: store.epoch().unwrap().id };
        assert_eq!(store.claim(&claimed, now()).await, Ok(ClaimAnswer::First));
        let name = [b"rp:".as_slice(), key.as_bytes()].concat();
        let ::redis::Value::Int(left_ms) = server.command(&[b"PTTL".as_slice(), &name]).await.unwrap() else { panic!("no lifetime") };
        assert!(left_ms <= i64::try_from(lifetime.as_millis()).unwrap(), "iat {iat}");
        for second in 0..=120 {
            let remembered = left_ms + 1000 > second * 1000;
            assert!(!acceptable(iat, second) || remembered, "iat {iat}, second use at {second}, {left_ms} ms left");
        }
        assert_eq!(claim(&store, number).await, Ok(ClaimAnswer::Seen));
    }
    assert_eq!(accepted, MAX_AGE + SKEW + 1);
}

/// R1: an entry is forgotten when its lifetime is over, and not before.
#[tokio::test]
async fn a_claim_ends_with_its_lifetime() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let epoch = store.epoch().unwrap().id;
    let brief = keybound_proofs::Claim { key: proof(1), ttl: Duration::from_nanos(1), epoch };
    let long = keybound_proofs::Claim { key: proof(2), ttl: Duration::MAX, epoch };
    assert_eq!(store.claim(&brief, now()).await, Ok(ClaimAnswer::First));
    assert_eq!(store.claim(&long, now()).await, Ok(ClaimAnswer::First));
    super::comes_to(async || store.claim(&brief, now()).await, Ok(ClaimAnswer::First)).await;
    assert_eq!(store.claim(&long, now()).await, Ok(ClaimAnswer::Seen));
}

/// Pages of any size find every live family once, among claims and other families.
#[tokio::test]
async fn a_walk_over_pages_finds_every_family_once() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    for number in 0..300 {
        store.create(&sample::family(number)).await.unwrap();
        claim(&store, number).await.unwrap();
    }
    store.revoke(sample::id(5), RevokeReason::Requested, sample::START).await.unwrap();
    for limit in [1, 2, 7, 100, 299, 300, 5000] {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = store.list(&FamilyFilter::default(), cursor.as_deref(), limit, sample::START).await.unwrap();
            assert!(page.families.len() <= limit);
            found.extend(page.families.into_iter().map(|family| family.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.sort_unstable();
        let expected: Vec<_> = (0..300).filter(|number| *number != 5).map(sample::id).collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
    assert!(store.list(&FamilyFilter::default(), Some("nonsense"), 10, sample::START).await.is_err());
    let none = FamilyFilter { sub: Some("bob".to_owned()), ..FamilyFilter::default() };
    assert!(store.list(&none, None, 10, sample::START).await.unwrap().families.is_empty());
}
