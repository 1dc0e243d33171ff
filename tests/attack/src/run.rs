//! Runs the catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use crate::arena::{Arena, Stage};
use crate::catalogue::{Attack, Body, Catalogue};
use crate::clock::{Stopwatch, now};
use crate::halt::{Halt, Step, inconclusive};
use crate::judge::forged;
use crate::report::{Finding, Outcome, Report, TwinResult};
use crate::target::{Endpoints, MetadataError, Options};
use crate::wire::{BadTrustAnchors, Wire, connector};

/// Why the suite could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server's metadata can't be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The trust anchors can't be used.
    #[error(transparent)]
    TrustAnchors(#[from] BadTrustAnchors),
    /// No attack has such an ID.
    #[error("no attack matches {0}; --list shows the IDs")]
    NothingMatches(String),
    /// No honest token request is possible.
    #[error("no honest token request succeeds, so nothing can be said: {0}")]
    NoHonestRequest(String),
}

/// Runs the attacks that the options select against the server they name.
///
/// `progress` is told before each attack how many are done, how many there are, and what comes.
///
/// # Errors
/// [`RunError`]. A breach is no error: it is in the report.
pub async fn run(options: Options, progress: &(dyn Fn(usize, usize, &str) + Sync)) -> Result<Report, RunError> {
    let catalogue = Catalogue::new();
    let selected: Vec<&Attack> = catalogue.attacks.iter().filter(|attack| selects(&options.only, &attack.id)).collect();
    if selected.is_empty() {
        return Err(RunError::NothingMatches(options.only.join(",")));
    }
    let wire = Wire::new(connector(options.ca_file.as_deref())?, options.peer.clone(), options.timeout);
    let endpoints = Endpoints::discover(&wire, &options.issuer, options.metadata_url.as_ref()).await?;
    let (started, watch) = (now(), Stopwatch::start());
    let summary = options.summary();
    let arena = Arena::new(options, endpoints, wire);
    let mut runner = Runner { arena: &arena, catalogue: &catalogue, twins: BTreeMap::new() };
    match runner.twin("TWN-001").await {
        Ok(()) => {}
        Err(Halt::Breach(why) | Halt::Inconclusive(why) | Halt::NotApplicable(why)) => return Err(RunError::NoHonestRequest(why)),
    }
    let mut findings = Vec::new();
    for (done, attack) in selected.iter().enumerate() {
        progress(done, selected.len(), &format!("{} {}", attack.id, attack.title));
        findings.push(runner.attack(attack).await);
    }
    progress(selected.len(), selected.len(), "");
    let twins = runner.once_more(&mut findings).await;
    Ok(Report {
        catalogue_version: crate::catalogue::VERSION,
        suite_version: env!("CARGO_PKG_VERSION"),
        options: summary,
        issuer: arena.endpoints.issuer.clone(),
        started,
        seconds: watch.elapsed().as_secs_f64(),
        twins,
        findings,
    })
}

/// Progress for people: one line on stderr that is written over, where stderr is a terminal.
pub fn progress_line(done: usize, all: usize, what: &str) {
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        let line: String = if what.is_empty() { String::new() } else { format!("{done:>4}/{all}  {what}").chars().take(100).collect() };
        eprint!("\r\x1b[2K{line}");
    }
}

/// Whether an ID is selected: by itself, by a pattern with `*`, or because nothing is.
pub(crate) fn selects(only: &[String], id: &str) -> bool {
    only.is_empty() || only.iter().any(|pattern| matches(&pattern.to_ascii_uppercase(), id))
}

fn matches(pattern: &str, id: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == id || (pattern.len() == 3 && id.starts_with(pattern)),
        Some((start, rest)) => id
            .strip_prefix(start)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.is_char_boundary(at) && (rest.is_empty() || matches(rest, &tail[at..])))),
    }
}

struct Runner<'a> {
    arena: &'a Arena,
    catalogue: &'a Catalogue,
    twins: BTreeMap<&'static str, (Step<()>, Vec<String>)>,
}

