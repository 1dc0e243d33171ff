//! An API that checks every call itself, without a gateway: actix-web with the middleware of `keybound-guard`.
//!
//! ```text
//! ISSUER=https://as.example.com API_URL=https://api.example.com API_LISTEN=127.0.0.1:9000 cargo run --example resource_server
//! ```
//!
//! with a `[[resource]]` of this `url` and `audience` and the scope `accounts` in Keybound's configuration. Several processes of one API
//! share what they have seen: `REDIS=redis://127.0.0.1:6379 NONCE_KEY=<64 hexadecimal digits>`.

use std::env;
use std::error::Error;
use std::sync::Arc;

use actix_web::{App, HttpServer, get, post, web};
use keybound_guard::actix::Guarded;
use keybound_guard::{Caller, Guard, GuardConfig, LocalLedger, NonceKey, RedisLedger, Refusal, ReplayMemory, system};

/// Whoever gets here holds a token with the scope `accounts`, and its key.
#[get("/accounts")]
async fn accounts(caller: Caller) -> String {
    format!("the accounts of {}", caller.subject())
}

/// One call needs more than the others: what is refused gets its 403 and its challenge.
#[post("/payments")]
async fn pay(caller: Caller, guard: web::Data<Guard>) -> Result<String, Refusal> {
    guard.demand_scope(&caller, "payments")?;
    Ok(format!("{} has paid", caller.subject()))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (now, mut entropy) = (system::now(), system::OsEntropy);
    let memory = match env::var("REDIS") {
        Ok(url) => ReplayMemory::Shared(Box::new(RedisLedger::connect(&url, "api", now, &mut entropy).await?), nonce_key()?),
        Err(_) => ReplayMemory::Local(LocalLedger::new(1_000_000, now, &mut entropy)),
    };
    let config = GuardConfig::new(env::var("ISSUER")?, env::var("API_URL")?).scopes(["accounts"]);
    let guard = Arc::new(Guard::new(config, memory, &mut entropy)?);

    let listen = env::var("API_LISTEN").unwrap_or_else(|_| "127.0.0.1:9000".to_owned());
    let app = move || {
        App::new().wrap(Guarded::new(Arc::clone(&guard))).app_data(web::Data::from(Arc::clone(&guard))).service(accounts).service(pay)
    };
    Ok(HttpServer::new(app).workers(2).bind(listen)?.run().await?)
}

/// Nonces of one process come back to another, so all make them with one key.
fn nonce_key() -> Result<NonceKey, Box<dyn Error>> {
    let text = env::var("NONCE_KEY")?;
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err("NONCE_KEY is 64 hexadecimal digits".into());
    }
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16)?;
    }
    Ok(NonceKey::new(key))
}
