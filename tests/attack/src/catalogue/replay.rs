//! `RPL`: one proof, used more than once.

use std::time::Duration;

use super::Severity::{High, Info, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Call, Need, Stage, told};
use crate::clock::now;
use crate::halt::{Step, breach, inconclusive, not_applicable};
use crate::jose::{Key, b64, malleate, unb64, unique, with_tail_bits};
use crate::judge::{accepted, once, refused, still_works, successes};

const TWICE: &str = "a recorded proof works again for whoever recorded it";
const BURNT: &str = "anyone can use up the jti of another's proof, so that the honest request is refused";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Replay, Stage::Any, "TWN-001");
    sequential(&mut list);
    respelled(&mut list);
    parallel(&mut list);
    elsewhere(&mut list);
    burnt(&mut list);
    later(&mut list);
    list.attacks
}

/// A good proof for a call that was accepted already.
async fn used(arena: &Arena, call: &Call, iat: i64) -> Step<String> {
    for last in [false, true] {
        let proof = arena.draft(call).claim("iat", iat).sign();
        let answer = arena.send(call, &[proof.clone().into_bytes()]).await?;
        if answer.wants_nonce() && !last {
            continue;
        }
        accepted(call.stage, &answer)?;
        return Ok(proof);
    }
    inconclusive("the server asks for a nonce twice")
}

/// Calls for the first and the second use of a proof: a refresh needs the token that the first use gave.
async fn again(arena: &Arena, call: &Call) -> Step<Call> {
    if call.stage != Stage::Refresh {
        return Ok(call.clone());
    }
    Ok(arena.call(Stage::Refresh).await?.key(&call.key))
}

fn sequential(list: &mut List) {
    let steps = "Send a good proof; it is accepted.\nSend the same proof again.";
    list.script(
        1,
        (High, "11.1", "A proof twice at the token endpoint", TWICE),
        Judgement::AcceptedOnce,
        steps,
        run!(replayed, Stage::Any, 0_u64, Twist::None),
    );
    list.script(
        2,
        (High, "11.1", "A proof twice at a refresh", TWICE),
        Judgement::AcceptedOnce,
        steps,
        run!(replayed, Stage::Refresh, 0_u64, Twist::None),
    )
    .needs(&[Need::Session])
    .twin("TWN-002");
    list.script(
        3,
        (High, "11.1", "A proof twice at the endpoint for pushed requests", TWICE),
        Judgement::AcceptedOnce,
        steps,
        run!(replayed, Stage::Par, 0_u64, Twist::None),
    )
    .needs(&[Need::Par])
    .twin("TWN-003");
    list.script(
        4,
        (High, "11.1", "A proof twice at a protected resource", TWICE),
        Judgement::AcceptedOnce,
        steps,
        run!(replayed, Stage::Resource, 0_u64, Twist::None),
    )
    .needs(&[Need::Resource])
    .twin("TWN-004");
    list.script(
        5,
        (High, "11.1", "A proof twice, a second apart", TWICE),
        Judgement::AcceptedOnce,
        steps,
        run!(replayed, Stage::Any, 1_100_u64, Twist::None),
    );
    let twists = [
        (6, High, "A used proof beside a query on the URL", Twist::Query),
        (7, High, "A used proof under another Host", Twist::Host),
        (8, High, "A used proof in a header line in capitals", Twist::HeaderCase),
        (9, High, "A used proof with another scope in the form", Twist::Scope),
        (10, High, "A used proof behind a new one in a second line", Twist::SecondLine),
        (11, High, "A used proof with more parameters in the form", Twist::Parameter),
        (12, Medium, "A used proof with a space before it", Twist::Space),
        (13, High, "A used proof from behind another forwarding address", Twist::Forwarded),
        (14, Medium, "A used proof with a jti made again for a later iat", Twist::LaterIat),
        (15, Medium, "A used jti in a proof with another alg or header parameter", Twist::HeaderParameter),
    ];
    for (number, severity, title, twist) in twists {
        list.script(number, (severity, "11.1", title, TWICE), Judgement::AcceptedOnce, steps, run!(replayed, Stage::Any, 0_u64, twist));
    }
    list.script(
        16,
        (High, "11.1", "A used proof after two thousand others", "a replay cache of fixed size forgets under load what it has to remember"),
        Judgement::AcceptedOnce,
        "Send a good proof.\nSend 2000 good proofs of other keys.\nSend the first again.",
        run!(after_a_flood),
    )
    .needs(&[Need::Machine, Need::OwnServer])
    .slow();
    list.script(
        17,
        (High, "11.1", "A proof five times in a row", TWICE),
        Judgement::AcceptedOnce,
        "Send a good proof.\nSend it four times more.",
        run!(many_times),
    );
    list.script(
        18,
        (Info, "11.1", "One jti of one key at two endpoints", "who keys uses by endpoint has to be sure that no proof fits two of them"),
        Judgement::AcceptedOnce,
        "Use a proof at the token endpoint.\nUse a proof of the same key with the same jti at the endpoint for pushed requests.",
        run!(at_two_endpoints),
    )
    .needs(&[Need::Par])
    .twin("TWN-003");
    list.script(
        19,
        (High, "11.1", "A proof of the token endpoint at the second endpoint that refreshes", TWICE),
        Judgement::Refused,
        "Use a proof at the token endpoint.\nSend it to the other endpoint.",
        run!(at_the_refresh_endpoint),
    )
    .needs(&[Need::Session, Need::RefreshEndpoint])
    .twin("TWN-002");
}