impl Runner<'_> {
    /// Runs a twin once, and remembers how it went.
    async fn twin(&mut self, id: &'static str) -> Step<()> {
        if let Some((step, _)) = self.twins.get(id) {
            return step.clone();
        }
        let step = self.run_twin(id).await;
        self.twins.insert(id, (step.clone(), self.arena.take_trail()));
        step
    }

    async fn run_twin(&self, id: &str) -> Step<()> {
        let Some(twin) = self.catalogue.twins.get(id) else { return inconclusive(format!("there is no twin {id}")) };
        for need in &twin.needs {
            self.arena.needs(*need)?;
        }
        (twin.script)(self.arena).await
    }

    async fn attack(&mut self, attack: &Attack) -> Finding {
        let watch = Stopwatch::start();
        let step = self.fire(attack).await;
        if matches!(step, Err(Halt::Breach(_) | Halt::Inconclusive(_))) {
            self.arena.forget_shared().await;
        }
        let (outcome, detail) = match step {
            Ok(()) => (Outcome::Refused, String::new()),
            Err(Halt::Breach(what)) => (Outcome::Breach, what),
            Err(Halt::Inconclusive(why)) => (Outcome::Inconclusive, why),
            Err(Halt::NotApplicable(why)) => (Outcome::NotApplicable, why),
        };
        let millis = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        Finding::of(attack, outcome, detail, self.arena.take_trail(), millis)
    }

    async fn fire(&mut self, attack: &Attack) -> Step<()> {
        if attack.slow && !self.arena.options.slow {
            return Err(Halt::NotApplicable("waits for time to pass: --slow".to_owned()));
        }
        for need in attack.all_needs() {
            self.arena.needs(need)?;
        }
        match self.twin(attack.twin).await {
            Ok(()) => {}
            Err(Halt::NotApplicable(why)) => return Err(Halt::NotApplicable(why)),
            Err(Halt::Breach(why) | Halt::Inconclusive(why)) => return inconclusive(format!("its twin {} failed: {why}", attack.twin)),
        }
        match &attack.body {
            Body::Script(_, script) => script(self.arena).await,
            Body::Forge(stage, forge) => {
                let call = self.arena.call(*stage).await?;
                forged(self.arena, &call, forge).await?;
                self.control(*stage).await
            }
        }
    }

    /// The same call honestly, right after it was refused with a forged proof: so that the refusal was that of the proof.
    async fn control(&self, stage: Stage) -> Step<()> {
        let call = self.arena.call(stage).await?;
        let answer = self.arena.send_honest(&call).await?;
        match crate::judge::accepted(call.stage, &answer) {
            Err(Halt::Inconclusive(why)) => inconclusive(format!("right after it: {why}")),
            other => other,
        }
    }

    /// Runs every twin again: what was refused after a twin stopped working was refused for another reason.
    async fn once_more(&mut self, findings: &mut [Finding]) -> Vec<TwinResult> {
        self.arena.forget_shared().await;
        let mut results = Vec::new();
        let ids: BTreeSet<&'static str> = self.twins.keys().copied().collect();
        for id in ids {
            let Some((first, trail)) = self.twins.get(id).cloned() else { continue };
            let title = self.catalogue.twins.get(id).map_or("", |twin| twin.title);
            let second = if first.is_ok() { self.run_twin(id).await } else { first.clone() };
            let _forgotten = self.arena.take_trail();
            let (outcome, detail) = match (&first, &second) {
                (Ok(()), Ok(())) => (Outcome::Refused, String::new()),
                (Ok(()), Err(Halt::Breach(why) | Halt::Inconclusive(why) | Halt::NotApplicable(why))) => {
                    for finding in findings.iter_mut().filter(|finding| finding.twin == id && finding.outcome == Outcome::Refused) {
                        finding.outcome = Outcome::Inconclusive;
                        finding.detail = format!("its twin {id} failed when all was done: {why}");
                    }
                    (Outcome::Inconclusive, format!("at the end: {why}"))
                }
                (Err(Halt::NotApplicable(why)), _) => (Outcome::NotApplicable, why.clone()),
                (Err(Halt::Breach(why) | Halt::Inconclusive(why)), _) => (Outcome::Inconclusive, why.clone()),
            };
            results.push(TwinResult { id, title, outcome, detail, trail });
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_selected_by_name_prefix_and_pattern() {
        let only = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        assert!(selects(&[], "PRF-001"));
        assert!(selects(&only(&["prf-001"]), "PRF-001"));
        assert!(selects(&only(&["PRF"]), "PRF-001") && !selects(&only(&["PRF"]), "JWK-001"));
        assert!(selects(&only(&["RF*", "PRF-0*"]), "PRF-012") && !selects(&only(&["PRF-1*"]), "PRF-012"));
        assert!(selects(&only(&["*-012"]), "PRF-012") && selects(&only(&["*"]), "PRF-012") && !selects(&only(&["P*X"]), "PRF-012"));
    }
}
