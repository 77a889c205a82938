//! Tests of the client with a scripted service over real TLS.

mod api_versions;
mod bulk;
mod credentials;
mod failures;
mod modify;
mod proxy;
mod query;
mod reads;
mod registrations;
mod requests;
mod support;
mod traced;