#[derive(Clone, Copy)]
enum Twist {
    None,
    Query,
    Host,
    HeaderCase,
    Scope,
    SecondLine,
    Parameter,
    Space,
    Forwarded,
    LaterIat,
    HeaderParameter,
    Respelled(fn(&str) -> Option<String>),
}

async fn replayed(arena: &Arena, stage: Stage, pause_ms: u64, twist: Twist) -> Step<()> {
    let first = arena.call(stage).await?;
    let iat = now();
    let draft = arena.draft(&first).claim("iat", iat);
    let (mut proof, mut draft) = (draft.sign(), draft);
    let mut answer = arena.send(&first, &[proof.clone().into_bytes()]).await?;
    if answer.wants_nonce() {
        draft = arena.draft(&first).claim("iat", iat);
        proof = draft.sign();
        answer = arena.send(&first, &[proof.clone().into_bytes()]).await?;
    }
    accepted(first.stage, &answer)?;
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    let mut call = again(arena, &first).await?;
    let mut proofs = vec![proof.clone().into_bytes()];
    match twist {
        Twist::None => {}
        Twist::Query => call.url.set_query(Some("again=1")),
        Twist::Host => call.host = Some("other.example".to_owned()),
        Twist::HeaderCase => {
            call = call.header("DPOP", &proof);
            proofs.clear();
        }
        Twist::Scope => call = call.without("scope").add("scope", ""),
        Twist::SecondLine => proofs.insert(0, arena.draft(&call).sign().into_bytes()),
        Twist::Parameter => call = call.add("again", "1"),
        Twist::Space => proofs = vec![format!(" {proof}").into_bytes()],
        Twist::Forwarded => call = call.header("X-Forwarded-For", "192.0.2.1").header("X-Real-IP", "192.0.2.1"),
        Twist::LaterIat => proofs = vec![draft.claim("iat", iat + 1).sign().into_bytes()],
        Twist::HeaderParameter => proofs = vec![draft.head("kid", "other").sign().into_bytes()],
        Twist::Respelled(respell) => match respell(&proof) {
            Some(other) => proofs = vec![other.into_bytes()],
            None => return not_applicable("this proof has no other spelling of this kind"),
        },
    }
    let answer = arena.send(&call, &proofs).await?;
    refused(call.stage, &answer)
}

