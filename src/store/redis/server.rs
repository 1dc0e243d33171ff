//! What a server says about itself, and whether it may hold claims and families.

use std::time::Duration;

use keybound_proofs::UnixTime;

use crate::store::StoreError;

/// The oldest Redis that can record a claim in one step: `SET` takes `NX` and `GET` together since 7.0.
const OLDEST: (u32, u32) = (7, 0);

/// A node whose clock differs from the server's by more than this is not used: the epoch's begin would be told wrongly, and two nodes
/// would be further apart than the ledger allows for (`clock_spread`, 5 s).
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_millis(2500);

/// Length of a run id and of a replication id, in hexadecimal characters.
pub(super) const RUN_ID_LEN: usize = 40;

/// One answer to `INFO`, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// Changes at every start of the server.
    pub(super) run_id: [u8; RUN_ID_LEN],
    /// Changes at every failover.
    pub(super) replication_id: [u8; RUN_ID_LEN],
    /// Keys thrown out for want of memory since the start, or since the statistics were reset.
    pub(super) evicted_keys: u64,
    /// What happens at `maxmemory`; `None` where the server does not say.
    pub(super) policy: Option<String>,
}

impl Facts {
    /// Reads the text of `INFO` and refuses a server that can't keep what is entrusted to it. The policy is judged by
    /// [`require_noeviction`], because it may have to be asked for separately. `cluster` where it should be a member of one.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] with what to change; [`StoreError::Unavailable`] while it loads its data;
    /// [`StoreError::Unreadable`] where the text lacks what every supported server says.
    pub(super) fn read(info: &str, cluster: bool) -> Result<Self, StoreError> {
        require_version(info)?;
        match field(info, "role") {
            Some("master") => {}
            Some(_) => return Err(unfit("it is a replica; configure the address of the primary")),
            None => return Err(lacks("role")),
        }
        let member = field(info, "redis_mode") == Some("cluster") || field(info, "cluster_enabled") == Some("1");
        if member && !cluster {
            return Err(unfit("it runs in cluster mode; set `topology = \"cluster\"`, or configure a standalone server"));
        }
        if cluster && !member {
            return Err(unfit("it does not run in cluster mode; set `topology = \"standalone\"`, or configure members of a cluster"));
        }
        if field(info, "loading") == Some("1") {
            return Err(StoreError::Unavailable("redis is still loading its data".to_owned()));
        }
        Ok(Self {
            run_id: identifier(info, "run_id")?,
            replication_id: identifier(info, "master_replid")?,
            evicted_keys: field(info, "evicted_keys").and_then(|n| n.parse().ok()).ok_or_else(|| lacks("evicted_keys"))?,
            policy: field(info, "maxmemory_policy").map(str::to_owned),
        })
    }
}

/// A policy other than `noeviction` lets the server forget claims when memory is short.
///
/// # Errors
/// [`StoreError::Unfit`] with what to change.
pub(super) fn require_noeviction(policy: Option<&str>) -> Result<(), StoreError> {
    match policy {
        Some("noeviction") => Ok(()),
        Some(other) => {
            Err(unfit(&format!("its maxmemory-policy is `{other}`, under which it forgets used proofs; set `maxmemory-policy noeviction`")))
        }
        None => Err(unfit("it does not tell its maxmemory-policy; allow INFO (section memory) or CONFIG GET to this user")),
    }
}

/// Compares the server's clock, read between `asked` and `answered` by this node's.
///
/// Returns the most ms by which this node's clock can be ahead: a begin of an epoch is rather told too late than too early.
///
/// # Errors
/// [`StoreError::Unfit`] where they are more than [`CLOCK_TOLERANCE`] apart, however long the answer took.
pub(super) fn clock_lead(server: UnixTime, asked: UnixTime, answered: UnixTime) -> Result<i64, StoreError> {
    let apart = asked.since(server).max(server.since(answered));
    if apart > CLOCK_TOLERANCE {
        return Err(unfit(&format!(
            "its clock and this machine's are {:.1} s apart, more than {:.1} s; synchronise both (NTP)",
            apart.as_secs_f64(),
            CLOCK_TOLERANCE.as_secs_f64()
        )));
    }
    Ok(answered.as_millis().saturating_sub(server.as_millis()))
}

/// Whether the server says that it is a replica.
pub(super) fn is_replica(info: &str) -> bool {
    field(info, "role") == Some("slave")
}

/// Redis from 7.0 on; Valkey, which began at 7.2.
fn require_version(info: &str) -> Result<(), StoreError> {
    if field(info, "server_name") == Some("valkey") || field(info, "valkey_version").is_some() {
        return Ok(());
    }
    let version = field(info, "redis_version").ok_or_else(|| lacks("redis_version"))?;
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => Ok(()),
        (Some(Ok(_)), Some(Ok(_))) => Err(unfit(&format!(
            "it is Redis {version}, which can't record a proof in one step; use Redis {}.{} or later, or Valkey",
            OLDEST.0, OLDEST.1
        ))),
        _ => Err(StoreError::Unreadable("redis tells a version that is not a number".to_owned())),
    }
}

