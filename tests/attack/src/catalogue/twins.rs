//! `TWN`: the honest requests. An attack counts only where its twin is accepted: a server that refuses everything passes nothing.

use super::{BoxFuture, Twin, run};
use crate::arena::{Arena, AuthorizationRequest, Need, Role, Stage};
use crate::clock::now;
use crate::halt::{Step, inconclusive, not_applicable};
use crate::jose::Key;
use crate::judge::accepted;
use crate::wire::Request;

pub(super) fn twins() -> Vec<Twin> {
    vec![
        twin("TWN-001", "A token request with a good proof", "RFC 9449 section 5", &[], run!(honest, Stage::Any)),
        twin("TWN-002", "A refresh with a good proof", "RFC 9449 section 5", &[Need::Session], run!(honest, Stage::Refresh)),
        twin("TWN-003", "A pushed request with a good proof", "RFC 9449 section 10.1", &[Need::Par], run!(honest, Stage::Par)),
        twin(
            "TWN-004",
            "A good token and a good proof at a protected resource",
            "RFC 9449 section 7",
            &[Need::Resource],
            run!(honest, Stage::Resource),
        ),
        twin("TWN-005", "A code, bound to a key and redeemed with it", "RFC 9449 section 10", &[Need::Codes], run!(honest_code)),
        twin("TWN-010", "A proof with ES384", "RFC 9449 section 4.3", &[Need::Alg("ES384"), Need::Machine], run!(with_alg, "ES384")),
        twin("TWN-011", "A proof with EdDSA", "RFC 9449 section 4.3", &[Need::Alg("EdDSA"), Need::Machine], run!(with_alg, "EdDSA")),
        twin("TWN-012", "A proof with PS256", "RFC 9449 section 4.3", &[Need::Alg("PS256"), Need::Machine], run!(with_alg, "PS256")),
        twin("TWN-020", "A proof with a nonce that the server gave", "RFC 9449 section 8", &[], run!(with_nonce)),
        twin(
            "TWN-030",
            "A client assertion for the issuer, with a good proof",
            "RFC 7523 section 3",
            &[Need::Assertion],
            run!(honest, Stage::Token),
        ),
        twin("TWN-040", "Proofs at the edges of what must be accepted", "RFC 9449 section 4.3", &[], run!(edges)),
    ]
}

fn twin<F>(id: &'static str, title: &'static str, section: &'static str, needs: &[Need], script: F) -> Twin
where
    F: for<'a> Fn(&'a Arena) -> BoxFuture<'a> + Send + Sync + 'static,
{
    Twin { id, title, section, needs: needs.to_vec(), script: std::sync::Arc::new(script) }
}

async fn honest(arena: &Arena, stage: Stage) -> Step<()> {
    let call = arena.call(stage).await?;
    accepted(call.stage, &arena.send_honest(&call).await?)
}

async fn honest_code(arena: &Arena) -> Step<()> {
    let key = Key::es256();
    let request = AuthorizationRequest::new(arena)?.set("dpop_jkt", key.jkt());
    let code = arena.code(&request).await?;
    accepted(Stage::Token, &arena.send_honest(&arena.redeem(&request, &code, &key)?).await?)
}

async fn with_alg(arena: &Arena, alg: &'static str) -> Step<()> {
    let Some(key) = Key::for_alg(alg) else { return not_applicable(format!("the suite makes no {alg} keys")) };
    let call = arena.call(Stage::Token).await?.key(&key);
    accepted(Stage::Token, &arena.send_honest(&call).await?)
}

async fn with_nonce(arena: &Arena) -> Step<()> {
    if let Some(url) = &arena.endpoints.nonce {
        let Some(nonce) = arena.wire.send(&Request::new("GET", url)).await?.header("DPoP-Nonce").map(str::to_owned) else {
            return inconclusive("the place for nonces gives none");
        };
        let call = arena.call(Stage::Any).await?;
        return accepted(call.stage, &arena.send_draft(&call, |draft| draft.claim("nonce", nonce.clone())).await?);
    }
    let call = arena.call(Stage::Any).await?;
    let answer = arena.send_honest(&call).await?;
    if arena.nonce(Role::AuthorizationServer).is_none() {
        return not_applicable("the server hands out no nonces");
    }
    accepted(call.stage, &answer)
}

/// What a server must not refuse: things unknown to it, names of headers in small letters, times within the tolerance.
async fn edges(arena: &Arena) -> Step<()> {
    type Edge = fn(crate::jose::Draft, i64, i64) -> crate::jose::Draft;
    let edges: [(&str, Edge); 6] = [
        ("an unknown header parameter", |draft, _, _| draft.head("x-unknown", "x")),
        ("an unknown claim", |draft, _, _| draft.claim("x-unknown", "x")),
        ("an iat of some seconds ago", |draft, window, _| draft.claim("iat", now() - (window / 2).min(5))),
        ("an iat some seconds ahead", |draft, _, skew| draft.claim("iat", now() + (skew / 2).min(5))),
        ("a query and a fragment on htu", |draft, _, _| {
            let htu = format!("{}?a=b#c", draft.text("htu"));
            draft.claim("htu", htu)
        }),
        ("a jti in the form of a UUID", |draft, _, _| {
            let name = crate::jose::random::<16>().map(|byte| format!("{byte:02x}")).concat();
            draft.claim("jti", format!("{}-{}-4{}-8{}-{}", &name[..8], &name[8..12], &name[13..16], &name[17..20], &name[20..]))
        }),
    ];
    for (what, edge) in edges {
        let call = arena.call(Stage::Any).await?;
        let (window, skew) = (arena.options.window_s, arena.options.skew_s);
        let answer = arena.send_draft(&call, |draft| edge(draft, window, skew)).await?;
        if let Err(crate::halt::Halt::Inconclusive(why)) = accepted(call.stage, &answer) {
            return inconclusive(format!("a proof with {what}: {why}"));
        }
    }
    Ok(())
}
