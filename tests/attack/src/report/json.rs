//! JSON.

use serde_json::{Value, json};

use super::{Report, utc};

/// The version of this form of the report.
const FORMAT: &str = "1.0";

pub(super) fn json(report: &Report) -> Value {
    json!({
        "format": "keybound-attack-report",
        "format_version": FORMAT,
        "catalogue_version": report.catalogue_version,
        "suite_version": report.suite_version,
        "issuer": report.issuer,
        "started": utc(report.started),
        "seconds": (report.seconds * 1000.0).round() / 1000.0,
        "options": report.options,
        "counts": report.counts(),
        "twins": report.twins,
        "attacks": report.findings,
    })
}
