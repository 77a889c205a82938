//! The store in PostgreSQL, with a real server.

#[allow(dead_code, unreachable_pub, unused_imports)] // shared with the other tests of behaviour
#[path = "../behaviour/common/mod.rs"]
mod common;
mod concurrency;
mod conformance;
mod emulator;
mod errors;
mod faults;
mod notifications;
mod proxy;
mod server;
mod tls;
