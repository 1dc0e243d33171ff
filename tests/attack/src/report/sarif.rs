//! SARIF 2.1.0, for code scanning dashboards.

use serde_json::{Value, json};

use super::{Finding, Outcome, Report};
use crate::catalogue::Severity;

pub(super) fn sarif(report: &Report) -> Value {
    let rules: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "name": finding.id.replace('-', ""),
                "shortDescription": {"text": finding.title},
                "fullDescription": {"text": format!("{}: {}.", finding.section, finding.breach)},
                "help": {"text": format!("{} A breach means: {}. {}.", finding.section, finding.breach, finding.judgement.words())},
                "defaultConfiguration": {"level": level(finding.severity)},
                "properties": {"security-severity": score(finding.severity), "tags": ["security", "dpop", finding.family.prefix()]},
            })
        })
        .collect();
    let results: Vec<Value> = report.findings.iter().enumerate().filter_map(|(index, finding)| result(report, index, finding)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "keybound attack",
                "version": report.suite_version,
                "semanticVersion": report.suite_version,
                "rules": rules,
            }},
            "invocations": [{"executionSuccessful": true, "startTimeUtc": super::utc(report.started)}],
            "results": results,
        }],
    })
}

fn result(report: &Report, index: usize, finding: &Finding) -> Option<Value> {
    let (kind, level) = match finding.outcome {
        Outcome::Breach => ("fail", level(finding.severity)),
        Outcome::Inconclusive => ("open", "none"),
        Outcome::Refused | Outcome::NotApplicable => return None,
    };
    Some(json!({
        "ruleId": finding.id,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": format!("{}: {}", finding.title, finding.detail)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": report.issuer}},
            "logicalLocations": [{"name": finding.family.title(), "kind": "module"}],
        }],
        "partialFingerprints": {"attack/v1": format!("{}@{}", finding.id, report.issuer)},
        "properties": {"trail": finding.trail},
    }))
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Low | Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    }
}

const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "0.0",
        Severity::Low => "3.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}
