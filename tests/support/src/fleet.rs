//! Many connections that send at the same moment.

use std::io::Result;
use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::http::{Connection, Request, Response};

/// Open keep-alive connections.
#[derive(Debug)]
pub struct Fleet {
    connections: Vec<Connection>,
}

impl Fleet {
    /// Opens `each` connections to every address, in turns.
    ///
    /// # Panics
    /// Where a server can't be reached.
    pub async fn open(addresses: &[SocketAddr], each: usize) -> Self {
        let mut connections = Vec::new();
        for _ in 0..each {
            for &address in addresses {
                let mut connection = Connection::new(address);
                connection.open().await.expect("the server accepts connections");
                connections.push(connection);
            }
        }
        Self { connections }
    }

    /// Sends one request over each connection, all at once, and waits for all answers, in the order of the requests.
    ///
    /// # Panics
    /// Where there are more requests than connections.
    pub async fn volley(&mut self, requests: Vec<Request>) -> Vec<Result<Response>> {
        assert!(requests.len() <= self.connections.len(), "one connection for each request");
        let mut flights = JoinSet::new();
        let connections: Vec<Connection> = self.connections.drain(..requests.len()).collect();
        for (position, (mut connection, request)) in connections.into_iter().zip(requests).enumerate() {
            flights.spawn(async move {
                let answer = connection.send(&request).await;
                (position, connection, answer)
            });
        }
        let mut landed = flights.join_all().await;
        landed.sort_by_key(|(position, _, _)| *position);
        let mut answers = Vec::new();
        for (_, connection, answer) in landed {
            self.connections.push(connection);
            answers.push(answer);
        }
        answers
    }
}
