//! Real gateways with the configurations of `deploy/gateways`, each between a client and an API, asking the running service about every
//! call.

mod attacks;
mod calls;
mod compose;
mod examples;
mod files;
mod gateway;
mod nodes;
mod rig;
mod shared_ledger;
mod upstream;
