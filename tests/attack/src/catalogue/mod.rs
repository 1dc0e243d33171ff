//! The catalogue: every attack, and the honest twin that shows that the server does not simply refuse everything.
#![allow(clippy::type_complexity, reason = "a table of attacks is a list of tuples, and nothing else has its type")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use crate::arena::{Arena, Call, Need, Stage};
use crate::halt::Step;
use crate::jose::{Draft, Key};

mod claims;
mod clients;
mod codes;
mod core_rules;
mod exhaustion;
mod export;
mod htu;
mod keys;
mod nonces;
mod proofs;
mod refresh;
mod replay;
mod resources;
mod stories;
mod twins;

pub use export::VERSION;
pub(crate) use export::export;

/// What is attacked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `PRF`: the header line, the JWS and its header.
    Proof,
    /// `JWK`: the key in the header and the signature.
    Key,
    /// `CLM`: the claims and the time.
    Claims,
    /// `HTU`: the URI and the method.
    Htu,
    /// `NON`: nonces.
    Nonce,
    /// `RPL`: replay.
    Replay,
    /// `RFR`: refresh tokens.
    Refresh,
    /// `COD`: authorization codes and pushed requests.
    Code,
    /// `CLI`: client authentication.
    Client,
    /// `RES`: protected resources.
    Resource,
    /// `EXH`: time and memory.
    Exhaustion,
    /// `STO`: sequences of operations.
    Story,
}

impl Family {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 12] = [
        Self::Proof,
        Self::Key,
        Self::Claims,
        Self::Htu,
        Self::Nonce,
        Self::Replay,
        Self::Refresh,
        Self::Code,
        Self::Client,
        Self::Resource,
        Self::Exhaustion,
        Self::Story,
    ];

    /// How its IDs begin.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Proof => "PRF",
            Self::Key => "JWK",
            Self::Claims => "CLM",
            Self::Htu => "HTU",
            Self::Nonce => "NON",
            Self::Replay => "RPL",
            Self::Refresh => "RFR",
            Self::Code => "COD",
            Self::Client => "CLI",
            Self::Resource => "RES",
            Self::Exhaustion => "EXH",
            Self::Story => "STO",
        }
    }

    /// What it is called in reports.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Proof => "Proof syntax and header",
            Self::Key => "Keys and signatures",
            Self::Claims => "Claims and time",
            Self::Htu => "URI and method",
            Self::Nonce => "Nonces",
            Self::Replay => "Replay",
            Self::Refresh => "Refresh tokens",
            Self::Code => "Codes and pushed requests",
            Self::Client => "Client authentication",
            Self::Resource => "Protected resources",
            Self::Exhaustion => "Time and memory",
            Self::Story => "Stories",
        }
    }
}

/// How bad a breach is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Where the RFCs leave the choice, the stricter reading.
    Info,
    /// A rule is broken; nothing follows from it alone.
    Low,
    /// Needs another weakness, or costs an honest client its session.
    Medium,
    /// A stolen token or a recorded proof works.
    High,
    /// Anyone gets tokens.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How the outcome of an attack is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// The answer is 4xx or a redirect that holds nothing, or the connection ends; a token, a request URI or the content of the resource in an answer is a breach.
    Refused,
    /// Of the copies exactly one succeeds.
    AcceptedOnce,
    /// After the attack the honest request works as if nothing had been.
    LeavesNoTrace,
    /// At most one refresh token of the grant is alive.
    OneLeaf,
    /// What was ended stays ended.
    StaysEnded,
    /// The answer has what the specification says it must have.
    WellFormed,
    /// An answer comes in time, and an honest request after it is answered as before.
    Bounded,
    /// Each step of the story is answered as the model says.
    FollowsTheModel,
}

impl Judgement {
    /// In words, for reports and for the exported catalogue.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => {
                "held if the answer is 4xx, a redirect that holds nothing, or the end of the connection; a token, a request_uri or content is a breach"
            }
            Self::AcceptedOnce => "held if exactly one of the copies succeeds",
            Self::LeavesNoTrace => "held if the honest request works afterwards as if nothing had been",
            Self::OneLeaf => "held if at most one refresh token of the grant is alive afterwards",
            Self::StaysEnded => "held if nothing that was ended works again",
            Self::WellFormed => "held if the answer has what the specification says it must have",
            Self::Bounded => "held if an answer comes within 3 s and an honest request is answered afterwards",
            Self::FollowsTheModel => "held if each step of the story is answered as the model of the guarantees says",
        }
    }
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Step<()>> + Send + 'a>>;
type Script = Arc<dyn for<'a> Fn(&'a Arena) -> BoxFuture<'a> + Send + Sync>;
pub(crate) type Forge = Arc<dyn Fn(&Scene) -> Vec<Vec<u8>> + Send + Sync>;

