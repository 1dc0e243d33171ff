//! Clients registered at run time.

use super::sample::client_named;
use crate::store::ClientRecords;

/// Plays every row.
///
/// # Panics
/// Where the store does anything else.
pub async fn run(clients: &dyn ClientRecords) {
    let (one, two) = (client_named("client one"), client_named("client-two"));
    assert_eq!(clients.client(&one).await, Ok(None), "a client that was never stored");
    assert_eq!(clients.clients().await, Ok(vec![]), "no clients");
    assert_eq!(clients.delete_client(&one).await, Ok(false), "nothing to delete");

    clients.put_client(&two, b"{\"n\":2}").await.expect("a client is stored");
    clients.put_client(&one, b"{\"n\":1}").await.expect("a second client is stored");
    assert_eq!(clients.client(&one).await, Ok(Some(b"{\"n\":1}".to_vec())), "a client reads back");
    assert_eq!(
        clients.clients().await,
        Ok(vec![(one.clone(), b"{\"n\":1}".to_vec()), (two.clone(), b"{\"n\":2}".to_vec())]),
        "all clients, sorted by name"
    );

    clients.put_client(&one, b"{}").await.expect("a client is replaced");
    assert_eq!(clients.client(&one).await, Ok(Some(b"{}".to_vec())), "a replaced client reads back");
    assert_eq!(clients.client(&two).await, Ok(Some(b"{\"n\":2}".to_vec())), "another client is left alone");

    assert_eq!(clients.delete_client(&one).await, Ok(true), "a client is deleted");
    assert_eq!(clients.delete_client(&one).await, Ok(false), "and only once");
    assert_eq!(clients.client(&one).await, Ok(None), "a deleted client is gone");
    assert_eq!(clients.clients().await, Ok(vec![(two, b"{\"n\":2}".to_vec())]), "the other one stays");

    let longest = client_named(&"~".repeat(256));
    let large = vec![b'x'; 100_000];
    clients.put_client(&longest, &large).await.expect("a long name and a large record are stored");
    assert_eq!(clients.client(&longest).await, Ok(Some(large)), "a large record reads back");
}
