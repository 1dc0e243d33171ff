//! What the integration tests share: the service as a process, a redis-server, and a DPoP client of its own.
//!
//! Nothing here uses code of Keybound: a mistake in the service's own proof library can't hide itself in the tests.

pub mod authority;
pub mod authorization;
pub mod cluster;
pub mod fleet;
pub mod flow;
pub mod host;
pub mod http;
pub mod jose;
pub mod proof;
pub mod redis;
pub mod relay;
pub mod sentinel;
pub mod service;
pub mod time;
pub mod verify;

pub use authority::Authority;
pub use authorization::CodeFlow;
pub use fleet::Fleet;
pub use flow::{Answer, Call, Client, ClientLogin, Endpoint, Session};
pub use host::Host;
pub use http::{Connection, Request, Response};
pub use jose::Key;
pub use proof::Proof;
pub use service::{ISSUER, Service, Settings, Store};
pub use verify::{Dialect, Judged, Verify};

/// A test for each backend: `both_stores!(name, …)` makes `embedded::name` and `redis::name` out of `async fn name(store: Store)`.
#[macro_export]
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Store::Embedded).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Store::Redis).await;
            })+
        }
    };
}
