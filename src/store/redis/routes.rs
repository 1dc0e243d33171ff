//! The primaries that this node uses, and which of them has which slot.
//!
//! On a single server or behind sentinels there is one, for ever. In a cluster the map is read from all primaries and seeds, once a
//! second, and at once where a server redirects or is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use keybound_proofs::UnixTime;
use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::map::{SlotMap, View};
use super::primary::{Address, Members, Primary};
use super::shard::Shard;
use super::wire::{Fault, ask_each};
use crate::store::StoreError;

/// How often the map is read while nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// It is read no more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a server without slots is remembered after a slot began to move there.
const GUEST_STAY: Duration = Duration::from_secs(60);

/// How many members are asked for the map at a time.
const ASKED: usize = 16;

/// The primaries in use.
pub(super) struct Routes {
    table: RwLock<Arc<Table>>,
    cluster: Option<Cluster>,
    next_number: AtomicU64,
}

/// Who has what.
#[derive(Clone, Default)]
struct Table {
    /// Ordered by their first slot.
    shards: Vec<Arc<Shard>>,
    /// For each slot, which of `shards`; empty where one has everything.
    owners: Vec<u16>,
    /// Servers to which slots are moving and that have none yet.
    guests: Vec<(Arc<Shard>, UnixTime)>,
}

impl Table {
    fn owner(&self, slot: u16) -> Option<&Arc<Shard>> {
        match self.owners.get(usize::from(slot)) {
            Some(number) => self.shards.get(usize::from(*number)),
            None => self.shards.first(),
        }
    }

    fn at(&self, address: &Address) -> Option<&Arc<Shard>> {
        let guests = self.guests.iter().map(|(shard, _)| shard);
        self.shards.iter().chain(guests).find(|shard| shard.address.as_ref() == Some(address))
    }
}

/// How a cluster's map is read.
struct Cluster {
    members: Members,
    /// Connections to members, for the map alone. Held while it is read.
    scouts: Mutex<HashMap<Address, MultiplexedConnection>>,
    /// Counts the readings that were begun.
    begun: AtomicU64,
    wanted: Notify,
    silent: AtomicBool,
}

impl Routes {
    /// `cluster` where there is one; without, the one primary is added by [`Routes::only`].
    pub(super) fn new(cluster: Option<Members>) -> Self {
        let cluster = cluster.map(|members| Cluster {
            members,
            scouts: Mutex::default(),
            begun: AtomicU64::new(0),
            wanted: Notify::new(),
            silent: AtomicBool::new(false),
        });
        Self { table: RwLock::default(), cluster, next_number: AtomicU64::new(0) }
    }

    /// Gives everything to one primary.
    pub(super) fn only(&self, shard: Arc<Shard>) {
        *self.table.write() = Arc::new(Table { shards: vec![shard], ..Table::default() });
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Who has the slot, as far as this node knows.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Shard>> {
        self.table.read().owner(slot).cloned()
    }

    /// Whether any primary can be asked.
    pub(super) fn any(&self) -> bool {
        self.table.read().shards.iter().any(|shard| shard.lanes.any())
    }

    /// All primaries that have slots, ordered by the first of them.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        self.table.read().shards.clone()
    }

    /// The primary whose first slot is `first` or the next after it, and its first slot.
    pub(super) fn from(&self, first: u16) -> Option<(u16, Arc<Shard>)> {
        let table = Arc::clone(&self.table.read());
        if table.owners.is_empty() {
            return table.shards.first().filter(|_| first == 0).map(|shard| (0, Arc::clone(shard)));
        }
        let begins = |number: usize| table.owners.iter().position(|&owner| usize::from(owner) == number);
        let firsts = table.shards.iter().enumerate().filter_map(|(number, shard)| Some((u16::try_from(begins(number)?).ok()?, shard)));
        firsts.filter(|(begins, _)| *begins >= first).min_by_key(|(begins, _)| *begins).map(|(begins, shard)| (begins, Arc::clone(shard)))
    }

    /// A slot that this primary has, if it has any.
    pub(super) fn some_slot_of(&self, shard: &Shard) -> Option<u16> {
        let table = self.table.read();
        let number = table.shards.iter().position(|present| present.number == shard.number)?;
        if table.owners.is_empty() {
            return Some(0);
        }
        table.owners.iter().position(|&owner| usize::from(owner) == number).and_then(|slot| u16::try_from(slot).ok())
    }