fn respelled(list: &mut List) {
    let spellings: [(u16, super::Severity, &str, fn(&str) -> Option<String>); 5] = [
        (20, High, "The other ECDSA signature of a used proof, (r, n - s)", |proof| {
            respell(proof, |signature| b64(malleate(&unb64(signature).unwrap_or_default())))
        }),
        (21, High, "A used proof with unused bits set in its signature", |proof| {
            respell(proof, |signature| with_tail_bits(signature).unwrap_or_default())
        }),
        (22, High, "A used proof with padding", |proof| respell(proof, |signature| format!("{signature}=="))),
        (23, High, "A used proof with a line break in its signature", |proof| {
            respell(proof, |signature| format!("{}\t{}", &signature[..9], &signature[9..]))
        }),
        (24, High, "A used proof with a dot after it", |proof| Some(format!("{proof}."))),
    ];
    for (number, severity, title, spelling) in spellings {
        list.script(
            number,
            (severity, "11.1", title, "uses are remembered by the bytes of the proof, of which one proof has many"),
            Judgement::AcceptedOnce,
            "Send a good proof; it is accepted.\nSend the same claims in other bytes, which needs no key.",
            run!(replayed, Stage::Any, 0_u64, Twist::Respelled(spelling)),
        );
    }
    list.script(
        25,
        (High, "11.1", "A proof and its other ECDSA signature at one moment", "uses are remembered by the bytes of the proof"),
        Judgement::AcceptedOnce,
        "Make a good proof and its twin with (r, n - s).\nSend eight of each at one moment.",
        run!(twins_at_once),
    );
    list.script(
        26,
        (Medium, "11.1", "One Ed25519 key and jti under EdDSA and under Ed25519", "uses are remembered by the name of the algorithm"),
        Judgement::AcceptedOnce,
        "Use a proof that says EdDSA.\nUse a proof with the same jti that says Ed25519.",
        run!(two_names),
    )
    .needs(&[Need::Alg("EdDSA"), Need::Alg("Ed25519"), Need::Machine])
    .twin("TWN-011");
}

fn respell(proof: &str, edit: impl FnOnce(&str) -> String) -> Option<String> {
    let (input, signature) = proof.rsplit_once('.')?;
    let other = edit(signature);
    (other != signature && !other.is_empty()).then(|| format!("{input}.{other}"))
}

async fn two_names(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Token).await?.key(&Key::ed25519());
    let jti = unique();
    let answer = arena.send_draft(&call, |draft| draft.claim("jti", jti.clone())).await?;
    accepted(call.stage, &answer)?;
    let answer = arena.send_draft(&call, |draft| draft.claim("jti", jti.clone()).head("alg", "Ed25519")).await?;
    refused(call.stage, &answer)
}

fn parallel(list: &mut List) {
    let race = "two checks at one moment both find the proof unused";
    for (number, stage, place, needs, twin) in [
        (30, Stage::Any, "at the token endpoint", &[][..], "TWN-001"),
        (31, Stage::Refresh, "at a refresh", &[Need::Session][..], "TWN-002"),
        (32, Stage::Par, "at the endpoint for pushed requests", &[Need::Par][..], "TWN-003"),
        (33, Stage::Resource, "at a protected resource", &[Need::Resource][..], "TWN-004"),
    ] {
        let title = format!("32 copies of one proof at one moment, {place}");
        list.script(
            number,
            (High, "11.1", &title, race),
            Judgement::AcceptedOnce,
            "Make a good proof.\nSend 32 copies whose last byte leaves at one moment.",
            run!(copies, stage, 32_usize, false, 3_usize),
        )
        .needs(needs)
        .twin(twin);
    }
    list.script(
        34,
        (High, "11.1", "Two copies of one proof at one moment, twenty times", race),
        Judgement::AcceptedOnce,
        "Make a good proof.\nSend two copies at one moment.\nRepeat with new proofs.",
        run!(copies, Stage::Any, 2_usize, false, 20_usize),
    );
    list.script(
        35,
        (High, "11.1", "64 copies of one proof at one moment, three times", race),
        Judgement::AcceptedOnce,
        "Make a good proof.\nSend 64 copies at one moment.\nRepeat with new proofs.",
        run!(copies, Stage::Any, 64_usize, false, 3_usize),
    );
}

