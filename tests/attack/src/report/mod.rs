//! What came of a run, and the forms in which it can be told.

use serde::Serialize;
use serde_json::Value;

use crate::catalogue::{Attack, Family, Judgement, Severity};

mod html;
mod json;
mod junit;
mod sarif;
mod table;

/// How an attack ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server held.
    Refused,
    /// The server gave in.
    Breach,
    /// Nothing can be said. Counts as a failure.
    Inconclusive,
    /// The server does not have it, or the suite was not given what it needs. Never a pass.
    NotApplicable,
}

impl Outcome {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Breach => "BREACH",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// What came of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The ID of the attack.
    pub id: String,
    /// Its family.
    pub family: Family,
    /// What it does.
    pub title: String,
    /// The rule.
    pub section: String,
    /// What a breach means.
    pub breach: String,
    /// How bad that is.
    pub severity: Severity,
    /// How it was judged.
    pub judgement: Judgement,
    /// The honest twin.
    pub twin: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it is not refused.
    pub detail: String,
    /// What was sent and answered, without secrets.
    pub trail: Vec<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl Finding {
    /// What came of `attack`.
    pub(crate) fn of(attack: &Attack, outcome: Outcome, detail: String, trail: Vec<String>, millis: u64) -> Self {
        Self {
            id: attack.id.clone(),
            family: attack.family,
            title: attack.title.clone(),
            section: attack.section.clone(),
            breach: attack.breach.clone(),
            severity: attack.severity,
            judgement: attack.judgement,
            twin: attack.twin,
            outcome,
            detail,
            trail,
            millis,
        }
    }
}

/// What came of one twin.
#[derive(Clone, Debug, Serialize)]
pub struct TwinResult {
    /// Its ID.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// `Refused` stands for "as it must be": the honest request was accepted, before and after.
    #[serde(serialize_with = "accepted")]
    pub outcome: Outcome,
    /// Why, where it was not accepted.
    pub detail: String,
    /// What was sent and answered.
    pub trail: Vec<String>,
}

impl TwinResult {
    /// In words.
    pub const fn words(&self) -> &'static str {
        match self.outcome {
            Outcome::Refused => "accepted",
            Outcome::Breach | Outcome::Inconclusive => "FAILED",
            Outcome::NotApplicable => "not applicable",
        }
    }
}

fn accepted<S: serde::Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match outcome {
        Outcome::Refused => "accepted",
        Outcome::Breach | Outcome::Inconclusive => "failed",
        Outcome::NotApplicable => "not_applicable",
    })
}

/// How many attacks ended in which way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Counts {
    /// The server held.
    pub refused: usize,
    /// The server gave in.
    pub breach: usize,
    /// Nothing can be said.
    pub inconclusive: usize,
    /// It did not apply.
    pub not_applicable: usize,
}

/// What came of a run. Holds no secret, token or proof.
#[derive(Clone, Debug)]
pub struct Report {
    /// The version of the catalogue.
    pub catalogue_version: &'static str,
    /// The version of the suite.
    pub suite_version: &'static str,
    /// What the suite was told.
    pub options: Value,
    /// The issuer.
    pub issuer: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// How long it took.
    pub seconds: f64,
    /// The honest requests.
    pub twins: Vec<TwinResult>,
    /// The attacks, in the order in which they ran.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many ended in which way.
    pub fn counts(&self) -> Counts {
        Self::count(self.findings.iter())
    }