/// What an attack does.
#[derive(Clone)]
pub(crate) enum Body {
    /// Sends an honest call with forged `DPoP` header lines.
    Forge(Stage, Forge),
    /// Anything; the steps in words.
    Script(Vec<String>, Script),
}

/// One attack.
#[derive(Clone)]
pub struct Attack {
    /// Its name, which never changes.
    pub id: String,
    /// Its family.
    pub family: Family,
    /// What it does.
    pub title: String,
    /// Where the rule stands that it tries to break.
    pub section: String,
    /// What a breach would mean.
    pub breach: String,
    /// How bad that would be.
    pub severity: Severity,
    /// How it is judged.
    pub judgement: Judgement,
    /// The ID of the honest twin.
    pub twin: &'static str,
    /// Whether it waits for time to pass.
    pub slow: bool,
    pub(crate) needs: Vec<Need>,
    pub(crate) body: Body,
}

impl Attack {
    /// Marks an attack that waits for time to pass.
    pub(crate) fn slow(&mut self) -> &mut Self {
        self.slow = true;
        self
    }

    /// Adds what it needs.
    pub(crate) fn needs(&mut self, needs: &[Need]) -> &mut Self {
        self.needs.extend(needs);
        self
    }

    /// Sets the twin.
    pub(crate) fn twin(&mut self, twin: &'static str) -> &mut Self {
        self.twin = twin;
        self
    }
}

/// An honest request that must be accepted.
#[derive(Clone)]
pub struct Twin {
    /// Its name, which never changes.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Where it stands that this works.
    pub section: &'static str,
    pub(crate) needs: Vec<Need>,
    pub(crate) script: Script,
}

/// What a forger has at hand.
pub(crate) struct Scene<'a> {
    /// A good proof for the call, not signed yet.
    pub(crate) draft: Draft,
    /// The call it is for.
    pub(crate) call: &'a Call,
    /// A key that has nothing to do with the call.
    pub(crate) stranger: Key,
    /// How long a proof may be used, in seconds.
    pub(crate) window_s: i64,
    /// How far ahead `iat` may lie, in seconds.
    pub(crate) skew_s: i64,
}

/// The attacks and the twins.
pub struct Catalogue {
    /// In the order in which they run.
    pub attacks: Vec<Attack>,
    /// By ID.
    pub twins: BTreeMap<&'static str, Twin>,
}

impl Catalogue {
    /// All of it.
    pub fn new() -> Self {
        let mut attacks = Vec::new();
        attacks.extend(proofs::attacks());
        attacks.extend(keys::attacks());
        attacks.extend(claims::attacks());
        attacks.extend(htu::attacks());
        attacks.extend(nonces::attacks());
        attacks.extend(replay::attacks());
        attacks.extend(refresh::attacks());
        attacks.extend(codes::attacks());
        attacks.extend(clients::attacks());
        attacks.extend(resources::attacks());
        attacks.extend(exhaustion::attacks());
        attacks.extend(stories::attacks());
        Self { attacks, twins: twins::twins().into_iter().map(|twin| (twin.id, twin)).collect() }
    }

    /// The attack or twin with this ID, explained in a few lines.
    pub fn explain(&self, id: &str) -> Option<String> {
        if let Some(twin) = self.twins.values().find(|twin| twin.id.eq_ignore_ascii_case(id)) {
            let used = self.attacks.iter().filter(|attack| attack.twin == twin.id).count();
            return Some(format!(
                "{}  {}\n\nAn honest request ({}). It must be accepted; {used} attacks count only if it is.",
                twin.id, twin.title, twin.section
            ));
        }
        let attack = self.attacks.iter().find(|attack| attack.id.eq_ignore_ascii_case(id))?;
        let twin = self.twins.get(attack.twin).map_or("", |twin| twin.title);
        let mut text = format!(
            "{}  {}\n\nFamily      {}\nRule        {}\nSeverity    {}\nA breach    {}\nJudged      {}\nTwin        {}: {twin}\nNeeds       {}\n",
            attack.id,
            attack.title,
            attack.family.title(),
            attack.section,
            attack.severity.name(),
            attack.breach,
            attack.judgement.words(),
            attack.twin,
            attack.need_words()
        );
        if attack.slow {
            text.push_str("Time        waits for time to pass; runs with --slow only\n");
        }
        text.push_str("\nWhat is sent:\n");
        for line in export::steps(attack) {
            text.push_str(&format!("  {line}\n"));
        }
        Some(text)
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Attack {
    fn need_words(&self) -> String {
        let words: Vec<String> = self.all_needs().iter().map(|need| export::need_name(*need)).collect();
        if words.is_empty() { "nothing but a way to make token requests".to_owned() } else { words.join(", ") }
    }

    /// What it needs, with what its stage needs.
    pub(crate) fn all_needs(&self) -> Vec<Need> {
        let mut needs = match &self.body {
            Body::Forge(Stage::Any, _) | Body::Script(..) => Vec::new(),
            Body::Forge(Stage::Token, _) => vec![Need::Machine],
            Body::Forge(Stage::Refresh, _) => vec![Need::Session],
            Body::Forge(Stage::Par, _) => vec![Need::Par],
            Body::Forge(Stage::Resource, _) => vec![Need::Resource],
        };
        needs.extend(&self.needs);
        needs
    }
}

/// The attacks of one family, as they are written down.
struct List {
    family: Family,
    stage: Stage,
    twin: &'static str,
    attacks: Vec<Attack>,
}

/// The words of an attack: severity, section of RFC 9449 or another specification, title, and what a breach means.
type Words<'a> = (Severity, &'a str, &'a str, &'a str);

impl List {
    const fn new(family: Family, stage: Stage, twin: &'static str) -> Self {
        Self { family, stage, twin, attacks: Vec::new() }
    }

