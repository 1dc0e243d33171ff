//! Which server is the primary: the configured one, or the one that the sentinels name.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, Value};
use tokio::sync::Mutex;

use super::dial::Dial;
use super::wire::{Fault, Refused, Request, ask};
use super::{RedisOptions, bytes};
use crate::secret::Secret;
use crate::store::StoreError;

/// Host and port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Address(pub(super) String, pub(super) u16);

impl Address {
    /// The same, with the host of `asked` where none is named.
    pub(super) fn or_host_of(self, asked: Option<&Self>) -> Self {
        match asked {
            Some(asked) if self.0.is_empty() => Self(asked.0.clone(), self.1),
            _ => self,
        }
    }

    /// A URL without credentials and database.
    fn url(&self, tls: bool) -> String {
        let scheme = if tls { "rediss" } else { "redis" };
        format!("{scheme}://{}:{}", bracketed(&self.0), self.1)
    }
}

/// How to reach the primary now.
pub(super) struct Found {
    /// Makes connections to it.
    pub(super) client: Client,
    /// Where sentinels say that it is; `None` where nobody watches it.
    pub(super) address: Option<Arc<Address>>,
}

/// Finds the primary.
pub(super) enum Primary {
    /// The one server of the configuration.
    Fixed(Client),
    /// Whichever the sentinels name.
    Watched(Sentinels),
    /// This server of a cluster, for as long as the map of the cluster names it.
    Member(Client),
}

/// How to reach the members of a cluster.
pub(super) struct Members {
    seeds: Vec<Address>,
    settings: RedisConnectionInfo,
    /// Whether they are spoken to over TLS, as the last seed is.
    tls: bool,
}

impl Members {
    /// # Errors
    /// [`StoreError::Unfit`] for a malformed URL, or one with a database: a cluster has only one.
    pub(super) fn of(urls: &[Secret<String>]) -> Result<Self, StoreError> {
        let mut members = Self { seeds: Vec::new(), settings: RedisConnectionInfo::default(), tls: false };
        for url in urls {
            let info = connection_info(url.expose())?;
            members.settings = info.redis_settings().clone();
            if members.settings.db() != 0 {
                return Err(StoreError::Unfit("redis: a cluster has one database; leave the number out of `urls`".to_owned()));
            }
            let (address, tls) = match info.addr() {
                ConnectionAddr::Tcp(host, port) => (Address(host.clone(), *port), false),
                ConnectionAddr::TcpTls { host, port, .. } => (Address(host.clone(), *port), true),
                _ => return Err(StoreError::Unfit("redis: the members of a cluster are reached over TCP".to_owned())),
            };
            members.seeds.push(address);
            members.tls = tls;
        }
        Ok(members)
    }

    /// The servers that the configuration names.
    pub(super) fn seeds(&self) -> &[Address] {
        &self.seeds
    }

    /// Makes connections to the member at `address`.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where the address is none.
    pub(super) fn client(&self, address: &Address) -> Result<Client, StoreError> {
        client(connection_info(&address.url(self.tls))?.set_redis_settings(self.settings.clone()))
    }
}

impl Primary {
    /// # Errors
    /// [`StoreError::Unfit`] for a malformed URL.
    pub(super) fn of(options: &RedisOptions, dial: &Arc<dyn Dial>) -> Result<Self, StoreError> {
        match &options.sentinel {
            None => Ok(Self::Fixed(client(connection_info(options.url.expose())?)?)),
            Some(watched) => {
                let mut sentinels = Vec::new();
                let (mut settings, mut tls) = (RedisConnectionInfo::default(), false);
                for url in &watched.urls {
                    let info = connection_info(url.expose())?;
                    settings = info.redis_settings().clone();
                    tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
                    sentinels.push(Sentinel::new(info, Arc::clone(dial))?);
                }
                if sentinels.is_empty() {
                    return Err(StoreError::Unfit("redis: no sentinel is configured".to_owned()));
                }
                Ok(Self::Watched(Sentinels { sentinels, master: watched.master.clone(), settings, tls, timeout: options.connect_timeout }))
            }
        }
    }