    fn count<'a>(findings: impl Iterator<Item = &'a Finding>) -> Counts {
        let mut counts = Counts::default();
        for finding in findings {
            match finding.outcome {
                Outcome::Refused => counts.refused += 1,
                Outcome::Breach => counts.breach += 1,
                Outcome::Inconclusive => counts.inconclusive += 1,
                Outcome::NotApplicable => counts.not_applicable += 1,
            }
        }
        counts
    }

    /// Whether the run failed: a breach of this severity or a worse one, or an attack or twin of which nothing can be said.
    pub fn fails(&self, fail_on: Severity) -> bool {
        let failed = |finding: &Finding| match finding.outcome {
            Outcome::Breach => finding.severity >= fail_on,
            Outcome::Inconclusive => true,
            Outcome::Refused | Outcome::NotApplicable => false,
        };
        self.findings.iter().any(failed) || self.twins.iter().any(|twin| twin.words() == "FAILED")
    }

    /// The attacks that ended in this way, worst first.
    pub fn worst(&self, outcome: Outcome) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().filter(|finding| finding.outcome == outcome).collect();
        findings.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.id.cmp(&other.id)));
        findings
    }

    /// The families that ran, each with its counts.
    fn families(&self) -> Vec<(Family, Counts)> {
        let ran = |family: &Family| self.findings.iter().any(|finding| finding.family == *family);
        Family::ALL
            .into_iter()
            .filter(ran)
            .map(|family| (family, Self::count(self.findings.iter().filter(|finding| finding.family == family))))
            .collect()
    }

    /// A table for the terminal; with `color` it uses colours.
    pub fn table(&self, color: bool) -> String {
        table::table(self, color)
    }

    /// The whole report as JSON.
    pub fn json(&self) -> Value {
        json::json(self)
    }

    /// JUnit XML: a suite for each family, a case for each attack.
    pub fn junit(&self) -> String {
        junit::junit(self)
    }

    /// SARIF 2.1.0: a rule for each attack, a result for each breach and each attack of which nothing can be said.
    pub fn sarif(&self) -> Value {
        sarif::sarif(self)
    }

    /// One HTML page that needs nothing else: no network, no script of anyone else.
    pub fn html(&self) -> String {
        html::html(self)
    }
}

/// A date and time in UTC, by the proleptic Gregorian calendar.
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that the leap day ends the year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Text as XML and HTML have it. Characters that no XML document may hold are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    /// A report with each outcome in it.
    pub(crate) fn example() -> Report {
        let catalogue = Catalogue::new();
        let outcomes = [Outcome::Refused, Outcome::Breach, Outcome::Inconclusive, Outcome::NotApplicable];
        let finding = |(index, attack): (usize, &Attack)| {
            let detail = if index % 4 == 0 { String::new() } else { "the server said <script>alert(\"x\")</script> & more".to_owned() };
            Finding::of(attack, outcomes[index % 4], detail, vec!["POST /token with 1 proof(s): 400 invalid_dpop_proof".to_owned()], 3)
        };
        Report {
            catalogue_version: "1.0",
            suite_version: "0.1.0",
            options: serde_json::json!({"issuer": "https://as.example"}),
            issuer: "https://as.example".to_owned(),
            started: 951_782_400,
            seconds: 1.5,
            twins: vec![TwinResult {
                id: "TWN-001",
                title: "A token request",
                outcome: Outcome::Refused,
                detail: String::new(),
                trail: Vec::new(),
            }],
            findings: catalogue.attacks.iter().take(40).enumerate().map(finding).collect(),
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(4_107_542_399), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn a_run_fails_by_severity_and_by_doubt() {
        let mut report = example();
        assert!(report.fails(Severity::Critical), "what can't be said is a failure");
        report.findings.retain(|finding| finding.outcome == Outcome::Refused);
        assert!(!report.fails(Severity::Info));
        let mut breach = example().findings.into_iter().find(|finding| finding.outcome == Outcome::Breach).expect("a breach");
        breach.severity = Severity::Low;
        report.findings.push(breach);
        assert!(report.fails(Severity::Low) && !report.fails(Severity::Medium));
        report.findings.clear();
        report.twins[0].outcome = Outcome::Inconclusive;
        assert!(report.fails(Severity::Critical), "a twin that fails is a failure");
    }

    #[test]
    fn no_report_lets_text_become_markup() {
        let report = example();
        assert!(!report.html().contains("<script>alert"));
        assert!(!report.junit().contains("<script>"));
    }
}
