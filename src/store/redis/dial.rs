//! How a connection is made: over the network, or into a simulation of it.

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

/// Makes connections to servers.
#[async_trait]
pub trait Dial: Send + Sync {
    /// A new connection to the server that `client` names, with its user, password and database.
    ///
    /// # Errors
    /// Where the server can't be reached in the time that `config` gives, or refuses the user.
    async fn dial(&self, client: &Client, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection>;
}

/// The network of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network;

#[async_trait]
impl Dial for Network {
    async fn dial(&self, client: &Client, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        client.get_multiplexed_async_connection_with_config(config).await
    }
}