async fn copies(arena: &Arena, stage: Stage, count: usize, peer: bool, rounds: usize) -> Step<()> {
    for _ in 0..rounds {
        let call = arena.call(stage).await?;
        // Once honestly, so that the server has handed out its nonce.
        if arena.nonce(call.role).is_none() && stage != Stage::Refresh {
            let answer = arena.send_honest(&call).await?;
            accepted(call.stage, &answer)?;
        }
        let proof = arena.draft(&call).sign().into_bytes();
        let requests = (0..count)
            .map(|index| {
                let call = if peer && index % 2 == 1 { call.clone().at_the_peer() } else { call.clone() };
                arena.request(&call, std::slice::from_ref(&proof))
            })
            .collect();
        let successes = successes(call.stage, arena.volley("copies of one proof", requests).await)?;
        if stage == Stage::Refresh {
            // The session goes on with what came back.
            arena.forget_shared().await;
        }
        once(count, successes.len())?;
    }
    Ok(())
}

async fn twins_at_once(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let draft = arena.draft(&call);
    let signature = draft.signature();
    let proofs = [draft.with_signature(&signature), draft.with_signature(malleate(&signature))];
    let requests = (0..16).map(|index| arena.request(&call, &[proofs[index % 2].clone().into_bytes()])).collect();
    let successes = successes(call.stage, arena.volley("two spellings of one proof", requests).await)?;
    if call.stage == Stage::Refresh {
        arena.forget_shared().await;
    }
    once(16, successes.len())
}

async fn many_times(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let proof = used(arena, &call, now()).await?;
    let call = again(arena, &call).await?;
    for _ in 0..4 {
        let answer = arena.send(&call, &[proof.clone().into_bytes()]).await?;
        refused(call.stage, &answer)?;
    }
    Ok(())
}