    /// Has the map read soon, where there is one.
    pub(super) fn want_map(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.wanted.notify_one();
        }
    }

    /// Retires all of them, guests too.
    pub(super) fn retire_all(&self, why: &StoreError) {
        let table = Arc::clone(&self.table.read());
        let guests = table.guests.iter().map(|(shard, _)| shard);
        table.shards.iter().chain(guests).for_each(|shard| shard.retire(why.clone()));
    }
}

impl Shared {
    /// A primary of the cluster.
    fn member(&self, members: &Members, address: &Address) -> Result<Arc<Shard>, StoreError> {
        let primary = Primary::Member(members.client(address)?);
        Ok(Arc::new(Shard::new(self.routes.next_number(), primary, Some(address.clone()), &self.options)))
    }

    /// Reads the map for the first time. The primaries have no connections yet.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where the seeds are no members of a cluster; [`StoreError::Unavailable`] where none can be reached, or not
    /// every slot is served.
    pub(super) async fn first_map(&self) -> Result<(), StoreError> {
        let Some(cluster) = &self.routes.cluster else { return Ok(()) };
        let map = self.read_map(cluster, &mut *cluster.scouts.lock().await).await?;
        if !map.is_whole() {
            return Err(StoreError::Unavailable("redis: not every slot of the cluster is served".to_owned()));
        }
        self.install(cluster, &map)?;
        Ok(())
    }

    /// Keeps the map for as long as the store is open.
    pub(super) async fn keep_map(self: Arc<Self>) {
        let Some(cluster) = &self.routes.cluster else { return };
        while !self.closed.load(Ordering::Acquire) {
            // Either way it is time to look: the result only tells which came first.
            let _ = timeout(EVERY, cluster.wanted.notified()).await;
            self.refresh(cluster).await;
            sleep(SHORTEST_PAUSE).await;
        }
    }

    /// Reads the map before a connection is used that was made after trouble: a server that stood still for a while still takes itself for
    /// what it was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the others know better.
    pub(super) async fn confirm(&self, shard: &Shard) -> Result<(), StoreError> {
        if let Some(cluster) = &self.routes.cluster {
            self.refresh(cluster).await;
            if shard.is_retired() {
                return Err(StoreError::Unavailable("redis: the server has no slots any more".to_owned()));
            }
        }
        Ok(())
    }

    /// What a server means that says that `slot` is at `address`: the server there, once this node uses it.
    pub(super) async fn moved(&self, slot: u16, address: Address) -> Option<Arc<Shard>> {
        let cluster = self.routes.cluster.as_ref()?;
        {
            let mut table = self.routes.table.write();
            if let Some(number) = table.shards.iter().position(|shard| shard.address.as_ref() == Some(&address)) {
                let owner = u16::try_from(number).ok()?;
                // The server's word goes until the map is read again.
                Arc::make_mut(&mut table).owners[usize::from(slot)] = owner;
                cluster.wanted.notify_one();
                return table.shards.get(number).cloned();
            }
        }
        self.refresh(cluster).await;
        let table = Arc::clone(&self.routes.table.read());
        table.at(&address).or_else(|| table.owner(slot)).cloned()
    }

    /// The server at `address`, to which a slot is moving; it may have none yet.
    pub(super) fn guest(&self, address: Address) -> Option<Arc<Shard>> {
        let cluster = self.routes.cluster.as_ref()?;
        let until = self.clock.now().plus(GUEST_STAY);
        let mut table = self.routes.table.write();
        if let Some(shard) = table.at(&address) {
            return Some(Arc::clone(shard));
        }
        let shard = self.member(&cluster.members, &address).ok()?;
        Arc::make_mut(&mut table).guests.push((Arc::clone(&shard), until));
        drop(table);
        shard.keep(&self.me.upgrade()?);
        Some(shard)
    }

    /// Reads the map and goes by it. Where a reading that began after this call has ended meanwhile, that is enough.
    async fn refresh(&self, cluster: &Cluster) {
        let before = cluster.begun.load(Ordering::Acquire);
        let mut scouts = cluster.scouts.lock().await;
        if cluster.begun.load(Ordering::Acquire) > before {
            return;
        }
        cluster.begun.fetch_add(1, Ordering::AcqRel);
        let outcome = self.read_map(cluster, &mut scouts).await.and_then(|map| self.install(cluster, &map));
        match outcome {
            Ok(fresh) => {
                cluster.silent.store(false, Ordering::Relaxed);
                let Some(me) = self.me.upgrade() else { return };
                fresh.iter().for_each(|shard| shard.keep(&me));
            }
            Err(trouble) => {
                if !cluster.silent.swap(true, Ordering::Relaxed) {
                    tracing::warn!(reason = %trouble, "the map of the redis cluster can't be read");
                }
            }
        }
    }

