//! A Redis Cluster: three primaries with a replica each, real processes.

use std::time::Duration;

use ::redis::Value;

use crate::redis::{RedisServer, free_port};
use crate::time::Stopwatch;

/// How many slots there are.
const SLOTS: usize = 16_384;

/// Three primaries and three replicas. All end when this is dropped.
#[derive(Debug)]
pub struct ClusterRedis {
    nodes: Vec<RedisServer>,
    bus_ports: Vec<u16>,
    relayed: bool,
}

impl ClusterRedis {
    /// Starts three primaries with a third of the slots each, and a replica of each; a node counts as down after a second. Slots that nobody
    /// serves don't stop the others.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// The same with a relay in front of each server, through which clients and replicas reach it. The servers' own talk does not pass there.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn start_relayed() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(relayed: bool) -> Self {
        let mut cluster = Self { nodes: Vec::new(), bus_ports: Vec::new(), relayed };
        for _ in 0..6 {
            cluster.add_node().await;
        }
        for number in 1..6 {
            cluster.meet(number).await;
        }
        for number in 0..3 {
            let (first, last) = (number * SLOTS / 3, (number + 1) * SLOTS / 3 - 1);
            cluster.tell(number, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        }
        cluster.until_known(6).await;
        for number in 3..6 {
            let primary = cluster.id(number - 3).await;
            cluster.tell(number, &["CLUSTER", "REPLICATE", &primary]).await;
        }
        cluster.until_healthy().await;
        cluster
    }

    /// Starts a node that is no member yet; returns its number.
    async fn add_node(&mut self) -> usize {
        let bus = free_port();
        let bus_text = bus.to_string();
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus_text,
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-replica-migration",
            "no",
            "--cluster-replica-validity-factor",
            "0",
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let node = if self.relayed { RedisServer::start_relayed(&options).await } else { RedisServer::start(&options).await };
        self.nodes.push(node);
        self.bus_ports.push(bus);
        self.tell(self.nodes.len() - 1, &["CLUSTER", "SET-CONFIG-EPOCH", &self.nodes.len().to_string()]).await;
        self.nodes.len() - 1
    }

    /// Adds a primary that has no slots; returns its number.
    ///
    /// # Panics
    /// Where it does not become a member that answers.
    pub async fn add_primary(&mut self) -> usize {
        let number = self.add_node().await;
        self.meet(number).await;
        self.until_known(self.nodes.len()).await;
        let watch = Stopwatch::start();
        while self.info(number, "cluster_state").await != "ok" {
            assert!(watch.elapsed() < Duration::from_secs(30), "the new node does not take part");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        number
    }

    async fn meet(&self, number: usize) {
        let (port, bus) = (self.nodes[number].port().to_string(), self.bus_ports[number].to_string());
        self.tell(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    }

    /// Two primaries and a replica, as the configuration names them.
    pub fn urls(&self) -> Vec<String> {
        [0, 1, 5].map(|number: usize| format!("redis://127.0.0.1:{}", self.nodes[number].face())).to_vec()
    }

    /// The servers; the first three were the first primaries, and the one three further on was the replica of each.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The number of the node that has this slot, by the word of the nodes that are up.
    ///
    /// # Panics
    /// Where nobody has it.
    pub async fn owner(&self, slot: u16) -> usize {
        self.owner_or_none(slot).await.unwrap_or_else(|| panic!("nobody has slot {slot}"))
    }

    async fn owner_or_none(&self, slot: u16) -> Option<usize> {
        let mut latest = None;
        for node in self.nodes.iter().filter(|node| !node.is_down()) {
            // One that is stopped does not answer.
            let told = tokio::time::timeout(Duration::from_secs(1), node.command(&["CLUSTER", "NODES"])).await;
            let Ok(Ok(Value::BulkString(text))) = told else { continue };
            for line in String::from_utf8_lossy(&text).lines() {
                let fields: Vec<&str> = line.split(' ').collect();
                let has = fields.iter().skip(8).any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
                });
                let epoch: u64 = fields[6].parse().expect("a configuration epoch");
                if has && latest.is_none_or(|(known, _)| known < epoch) {
                    let port = fields[1].split(['@', ',']).next().and_then(|address| address.rsplit_once(':')).expect("an address").1;
                    let number = self.nodes.iter().position(|node| node.face().to_string() == port).expect("a node of this cluster");
                    latest = Some((epoch, number));
                }
            }
        }
        latest.map(|(_, number)| number)
    }

    /// The slot of a key.
    ///
    /// # Panics
    /// Where no node answers.
    pub async fn slot_of(&self, key: &[u8]) -> u16 {
        for node in self.nodes.iter().filter(|node| !node.is_down()) {
            if let Ok(Value::Int(slot)) = node.command(&[b"CLUSTER".as_slice(), b"KEYSLOT", key]).await {
                return u16::try_from(slot).expect("a slot");
            }
        }
        panic!("no node answers");
    }