async fn after_a_flood(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Token).await?;
    let proof = used(arena, &call, now()).await?;
    for _ in 0..40 {
        let mut requests = Vec::new();
        for _ in 0..50 {
            let other = arena.call(Stage::Token).await?;
            requests.push(arena.request(&other, &[arena.draft(&other).sign().into_bytes()]));
        }
        if successes(Stage::Token, arena.wire.volley(requests).await)?.is_empty() {
            return inconclusive("the other proofs were refused");
        }
    }
    let answer = arena.send(&call, &[proof.into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn at_two_endpoints(arena: &Arena) -> Step<()> {
    let first = arena.call(Stage::Any).await?;
    let jti = unique();
    let answer = arena.send_draft(&first, |draft| draft.claim("jti", jti.clone())).await?;
    accepted(first.stage, &answer)?;
    let second = arena.call(Stage::Par).await?.key(&first.key);
    let answer = arena.send_draft(&second, |draft| draft.claim("jti", jti.clone())).await?;
    refused(second.stage, &answer)
}

async fn at_the_refresh_endpoint(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Refresh).await?;
    let proof = used(arena, &call, now()).await?;
    let mut call = again(arena, &call).await?;
    let Some(url) = &arena.options.refresh_endpoint else { return not_applicable("no second endpoint that refreshes was given") };
    call.url = url.clone();
    let answer = arena.send(&call, &[proof.into_bytes()]).await?;
    refused(call.stage, &answer)
}

fn elsewhere(list: &mut List) {
    let nodes = "nodes of one server do not know what the other has accepted";
    let steps = "Use a proof at one node.\nSend it to the other.";
    for (number, stage, place, twin) in [
        (40, Stage::Any, "at the token endpoint", "TWN-001"),
        (41, Stage::Resource, "at a protected resource", "TWN-004"),
        (42, Stage::Refresh, "at a refresh", "TWN-002"),
    ] {
        let title = format!("A used proof at the second node, {place}");
        list.script(number, (High, "11.1", &title, nodes), Judgement::AcceptedOnce, steps, run!(at_the_peer, stage))
            .needs(&[Need::Peer])
            .twin(twin);
    }
    list.script(
        43,
        (High, "11.1", "64 copies of one proof at one moment, half of them at the second node", nodes),
        Judgement::AcceptedOnce,
        "Make a good proof.\nSend 64 copies at one moment, each other one to the second node.",
        run!(copies, Stage::Any, 64_usize, true, 3_usize),
    )
    .needs(&[Need::Peer]);
    list.script(
        44,
        (High, "11.1", "The other ECDSA signature of a used proof at the second node", nodes),
        Judgement::AcceptedOnce,
        steps,
        run!(twin_at_the_peer),
    )
    .needs(&[Need::Peer]);
    let restart = "what was accepted is forgotten when the server starts again";
    list.script(
        45,
        (High, "11.1", "A used proof after the server was restarted", restart),
        Judgement::AcceptedOnce,
        "Use a proof.\nRestart the server.\nSend the proof again.",
        run!(after_restart, false),
    )
    .needs(&[Need::Restart]);
    list.script(
        46,
        (
            Medium,
            "8",
            "A proof that was made before a restart and not used",
            "a server that forgot what was used can't tell it from one that was",
        ),
        Judgement::LeavesNoTrace,
        "Make a proof.\nRestart the server.\nSend the proof: it is accepted, or a nonce is asked for and a proof with it is accepted.",
        run!(unused_after_restart),
    )
    .needs(&[Need::Restart]);
    list.script(
        47,
        (High, "11.1", "A used proof and its nonce after the server was restarted", restart),
        Judgement::AcceptedOnce,
        "Use a proof that has a nonce.\nRestart the server.\nSend the proof again.",
        run!(after_restart, true),
    )
    .needs(&[Need::Restart, Need::Nonces]);
}

async fn at_the_peer(arena: &Arena, stage: Stage) -> Step<()> {
    let call = arena.call(stage).await?;
    let proof = used(arena, &call, now()).await?;
    let call = again(arena, &call).await?.at_the_peer();
    let answer = arena.send(&call, &[proof.into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn twin_at_the_peer(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let proof = used(arena, &call, now()).await?;
    let twin = respell(&proof, |signature| b64(malleate(&unb64(signature).unwrap_or_default()))).unwrap_or_default();
    let call = again(arena, &call).await?.at_the_peer();
    let answer = arena.send(&call, &[twin.into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn after_restart(arena: &Arena, with_nonce: bool) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let proof = if with_nonce {
        let nonce = match &arena.endpoints.nonce {
            Some(url) => arena.wire.send(&crate::wire::Request::new("GET", url)).await?.header("DPoP-Nonce").map(str::to_owned),
            None => arena.nonce(call.role),
        };
        let Some(nonce) = nonce else { return not_applicable("the server hands out no nonces") };
        let proof = arena.draft(&call).claim("nonce", nonce).sign();
        accepted(call.stage, &arena.send(&call, &[proof.clone().into_bytes()]).await?)?;
        proof
    } else {
        used(arena, &call, now()).await?
    };
    arena.restart().await?;
    let call = again(arena, &call).await?;
    let answer = arena.send(&call, &[proof.into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn unused_after_restart(arena: &Arena) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let proof = arena.draft(&call).sign();
    arena.restart().await?;
    let mut answer = arena.send(&call, &[proof.into_bytes()]).await?;
    if !answer.wants_nonce() && !crate::judge::succeeded(call.stage, &answer) {
        return breach(format!("an honest client is refused for good after a restart: {}", told(&Ok(answer))));
    }
    if answer.wants_nonce() {
        answer = arena.send(&call, &[arena.draft(&call).sign().into_bytes()]).await?;
    }
    still_works(call.stage, &answer, "after a restart an honest client is refused")
}

fn burnt(list: &mut List) {
    list.script(
        50,
        (High, "11.1", "A stranger's key uses the jti first", BURNT),
        Judgement::LeavesNoTrace,
        "Use a proof of another key with the jti of the proof to come.\nSend the honest proof with that jti.",
        run!(burn, Burner::Stranger),
    );
    let burners = [
        (51, "A proof with the victim's key and a broken signature uses the jti first", Burner::BadSignature),
        (52, "A proof with the victim's key and another htu uses the jti first", Burner::OtherHtu),
        (53, "A proof that is too old uses the jti first", Burner::TooOld),
        (54, "A proof that came with a wrong method uses the jti first", Burner::OtherMethod),
        (55, "A request with two proofs uses the jti of the first", Burner::TwoLines),
    ];
    for (number, title, burner) in burners {
        list.script(
            number,
            (Medium, "4.3", title, BURNT),
            Judgement::LeavesNoTrace,
            "Send a proof that must be refused.\nSend a good proof with the same jti.",
            run!(burn, burner),
        );
    }
    list.script(
        56,
        (Medium, "4.3(12)", "A proof with a wrong ath uses the jti first", BURNT),
        Judgement::LeavesNoTrace,
        "Send a proof with a wrong ath to the resource.\nSend a good proof with the same jti.",
        run!(burn_at_resource, true),
    )
    .needs(&[Need::Resource])
    .twin("TWN-004");
    list.script(
        57,
        (Medium, "4.3(12)", "A stranger's access token uses the jti first", BURNT),
        Judgement::LeavesNoTrace,
        "Send a good proof with a made-up access token to the resource.\nSend a proof with the same jti and the right token.",
        run!(burn_at_resource, false),
    )
    .needs(&[Need::Resource])
    .twin("TWN-004");
}

#[derive(Clone, Copy)]
enum Burner {
    Stranger,
    BadSignature,
    OtherHtu,
    TooOld,
    OtherMethod,
    TwoLines,
}

async fn burn(arena: &Arena, burner: Burner) -> Step<()> {
    let call = arena.call(Stage::Any).await?;
    let jti = unique();
    let stranger = Key::es256();
    let draft = arena.draft(&call).claim("jti", jti.clone());
    let bad = match burner {
        Burner::Stranger => vec![draft.by(&stranger).sign()],
        Burner::BadSignature => vec![draft.signed_by(&stranger).sign()],
        Burner::OtherHtu => vec![draft.claim("htu", "https://other.example/token").sign()],
        Burner::TooOld => vec![draft.claim("iat", now() - 86_400).sign()],
        Burner::OtherMethod => vec![draft.claim("htm", "GET").sign()],
        Burner::TwoLines => vec![draft.sign(), "second".to_owned()],
    };
    let bad: Vec<Vec<u8>> = bad.into_iter().map(String::into_bytes).collect();
    // Where the stage is a refresh the stranger's proof is refused for its key, which must burn nothing either.
    let answer = arena.send(&call, &bad).await?;
    if !matches!(burner, Burner::Stranger) {
        refused(call.stage, &answer)?;
    }
    let answer = arena.send_draft(&call, |draft| draft.claim("jti", jti.clone())).await?;
    still_works(call.stage, &answer, "the honest proof is refused")
}

async fn burn_at_resource(arena: &Arena, wrong_ath: bool) -> Step<()> {
    let call = arena.call(Stage::Resource).await?;
    let jti = unique();
    let bad = if wrong_ath { call.clone() } else { arena.resource_call(&call.url, "made.up.token", &call.key) };
    let forge = |draft: crate::jose::Draft| {
        let draft = draft.claim("jti", jti.clone());
        if wrong_ath { draft.claim("ath", b64([7; 32])) } else { draft }
    };
    let answer = arena.send_draft(&bad, forge).await?;
    refused(call.stage, &answer)?;
    let answer = arena.send_draft(&call, |draft| draft.claim("jti", jti.clone())).await?;
    still_works(call.stage, &answer, "the honest proof is refused")
}

fn later(list: &mut List) {
    const FORGOTTEN: &str = "the use of a proof is forgotten before the proof itself is too old";
    list.script(
        60,
        (High, "11.1", "A proof at the old end of the window, twice", FORGOTTEN),
        Judgement::AcceptedOnce,
        "Use a proof whose iat is as old as it may be.\nSend it again at once.",
        run!(at_the_edge, Edge::Old, Wait::None),
    );
    list.script(
        61,
        (High, "11.1", "A proof from ahead, twice", FORGOTTEN),
        Judgement::AcceptedOnce,
        "Use a proof whose iat is as far ahead as it may be.\nSend it again at once.",
        run!(at_the_edge, Edge::Ahead, Wait::None),
    );
    list.script(62, (High, "11.1", "A proof from ahead again, once its use is a window old", FORGOTTEN), Judgement::AcceptedOnce, "Use a proof whose iat is as far ahead as it may be.\nWait for the length of the window: by its iat the proof is still good.\nSend it again.", run!(at_the_edge, Edge::Ahead, Wait::Window)).slow();
    list.script(
        63,
        (High, "11.1", "A proof of now again, just before it is too old", FORGOTTEN),
        Judgement::AcceptedOnce,
        "Use a proof.\nWait until just before it is too old.\nSend it again.",
        run!(at_the_edge, Edge::Now, Wait::AlmostWindow),
    )
    .slow();
    list.script(
        64,
        (High, "11.1", "A proof again, when it is too old", FORGOTTEN),
        Judgement::AcceptedOnce,
        "Use a proof.\nWait until it is too old.\nSend it again.",
        run!(at_the_edge, Edge::Now, Wait::BeyondWindow),
    )
    .slow();
    list.script(
        65,
        (High, "11.1", "A proof from ahead again, every second until it is too old", FORGOTTEN),
        Judgement::AcceptedOnce,
        "Use a proof whose iat is as far ahead as it may be.\nSend it again every second until it is too old.",
        run!(every_second),
    )
    .slow();
}

#[derive(Clone, Copy)]
enum Edge {
    Old,
    Now,
    Ahead,
}

#[derive(Clone, Copy)]
enum Wait {
    None,
    AlmostWindow,
    Window,
    BeyondWindow,
}

async fn at_the_edge(arena: &Arena, edge: Edge, wait: Wait) -> Step<()> {
    let (window, skew) = (arena.options.window_s, arena.options.skew_s);
    let iat = match edge {
        Edge::Old => now() - window + 2.min(window / 2),
        Edge::Now => now(),
        // A second of slack for the clock that turns in between.
        Edge::Ahead => now() + (skew - 1).max(0),
    };
    let call = arena.call(Stage::Any).await?;
    let proof = used(arena, &call, iat).await?;
    let seconds = match wait {
        Wait::None => 0,
        Wait::AlmostWindow => window - 2,
        Wait::Window => window + (skew - 1).max(0) / 2,
        Wait::BeyondWindow => window + skew + 2,
    };
    tokio::time::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or_default())).await;
    let call = again(arena, &call).await?;
    let answer = arena.send(&call, &[proof.into_bytes()]).await?;
    refused(call.stage, &answer)
}

async fn every_second(arena: &Arena) -> Step<()> {
    let (window, skew) = (arena.options.window_s, arena.options.skew_s);
    let call = arena.call(Stage::Any).await?;
    let iat = now() + (skew - 1).max(0);
    let proof = used(arena, &call, iat).await?;
    let call = again(arena, &call).await?;
    while now() <= iat + window + 1 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let answer = arena.send(&call, &[proof.clone().into_bytes()]).await?;
        refused(call.stage, &answer)?;
    }
    Ok(())
}