/// The value of `name:value` on a line of its own.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

fn identifier(info: &str, name: &str) -> Result<[u8; RUN_ID_LEN], StoreError> {
    field(info, name).and_then(|text| text.as_bytes().try_into().ok()).ok_or_else(|| lacks(name))
}

fn lacks(name: &str) -> StoreError {
    StoreError::Unreadable(format!("redis does not tell its `{name}`"))
}

fn unfit(what: &str) -> StoreError {
    StoreError::Unfit(format!("redis: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN_ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn info(server: &str, role: &str, rest: &str) -> String {
        format!(
            "# Server\r\n{server}\r\nrun_id:{RUN_ID}\r\n# Replication\r\nrole:{role}\r\nmaster_replid:{RUN_ID}\r\n\
             # Stats\r\nevicted_keys:3\r\n{rest}\r\n"
        )
    }

    fn refusal(info: &str) -> String {
        Facts::read(info, false).expect_err("refused").to_string()
    }

    #[test]
    fn redis_before_7_0_is_refused_with_what_to_do_and_7_0_is_taken() {
        for old in ["redis_version:6.2.14", "redis_version:5.0.7", "redis_version:6.9.99"] {
            let text = refusal(&info(old, "master", ""));
            assert!(text.contains(old.split(':').nth(1).unwrap()) && text.contains("7.0 or later, or Valkey"), "{text}");
        }
        for good in ["redis_version:7.0.0", "redis_version:7.0.15", "redis_version:7.4.2", "redis_version:8.0.1", "redis_version:10.0"] {
            assert!(Facts::read(&info(good, "master", ""), false).is_ok(), "{good}");
        }
    }

    #[test]
    fn valkey_is_taken_whatever_redis_version_it_claims() {
        for good in [
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0",
            "redis_version:7.2.4\r\nserver_name:valkey",
            "redis_version:7.2.4\r\nvalkey_version:7.2.5",
        ] {
            assert!(Facts::read(&info(good, "master", ""), false).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_version_that_is_no_number_is_refused() {
        for odd in ["redis_version:", "redis_version:unstable", "redis_version:7", "os:Linux"] {
            assert!(matches!(Facts::read(&info(odd, "master", ""), false), Err(StoreError::Unreadable(_))), "{odd}");
        }
    }

    #[test]
    fn a_replica_a_cluster_and_a_loading_server_are_refused_and_a_primary_is_taken() {
        let good = "redis_version:7.0.15\r\nredis_mode:standalone";
        assert!(refusal(&info(good, "slave", "")).contains("address of the primary"));
        assert!(refusal(&info("redis_version:7.0.15\r\nredis_mode:cluster", "master", "")).contains("cluster mode"));
        assert!(matches!(Facts::read(&info(good, "master", "loading:1"), false), Err(StoreError::Unavailable(_))));
        let member = info("redis_version:7.0.15\r\nredis_mode:cluster", "master", "");
        assert!(Facts::read(&member, true).is_ok());
        assert!(Facts::read(&info(good, "master", ""), true).expect_err("refused").to_string().contains("cluster mode"));
        let facts = Facts::read(&info(good, "master", "loading:0\r\nmaxmemory_policy:noeviction"), false).unwrap();
        assert_eq!(facts.evicted_keys, 3);
        assert_eq!(facts.run_id, RUN_ID.as_bytes());
        assert_eq!(facts.policy.as_deref(), Some("noeviction"));
    }

    #[test]
    fn only_noeviction_is_a_fit_policy() {
        assert_eq!(require_noeviction(Some("noeviction")), Ok(()));
        for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"] {
            let text = require_noeviction(Some(policy)).unwrap_err().to_string();
            assert!(text.contains(policy) && text.contains("maxmemory-policy noeviction"), "{text}");
        }
        assert!(require_noeviction(None).unwrap_err().to_string().contains("CONFIG GET"));
    }

    #[test]
    fn clocks_two_and_a_half_seconds_apart_are_taken_and_a_millisecond_more_is_refused() {
        let server = UnixTime::from_secs(1_700_000_000);
        for (node_ms, fit) in [(2500, true), (2501, false), (-2500, true), (-2501, false), (0, true)] {
            let node = UnixTime::from_millis(server.as_millis() + node_ms);
            assert_eq!(clock_lead(server, node, node).ok(), fit.then_some(node_ms), "{node_ms}");
        }
    }

    #[test]
    fn a_slow_answer_is_no_difference_of_clocks() {
        let server = UnixTime::from_secs(1_700_000_000);
        let at = |ms: i64| UnixTime::from_millis(server.as_millis() + ms);
        assert_eq!(clock_lead(server, at(-9000), at(9000)), Ok(9000));
        assert!(clock_lead(server, at(2501), at(9000)).is_err());
        assert!(clock_lead(server, at(-9000), at(-2501)).is_err());
    }
}
