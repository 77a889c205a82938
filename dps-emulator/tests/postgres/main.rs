//! The store in PostgreSQL, with a real server.

mod concurrency;
mod conformance;
mod errors;
mod faults;
mod proxy;
mod server;
