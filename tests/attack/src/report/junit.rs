//! JUnit XML.

use std::fmt::Write as _;

use super::{Outcome, Report, escaped, utc};

pub(super) fn junit(report: &Report) -> String {
    let counts = report.counts();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut line = |text: String| {
        xml.push_str(&text);
        xml.push('\n');
    };
    line(format!(
        "<testsuites name=\"keybound attack\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
        report.findings.len(),
        counts.breach,
        counts.inconclusive,
        counts.not_applicable,
        report.seconds
    ));
    for (family, counts) in report.families() {
        let findings: Vec<_> = report.findings.iter().filter(|finding| finding.family == family).collect();
        let millis: u64 = findings.iter().map(|finding| finding.millis).sum();
        line(format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\">",
            escaped(family.title()),
            findings.len(),
            counts.breach,
            counts.inconclusive,
            counts.not_applicable,
            seconds(millis),
            utc(report.started).trim_end_matches('Z')
        ));
        for finding in findings {
            let mut case = format!(
                "    <testcase classname=\"{}\" name=\"{} {}\" time=\"{}\"",
                family.prefix(),
                finding.id,
                escaped(&finding.title),
                seconds(finding.millis)
            );
            let trail = finding.trail.join("\n");
            // Writing to a string does not fail.
            let _written = match finding.outcome {
                Outcome::Refused => write!(case, "/>"),
                Outcome::Breach => write!(
                    case,
                    "><failure type=\"{}\" message=\"{}\">{}</failure></testcase>",
                    finding.severity.name(),
                    escaped(&finding.detail),
                    escaped(&format!("{}\n{}\n{trail}", finding.section, finding.breach))
                ),
                Outcome::Inconclusive => {
                    write!(
                        case,
                        "><error type=\"inconclusive\" message=\"{}\">{}</error></testcase>",
                        escaped(&finding.detail),
                        escaped(&trail)
                    )
                }
                Outcome::NotApplicable => write!(case, "><skipped message=\"{}\"/></testcase>", escaped(&finding.detail)),
            };
            line(case);
        }
        line("  </testsuite>".to_owned());
    }
    line("</testsuites>".to_owned());
    xml
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
