//! A replay-attack suite for servers that speak DPoP (RFC 9449).
//!
//! The suite is a black box: it reads the server's metadata, plays its clients over HTTP, and fires a catalogue of attacks. It shares no
//! code with the servers it is aimed at; its HTTP and its JOSE are its own, since both have to be able to do what is wrong.
//!
//! Every attack has an honest twin that must be accepted in the same run, so that a server that refuses everything passes nothing.
//! [`run`] gives a [`Report`]; `docs/attack-suite.md` describes the catalogue, the reports and the exported contract.
//!
//! What it does **not** do: it finds no fault that needs another client's secrets or the server's own keys, does not measure timing side
//! channels, and says nothing of what was not applicable.

mod arena;
mod catalogue;
mod clock;
mod halt;
mod jose;
mod judge;
mod model;
mod report;
mod run;
mod target;
mod wire;

pub use catalogue::{Attack, Catalogue, Family, Judgement, Severity, Twin, VERSION};
pub use jose::{BadKey, Key};
pub use report::{Counts, Finding, Outcome, Report, TwinResult};
pub use run::{RunError, progress_line, run};
pub use target::{Client, ClientAuth, MetadataError, Options, Restart, TokenSource};
pub use wire::BadTrustAnchors;

impl Catalogue {
    /// The catalogue as JSON for other suites: inputs, judgements, and a version. See `docs/attack-suite.md`.
    pub fn export(&self) -> serde_json::Value {
        catalogue::export(self)
    }

    /// The attacks that these patterns select, in the order in which they run. All where there are none.
    pub fn selected<'a>(&'a self, only: &'a [String]) -> impl Iterator<Item = &'a Attack> {
        self.attacks.iter().filter(|attack| run::selects(only, &attack.id))
    }
}