    /// Where to connect to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where no sentinel answers, or none knows a primary that is up.
    pub(super) async fn find(&self) -> Result<Found, StoreError> {
        match self {
            Self::Fixed(client) | Self::Member(client) => Ok(Found { client: client.clone(), address: None }),
            Self::Watched(sentinels) => {
                let address = sentinels.agree().await?;
                let info = connection_info(&address.url(sentinels.tls))?.set_redis_settings(sentinels.settings.clone());
                Ok(Found { client: client(info)?, address: Some(Arc::new(address)) })
            }
        }
    }

    /// Whether the server at `address` is still the primary as far as anyone says. Where no sentinel answers, the server's own word
    /// counts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the sentinels name another one.
    pub(super) async fn confirm(&self, address: Option<&Address>) -> Result<(), StoreError> {
        let (Self::Watched(sentinels), Some(address)) = (self, address) else { return Ok(()) };
        match sentinels.agree().await {
            Ok(named) if named != *address => Err(unavailable("the sentinels name another primary")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What it means that a server says that it is a replica: a mistake of the configuration, or a failover that is under way.
    pub(super) fn replica(&self, refusal: StoreError) -> StoreError {
        match self {
            Self::Fixed(_) => refusal,
            Self::Watched(_) => unavailable("the server that the sentinels name does not say yet that it is the primary"),
            Self::Member(_) => unavailable("the server that the cluster names does not say that it is a primary"),
        }
    }
}

/// The sentinels of one primary.
pub(super) struct Sentinels {
    sentinels: Vec<Sentinel>,
    master: String,
    settings: RedisConnectionInfo,
    /// Whether the servers are spoken to over TLS, as the last sentinel is.
    tls: bool,
    timeout: Duration,
}

impl Sentinels {
    /// Asks all of them at once and believes the one that has seen the latest failover: one that was cut off names a primary of the past.
    async fn agree(&self) -> Result<Address, StoreError> {
        let answers = join_all(self.sentinels.iter().map(|sentinel| sentinel.ask(&self.master, self.timeout))).await;
        let mut latest: Option<Named> = None;
        let mut reached = false;
        for answer in answers.into_iter().flatten() {
            reached = true;
            latest = match (answer, latest) {
                (Some(named), Some(before)) if before.config_epoch >= named.config_epoch => Some(before),
                (Some(named), _) => Some(named),
                (None, before) => before,
            };
        }
        match latest {
            Some(named) => Ok(named.address),
            None if reached => Err(StoreError::Unavailable(format!("redis: no sentinel knows a primary named {}", self.master))),
            None => Err(unavailable("no sentinel can be reached")),
        }
    }
}

/// One sentinel, with the connection to it where there is one.
struct Sentinel {
    dial: Arc<dyn Dial>,
    client: Client,
    /// With the credentials of the URL: only used where the sentinel asks for some.
    with_credentials: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What a sentinel says of a primary.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    address: Address,
    /// Grows with each failover.
    config_epoch: u64,
}

impl Sentinel {
    fn new(info: ConnectionInfo, dial: Arc<dyn Dial>) -> Result<Self, StoreError> {
        let plain = info.clone().set_redis_settings(RedisConnectionInfo::default());
        let settings = info.redis_settings().clone().set_db(0);
        let (client, with_credentials) = (client(plain)?, client(info.set_redis_settings(settings))?);
        Ok(Self { dial, client, with_credentials, connection: Mutex::new(None) })
    }

    /// `None` where it can't be asked; `Some(None)` where it knows no such primary.
    async fn ask(&self, master: &str, within: Duration) -> Option<Option<Named>> {
        let asking = async {
            let mut kept = self.connection.lock().await;
            let mut question = redis::cmd("SENTINEL");
            question.arg("MASTER").arg(master);
            for client in [&self.client, &self.with_credentials] {
                let connection = match kept.take() {
                    Some(connection) => connection,
                    None => self.connect(client, within).await?,
                };
                match ask(&connection, &Request::Command(&question)).await {
                    Ok(mut answers) => {
                        *kept = Some(connection);
                        return Some(answers.pop().and_then(named));
                    }
                    Err(Fault::Refused(Refused::Denied)) => {}
                    Err(Fault::Refused(_)) => {
                        *kept = Some(connection);
                        return Some(None);
                    }
                    // A connection that was kept may have ended long ago: once more with a new one.
                    Err(_) => {}
                }
            }
            None
        };
        tokio::time::timeout(within * 2, asking).await.ok().flatten()
    }

    async fn connect(&self, client: &Client, within: Duration) -> Option<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(within)).set_response_timeout(Some(within));
        self.dial.dial(client, &config).await.ok()
    }
}

/// Reads the answer to `SENTINEL MASTER`: names and values in turn.
fn named(answer: Value) -> Option<Named> {
    let pairs: Vec<(Value, Value)> = match answer {
        Value::Map(pairs) => pairs,
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            std::iter::from_fn(|| Some((parts.next()?, parts.next()?))).collect()
        }
        _ => return None,
    };
    let mut told = std::collections::HashMap::new();
    for (name, value) in pairs {
        told.insert(bytes(name).ok()??, String::from_utf8(bytes(value).ok()??).ok()?);
    }
    let text = |name: &str| told.get(name.as_bytes());
    let address = Address(text("ip")?.clone(), text("port")?.parse().ok()?);
    Some(Named { address, config_epoch: text("config-epoch")?.parse().ok()? })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, StoreError> {
    let info = url.into_connection_info().map_err(|_| malformed())?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(StoreError::Unfit("redis: TLS without a look at the certificate is no TLS; leave `#insecure` out".to_owned()));
    }
    Ok(info)
}

