//! The client against a scripted service on loopback, over real TLS.

mod failures;
mod proxy;
mod requests;
mod support;
