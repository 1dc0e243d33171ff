//! One server: its data, and what each command does to it.

use std::collections::{BTreeMap, BTreeSet};

use super::resp::Reply;
use super::script;

/// A server. Its time is told with each command.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    data: BTreeMap<Vec<u8>, Entry>,
    scripts: BTreeSet<String>,
    pub(crate) run_id: String,
    pub(crate) replication_id: String,
    pub(crate) evicted_keys: u64,
    pub(crate) primary: bool,
    /// How many keys it has room for.
    pub(crate) room: usize,
    /// What was written, in order, since this server became the primary.
    pub(crate) log: Vec<Effect>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    value: Vec<u8>,
    /// By this server's clock, in milliseconds.
    ends: Option<i64>,
}

/// What a write did, as a replica repeats it: the key as it was afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Effect(Vec<u8>, Option<Entry>);

impl Server {
    /// With identifiers that `name` makes unlike all others.
    pub(crate) fn new(name: u64, primary: bool) -> Self {
        Self {
            data: BTreeMap::new(),
            scripts: BTreeSet::new(),
            run_id: format!("{name:040x}"),
            replication_id: format!("{:040x}", name.wrapping_mul(3)),
            evicted_keys: 0,
            primary,
            room: usize::MAX,
            log: Vec::new(),
        }
    }

    /// As after a restart: another run; the data only where it was saved.
    pub(crate) fn restart(&mut self, name: u64, with_data: bool) {
        let data = if with_data { std::mem::take(&mut self.data) } else { BTreeMap::new() };
        *self = Self { data, room: self.room, ..Self::new(name, self.primary) };
    }

    /// Takes over all that `primary` has.
    pub(crate) fn copy_from(&mut self, primary: &Self) {
        self.data.clone_from(&primary.data);
        self.replication_id.clone_from(&primary.replication_id);
        self.primary = false;
        self.log.clear();
    }

    /// Repeats what the primary did.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match &effect.1 {
            Some(entry) => drop(self.data.insert(effect.0.clone(), entry.clone())),
            None => drop(self.data.remove(&effect.0)),
        }
    }

    pub(super) fn get(&self, key: &[u8], now_ms: i64) -> Option<Vec<u8>> {
        let entry = self.data.get(key)?;
        entry.ends.is_none_or(|ends| now_ms < ends).then(|| entry.value.clone())
    }

    pub(super) fn put(&mut self, key: &[u8], value: Vec<u8>, ends: Option<i64>) {
        let entry = Entry { value, ends };
        self.log.push(Effect(key.to_vec(), Some(entry.clone())));
        self.data.insert(key.to_vec(), entry);
    }

    pub(super) fn put_keeping_life(&mut self, key: &[u8], value: Vec<u8>) {
        let ends = self.data.get(key).and_then(|entry| entry.ends);
        self.put(key, value, ends);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.log.push(Effect(key.to_vec(), None));
        self.data.remove(key);
    }

    /// Carries out one command; `WAIT` and `SENTINEL` are not for a server alone.
    ///
    /// # Panics
    /// For a command that the store does not send.
    pub(crate) fn execute(&mut self, words: &[Vec<u8>], now_ms: i64) -> Reply {
        let verb = words[0].to_ascii_uppercase();
        match verb.as_slice() {
            b"PING" => Reply::Text("PONG"),
            b"CLIENT" => Reply::Ok,
            b"INFO" => Reply::Bytes(self.info().into_bytes()),
            b"TIME" => {
                let part = |number: i64| Reply::Bytes(number.to_string().into_bytes());
                Reply::List(vec![part(now_ms.div_euclid(1000)), part(now_ms.rem_euclid(1000) * 1000)])
            }
            b"GET" => self.get(&words[1], now_ms).map_or(Reply::Nil, Reply::Bytes),
            b"MGET" => Reply::List(words[1..].iter().map(|key| self.get(key, now_ms).map_or(Reply::Nil, Reply::Bytes)).collect()),
            b"DEL" => {
                let there = self.get(&words[1], now_ms).is_some();
                self.remove(&words[1]);
                Reply::Int(i64::from(there))
            }
            b"SET" => self.set(words, now_ms),
            b"SCAN" => self.scan(words, now_ms),
            b"SCRIPT" => {
                let digest = redis::Script::new(std::str::from_utf8(&words[2]).expect("a script is text")).get_hash().to_owned();
                self.scripts.insert(digest.clone());
                Reply::Bytes(digest.into_bytes())
            }
            b"EVAL" => {
                let text = String::from_utf8(words[1].clone()).expect("a script is text");
                self.scripts.insert(redis::Script::new(&text).get_hash().to_owned());
                self.script(&text, words, now_ms)
            }
            b"EVALSHA" => {
                let digest = String::from_utf8(words[1].clone()).expect("a digest is text");
                match script::with_digest(&digest).filter(|_| self.scripts.contains(&digest)) {
                    Some(text) => self.script(text, words, now_ms),
                    None => Reply::Error("NOSCRIPT No matching script. Please use EVAL."),
                }
            }
            other => panic!("the store does not send {}", String::from_utf8_lossy(other)),
        }
    }

    fn script(&mut self, text: &str, words: &[Vec<u8>], now_ms: i64) -> Reply {
        if self.is_full(&words[3]) {
            return Reply::Error("OOM command not allowed when used memory > 'maxmemory'.");
        }
        script::run(self, text, &words[3], &words[4..], now_ms)
    }

    fn is_full(&self, key: &[u8]) -> bool {
        self.data.len() >= self.room && !self.data.contains_key(key)
    }

    /// `SET key value [NX] [GET] [PX ms]`.
    fn set(&mut self, words: &[Vec<u8>], now_ms: i64) -> Reply {
        let (key, value) = (&words[1], words[2].clone());
        let option = |name: &[u8]| words[3..].iter().position(|word| word.eq_ignore_ascii_case(name)).map(|at| at + 3);
        if self.is_full(key) {
            return Reply::Error("OOM command not allowed when used memory > 'maxmemory'.");
        }
        let before = self.get(key, now_ms);
        let kept = option(b"NX").is_some() && before.is_some();
        if !kept {
            let ends = option(b"PX").map(|at| now_ms + script::decimal(&words[at + 1]));
            self.put(key, value, ends);
        }
        match (option(b"GET").is_some(), before) {
            (true, before) => before.map_or(Reply::Nil, Reply::Bytes),
            (false, _) if kept => Reply::Nil,
            (false, _) => Reply::Ok,
        }
    }

    /// All of it in one step.
    fn scan(&self, words: &[Vec<u8>], now_ms: i64) -> Reply {
        let at = words.iter().position(|word| word.eq_ignore_ascii_case(b"MATCH")).expect("the store names a pattern");
        let prefix = words[at + 1].strip_suffix(b"*").expect("which ends so");
        let found = self.data.keys().filter(|key| key.starts_with(prefix) && self.get(key, now_ms).is_some());
        Reply::List(vec![Reply::Bytes(b"0".to_vec()), Reply::List(found.map(|key| Reply::Bytes(key.clone())).collect())])
    }

    fn info(&self) -> String {
        let Self { run_id, replication_id, evicted_keys, .. } = self;
        let role = if self.primary { "master" } else { "slave" };
        format!(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:{run_id}\r\n# Persistence\r\nloading:0\r\n# Replication\r\n\
             role:{role}\r\nmaster_replid:{replication_id}\r\n# Stats\r\nevicted_keys:{evicted_keys}\r\n# Memory\r\n\
             maxmemory_policy:noeviction\r\n"
        )
    }
}