    /// Ends the node that has this slot with SIGKILL, and waits until another one has it and can be written to; returns the number of the one that
    /// was ended.
    ///
    /// # Panics
    /// Where that takes longer than 30 s.
    pub async fn fail_over(&self, slot: u16) -> usize {
        let before = self.owner(slot).await;
        self.nodes[before].kill();
        self.until_moved_from(slot, before).await;
        before
    }

    /// Waits until another node than this one has the slot, and says that it is a primary.
    ///
    /// # Panics
    /// Where that takes longer than 30 s.
    pub async fn until_moved_from(&self, slot: u16, number: usize) {
        let watch = Stopwatch::start();
        loop {
            if let Some(owner) = self.owner_or_none(slot).await
                && owner != number
                && self.nodes[owner].info("role").await == "master"
                && self.info(owner, "cluster_state").await == "ok"
            {
                return;
            }
            assert!(watch.elapsed() < Duration::from_secs(30), "no replica takes over slot {slot}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts every node that is down, and waits until every primary has its replica again.
    ///
    /// # Panics
    /// Where that does not come about.
    pub async fn heal(&self) {
        for node in self.nodes.iter().filter(|node| node.is_down()) {
            node.restart().await;
        }
        self.until_healthy().await;
    }

    /// Waits until every node knows all slots to be served and every primary that has some is followed by a replica.
    ///
    /// # Panics
    /// Where that takes longer than 60 s.
    pub async fn until_healthy(&self) {
        let watch = Stopwatch::start();
        while !self.is_healthy().await {
            assert!(watch.elapsed() < Duration::from_secs(60), "the cluster does not become whole");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_healthy(&self) -> bool {
        let mut followed = 0;
        for (number, node) in self.nodes.iter().enumerate() {
            if self.info(number, "cluster_state").await != "ok" || self.info(number, "cluster_slots_ok").await != SLOTS.to_string() {
                return false;
            }
            match node.info("role").await.as_str() {
                "master" if node.info_or("slave0", "").await.contains("state=online") => followed += 1,
                "master" => {}
                _ if node.info_or("master_link_status", "").await != "up" => return false,
                _ => {}
            }
        }
        followed >= 3
    }

    /// Moves a slot with all its keys to the node `to`, step by step as `redis-cli` does it.
    ///
    /// # Panics
    /// Where a server refuses.
    pub async fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).await;
        self.begin_move(slot, from, to).await;
        while self.move_keys(slot, from, to, 10).await > 0 {}
        self.end_move(slot, from, to).await;
    }

    /// Opens a slot for moving: keys that `from` does not hold are at `to`.
    ///
    /// # Panics
    /// Where a server refuses.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (source, destination) = (self.id(from).await, self.id(to).await);
        self.tell(to, &["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &source]).await;
        self.tell(from, &["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &destination]).await;
    }

    /// Moves some keys of an open slot; returns how many it found.
    ///
    /// # Panics
    /// Where a server refuses.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> usize {
        let Value::Array(keys) = self.tell(from, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &most.to_string()]).await else {
            panic!("no list of keys");
        };
        let port = self.nodes[to].port().to_string();
        let mut command: Vec<Vec<u8>> =
            ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].map(|word| word.as_bytes().to_vec()).to_vec();
        let found = keys.len();
        command.extend(keys.into_iter().map(|key| match key {
            Value::BulkString(key) => key,
            other => panic!("no key: {other:?}"),
        }));
        if found > 0 {
            self.nodes[from].command(&command).await.expect("MIGRATE");
        }
        found
    }

    /// Gives an open slot to `to`, which has all keys by now.
    ///
    /// # Panics
    /// Where a server refuses.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) {
        let destination = self.id(to).await;
        for number in [to, from] {
            self.tell(number, &["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &destination]).await;
        }
    }

    async fn id(&self, number: usize) -> String {
        match self.tell(number, &["CLUSTER", "MYID"]).await {
            Value::BulkString(id) => String::from_utf8(id).expect("an id"),
            other => panic!("no id: {other:?}"),
        }
    }

    async fn until_known(&self, nodes: usize) {
        let watch = Stopwatch::start();
        for number in 0..self.nodes.len() {
            while self.info(number, "cluster_known_nodes").await != nodes.to_string() {
                assert!(watch.elapsed() < Duration::from_secs(30), "the nodes don't get to know each other");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// One value of `CLUSTER INFO`; empty where the node does not tell it.
    async fn info(&self, number: usize, name: &str) -> String {
        let Ok(Value::BulkString(text)) = self.nodes[number].command(&["CLUSTER", "INFO"]).await else { return String::new() };
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned)).unwrap_or_default()
    }

    async fn tell(&self, number: usize, words: &[&str]) -> Value {
        self.nodes[number].command(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}
