//! Counts of what happens too often to be an event each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;

/// What this process answered at its gateway listeners since it started, by reason.
///
/// A reason is a fixed text of this program: nothing of a request becomes a label.
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    /// Counts one answer.
    pub fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    /// All counts in the text format of Prometheus.
    pub fn to_prometheus(&self) -> String {
        let mut text = format!("# HELP {NAME} Answers to API gateways, by reason.\n# TYPE {NAME} counter\n");
        for (reason, count) in &*self.0.lock() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{NAME}{{reason=\"{reason}\"}} {count}");
        }
        text
    }
}

const NAME: &str = "keybound_gateway_answers_total";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_line() {
        let counters = Counters::default();
        for reason in ["allowed", "gateway_misconfigured", "allowed"] {
            counters.count(reason);
        }
        let text = counters.to_prometheus();
        assert!(text.contains("{reason=\"allowed\"} 2\n") && text.contains("{reason=\"gateway_misconfigured\"} 1\n"), "{text}");
    }
}