fn client(info: ConnectionInfo) -> Result<Client, StoreError> {
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(|_| malformed())
}

fn malformed() -> StoreError {
    StoreError::Unfit("redis: the url is not `redis://[user[:password]@]host[:port][/database]`, with `rediss://` for TLS".to_owned())
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(format!("redis: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn what_a_sentinel_says_is_read_in_both_versions_of_the_protocol() {
        let words = ["name", "mymaster", "ip", "10.0.0.7", "port", "6379", "flags", "master", "config-epoch", "12"];
        let expected = Some(Named { address: Address("10.0.0.7".to_owned(), 6379), config_epoch: 12 });
        assert_eq!(named(Value::Array(words.map(text).to_vec())), expected);
        assert_eq!(named(Value::Map(words.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect())), expected);
        for broken in [Value::Nil, Value::Okay, Value::Array(vec![]), Value::Array(vec![text("ip"), text("10.0.0.7")])] {
            assert_eq!(named(broken), None);
        }
    }

    /// A2: the urls may hold a password.
    #[test]
    fn a_url_that_is_malformed_is_not_repeated() {
        for url in ["postgres://user:hunter2@127.0.0.1", "rediss://user:hunter2@127.0.0.1/#insecure"] {
            let refused = connection_info(url).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        for url in ["redis://user:hunter2@127.0.0.1:6379/0", "rediss://user:hunter2@127.0.0.1:6379/0"] {
            assert!(connection_info(url).is_ok());
        }
    }

    #[test]
    fn the_seeds_of_a_cluster_are_addresses_without_a_database() {
        let members = |url: &str| Members::of(&[Secret::new(url.to_owned())]);
        let seeds = members("rediss://user:hunter2@redis-1.example.test:6380").expect("good").seeds;
        assert_eq!(seeds, [Address("redis-1.example.test".to_owned(), 6380)]);
        assert!(members("redis://127.0.0.1:6379/0").is_ok());
        for url in ["redis://user:hunter2@127.0.0.1:6379/1", "unix:///run/redis.sock", "http://127.0.0.1"] {
            assert!(!members(url).err().expect("refused").to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_redirection_without_a_host_leads_to_the_host_that_was_asked() {
        let asked = Address("10.0.0.1".to_owned(), 1);
        assert_eq!(Address(String::new(), 2).or_host_of(Some(&asked)), Address("10.0.0.1".to_owned(), 2));
        assert_eq!(Address("10.0.0.2".to_owned(), 2).or_host_of(Some(&asked)), Address("10.0.0.2".to_owned(), 2));
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets() {
        assert_eq!((bracketed("::1"), bracketed("10.0.0.7")), ("[::1]".to_owned(), "10.0.0.7".to_owned()));
    }
}