    fn add(&mut self, number: u16, (severity, section, title, breach): Words<'_>, judgement: Judgement, body: Body) -> &mut Attack {
        let section = if section.starts_with(|first: char| first.is_ascii_digit()) {
            format!("RFC 9449 section {section}")
        } else {
            section.to_owned()
        };
        self.attacks.push(Attack {
            id: format!("{}-{number:03}", self.family.prefix()),
            family: self.family,
            title: title.to_owned(),
            section,
            breach: breach.to_owned(),
            severity,
            judgement,
            twin: self.twin,
            slow: false,
            needs: Vec::new(),
            body,
        });
        let last = self.attacks.len() - 1;
        &mut self.attacks[last]
    }

    /// An honest call whose proof is signed after `forge` has changed it.
    fn draft(&mut self, number: u16, words: Words<'_>, forge: impl Fn(Draft) -> Draft + Send + Sync + 'static) -> &mut Attack {
        self.lines(number, words, move |scene| vec![forge(scene.draft.clone()).sign().into_bytes()])
    }

    /// An honest call with the one header value that `forge` makes.
    fn value(&mut self, number: u16, words: Words<'_>, forge: impl Fn(&Scene) -> String + Send + Sync + 'static) -> &mut Attack {
        self.lines(number, words, move |scene| vec![forge(scene).into_bytes()])
    }

    /// An honest call with these header lines.
    fn lines(&mut self, number: u16, words: Words<'_>, forge: impl Fn(&Scene) -> Vec<Vec<u8>> + Send + Sync + 'static) -> &mut Attack {
        let stage = self.stage;
        self.add(number, words, Judgement::Refused, Body::Forge(stage, Arc::new(forge)))
    }

    /// Anything, with its steps in words, separated by line breaks.
    fn script<F>(&mut self, number: u16, words: Words<'_>, judgement: Judgement, steps: &str, run: F) -> &mut Attack
    where
        F: for<'a> Fn(&'a Arena) -> BoxFuture<'a> + Send + Sync + 'static,
    {
        let steps = steps.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        self.add(number, words, judgement, Body::Script(steps, Arc::new(run)))
    }
}

/// Makes a script of an async function that takes the arena, and values that can be copied.
macro_rules! run {
    ($function:path $(, $argument:expr)* $(,)?) => {
        move |arena| Box::pin($function(arena $(, $argument.clone())*))
    };
}
use run;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_attack_has_its_own_id_title_and_twin() {
        let catalogue = Catalogue::new();
        let ids: BTreeSet<&str> = catalogue.attacks.iter().map(|attack| attack.id.as_str()).collect();
        assert_eq!(ids.len(), catalogue.attacks.len(), "an ID is used twice");
        let titles: BTreeSet<&str> = catalogue.attacks.iter().map(|attack| attack.title.as_str()).collect();
        assert_eq!(titles.len(), catalogue.attacks.len(), "a title is used twice");
        for attack in &catalogue.attacks {
            assert!(catalogue.twins.contains_key(attack.twin), "{}: no twin {}", attack.id, attack.twin);
            assert!(attack.id.starts_with(attack.family.prefix()), "{}", attack.id);
            assert!(!attack.breach.is_empty() && !attack.section.is_empty(), "{}", attack.id);
        }
        assert!(catalogue.attacks.len() >= 300, "{} attacks", catalogue.attacks.len());
    }

    #[test]
    fn every_twin_is_needed() {
        let catalogue = Catalogue::new();
        for twin in catalogue.twins.keys() {
            assert!(catalogue.attacks.iter().any(|attack| attack.twin == *twin), "{twin} is no attack's twin");
        }
    }

    #[test]
    fn every_attack_can_be_explained() {
        let catalogue = Catalogue::new();
        for attack in &catalogue.attacks {
            assert!(catalogue.explain(&attack.id).is_some_and(|text| text.contains("What is sent:")), "{}", attack.id);
        }
        assert!(catalogue.explain("prf-001").is_some() && catalogue.explain("XXX-999").is_none());
    }
}
