//! A table for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Counts, Finding, Outcome, Report};

const RED: &str = "31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const BOLD: &str = "1";

pub(super) fn table(report: &Report, color: bool) -> String {
    let paint = |text: &str, code: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = format!("\n{}\n\n", paint(&format!("{} attacks on {}", report.findings.len(), report.issuer), BOLD));
    let head = format!("{:<28}{:>9}{:>9}{:>14}{:>16}", "", "refused", "BREACH", "inconclusive", "not applicable");
    // Writing to a string does not fail; nor below.
    let _written = writeln!(text, "{head}");
    for (family, counts) in report.families() {
        let _written = writeln!(text, "{}", row(family.title(), counts, &paint));
    }
    let _written = writeln!(text, "{}", row("all", report.counts(), &paint));

    section(&mut text, report, Outcome::Breach, &|finding| {
        format!(
            "{}  {:<9}{}\n           {}. {}\n           {}",
            paint(&finding.id, RED),
            finding.severity.name(),
            finding.title,
            finding.section,
            capital(&finding.breach),
            finding.detail
        )
    });
    section(&mut text, report, Outcome::Inconclusive, &|finding| {
        format!("{}  {:<9}{}\n           {}", paint(&finding.id, YELLOW), finding.severity.name(), finding.title, finding.detail)
    });
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| finding.outcome == Outcome::NotApplicable) {
        reasons.entry(&finding.detail).or_default().push(&finding.id);
    }
    if !reasons.is_empty() {
        text.push_str("\nNot applicable, and why:\n");
        for (reason, ids) in reasons {
            let _written = writeln!(text, "  {:>4}  {reason} ({})", ids.len(), shortened(&ids));
        }
    }
    let failed: Vec<String> = report
        .twins
        .iter()
        .filter(|twin| twin.words() == "FAILED")
        .map(|twin| format!("{} {}: {}", twin.id, twin.title, twin.detail))
        .collect();
    let applicable = report.twins.iter().filter(|twin| twin.outcome != Outcome::NotApplicable).count();
    let _written = writeln!(text, "\nHonest twins: {} of {applicable} accepted, before and after.", applicable - failed.len());
    for twin in failed {
        let _written = writeln!(text, "  {}", paint(&twin, RED));
    }
    let counts = report.counts();
    let verdict = if counts.breach + counts.inconclusive == 0 {
        paint("All that applied was refused.", GREEN)
    } else {
        paint("Not all was refused.", RED)
    };
    let _written = writeln!(text, "{verdict}  {:.1} s, catalogue {}", report.seconds, report.catalogue_version);
    text
}

fn row(name: &str, counts: Counts, paint: &dyn Fn(&str, &str) -> String) -> String {
    let cell = |count: usize, width: usize, code: &str| {
        let text = format!("{:>width$}", if count == 0 { "-".to_owned() } else { count.to_string() });
        if count == 0 || code.is_empty() { text } else { paint(&text, code) }
    };
    format!(
        "{name:<28}{}{}{}{}",
        cell(counts.refused, 9, GREEN),
        cell(counts.breach, 9, RED),
        cell(counts.inconclusive, 14, YELLOW),
        cell(counts.not_applicable, 16, "")
    )
}

fn section(text: &mut String, report: &Report, outcome: Outcome, line: &dyn Fn(&Finding) -> String) {
    let findings = report.worst(outcome);
    if findings.is_empty() {
        return;
    }
    let _written = writeln!(text, "\n{}, worst first:", if outcome == Outcome::Breach { "Breaches" } else { "Inconclusive" });
    for finding in findings {
        let _written = writeln!(text, "  {}", line(finding));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn shortened(ids: &[&str]) -> String {
    match ids {
        [first, .., last] if ids.len() > 4 => format!("{first} … {last}"),
        _ => ids.join(", "),
    }
}
