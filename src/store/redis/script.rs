//! The Lua scripts. Each opens with its contract: keys, arguments, answer, what it touches.

use std::sync::LazyLock;

use redis::Cmd;

/// One script and the digest under which the server remembers it.
pub(super) struct Script {
    source: &'static str,
    digest: LazyLock<String>,
}

/// [`Family::decide`](crate::domain::Family::decide) on a stored record.
pub(super) static ADVANCE: Script =
    Script { source: include_str!("advance.lua"), digest: LazyLock::new(|| digest(include_str!("advance.lua"))) };

/// Ends a family.
pub(super) static REVOKE: Script =
    Script { source: include_str!("revoke.lua"), digest: LazyLock::new(|| digest(include_str!("revoke.lua"))) };

/// Puts back what a failover lost of a family.
pub(super) static MERGE: Script = Script { source: include_str!("merge.lua"), digest: LazyLock::new(|| digest(include_str!("merge.lua"))) };

/// Compare-and-set of the epoch record.
pub(super) static EPOCH: Script = Script { source: include_str!("epoch.lua"), digest: LazyLock::new(|| digest(include_str!("epoch.lua"))) };

/// Takes back a claim that was not relied on.
pub(super) static UNCLAIM: Script =
    Script { source: include_str!("unclaim.lua"), digest: LazyLock::new(|| digest(include_str!("unclaim.lua"))) };

/// Compare-and-set of a short-lived record.
pub(super) static SWAP: Script = Script { source: include_str!("swap.lua"), digest: LazyLock::new(|| digest(include_str!("swap.lua"))) };

/// What a node loads before it uses a connection.
pub(super) static ALL: [&Script; 6] = [&ADVANCE, &REVOKE, &MERGE, &EPOCH, &UNCLAIM, &SWAP];

impl Script {
    /// Runs the script by its digest: the server answers `NOSCRIPT` where it does not know it.
    pub(super) fn by_digest(&self, key: &[u8], args: &[&[u8]]) -> Cmd {
        invocation("EVALSHA", &self.digest, key, args)
    }

    /// Runs the script by its text, which also makes the server remember it.
    pub(super) fn by_source(&self, key: &[u8], args: &[&[u8]]) -> Cmd {
        invocation("EVAL", self.source, key, args)
    }

    /// Makes the server remember the script.
    pub(super) fn load(&self) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(self.source);
        cmd
    }
}

fn invocation(verb: &str, script: &str, key: &[u8], args: &[&[u8]]) -> Cmd {
    let mut cmd = redis::cmd(verb);
    cmd.arg(script).arg(1).arg(key);
    for arg in args {
        cmd.arg(*arg);
    }
    cmd
}

fn digest(source: &str) -> String {
    redis::Script::new(source).get_hash().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Family;

    #[test]
    fn the_numbers_in_the_script_are_those_of_the_state_machine() {
        assert!(ADVANCE.source.contains(&format!("CLONE_GAP_MS = {}\n", Family::CLONE_GAP.as_millis())));
        assert!(ADVANCE.source.contains(&format!("CLONE_GENERATIONS = {}\n", Family::CLONE_GENERATIONS)));
        assert!(ADVANCE.source.contains(&format!("LAST_GENERATION = {}\n", u32::MAX)));
    }

    #[test]
    fn every_script_opens_with_its_contract() {
        for script in ALL {
            assert!(script.source.starts_with("-- "));
            for part in ["-- KEYS[1]", "-- ARGV[1]", "-- Returns", "-- Touches"] {
                assert!(script.source.contains(part), "{part}");
            }
        }
    }
}