    /// Asks primaries and seeds, all at once, and joins what they say.
    async fn read_map(&self, cluster: &Cluster, scouts: &mut HashMap<Address, MultiplexedConnection>) -> Result<SlotMap, StoreError> {
        let mut asked: Vec<Address> = self.routes.shards().iter().filter_map(|shard| shard.address.clone()).collect();
        for seed in cluster.members.seeds() {
            if !asked.contains(seed) {
                asked.push(seed.clone());
            }
        }
        asked.truncate(ASKED);
        scouts.retain(|address, _| asked.contains(address));
        let asking = asked.into_iter().map(|address| {
            let scout = scouts.get(&address).cloned();
            let patience = self.options.connect_timeout + self.options.command_timeout;
            async move {
                let answer = timeout(patience, self.view_of(cluster, &address, scout)).await;
                (address, answer.unwrap_or_else(|_| Err(Fault::Lost.into_store_error())))
            }
        });
        let (mut views, mut trouble) = (Vec::new(), None);
        for (address, answer) in join_all(asking).await {
            match answer {
                Ok((view, scout)) => {
                    scouts.insert(address, scout);
                    views.push(view);
                }
                Err(reason) => {
                    scouts.remove(&address);
                    // What makes a server unfit is more to the point than that another one is away.
                    if !matches!(trouble, Some(StoreError::Unfit(_))) {
                        trouble = Some(reason);
                    }
                }
            }
        }
        SlotMap::of(&views).ok_or_else(|| trouble.unwrap_or_else(|| StoreError::Unavailable("redis: the cluster has no slots".to_owned())))
    }

    async fn view_of(
        &self,
        cluster: &Cluster,
        address: &Address,
        scout: Option<MultiplexedConnection>,
    ) -> Result<(View, MultiplexedConnection), StoreError> {
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("CLUSTER").arg("SLOTS");
        questions.cmd("CLUSTER").arg("NODES");
        let scout = match scout {
            Some(scout) => scout,
            None => self.connection(&cluster.members.client(address)?).await?,
        };
        let answers = ask_each(&scout, &questions).await.map_err(Fault::into_store_error)?;
        let [slots, nodes]: [Result<Value, _>; 2] = answers.try_into().map_err(|_| super::odd_answer())?;
        let (Ok(slots), Ok(nodes)) = (slots, nodes) else {
            return Err(StoreError::Unfit(
                "redis: a server of `urls` is no member of a cluster, or the user may not use CLUSTER SLOTS and CLUSTER NODES".to_owned(),
            ));
        };
        Ok((View::read(slots, nodes, address).ok_or_else(super::odd_answer)?, scout))
    }

    /// Goes by `map`; returns the primaries that are new and have no connections yet.
    fn install(&self, cluster: &Cluster, map: &SlotMap) -> Result<Vec<Arc<Shard>>, StoreError> {
        let now = self.clock.now();
        let mut table = self.routes.table.write();
        let (mut shards, mut fresh) = (Vec::with_capacity(map.primaries.len()), Vec::new());
        for address in &map.primaries {
            let shard = match table.at(address) {
                Some(known) => Arc::clone(known),
                None => {
                    let shard = self.member(&cluster.members, address)?;
                    fresh.push(Arc::clone(&shard));
                    shard
                }
            };
            shards.push(shard);
        }
        let has_slots = |shard: &Arc<Shard>| shards.iter().any(|present| present.number == shard.number);
        let (guests, gone): (Vec<_>, Vec<_>) = table
            .guests
            .iter()
            .cloned()
            .chain(table.shards.iter().map(|shard| (Arc::clone(shard), now)))
            .filter(|(shard, _)| !has_slots(shard))
            .partition(|(_, until)| *until > now);
        let moved = table.owners != map.owners || table.shards.len() != shards.len();
        *table = Arc::new(Table { shards, owners: map.owners.clone(), guests });
        drop(table);
        for (shard, _) in gone {
            shard.retire(StoreError::Unavailable("redis: the server has no slots any more".to_owned()));
        }
        if moved || !fresh.is_empty() {
            // Whoever has a bucket that it did not have before is looked at.
            self.routes.shards().iter().for_each(|shard| shard.lanes.doubt(0));
        }
        Ok(fresh)
    }
}
