//! What devices and operators see of a running emulator, over real TLS sockets.

mod common;

mod access_policies;
mod bearer_tokens;
mod ca_certificates;
mod clients;
mod concurrency;
mod custom_allocation;
mod device_api;
mod device_errors;
mod hostile_peers;
mod hub_choice;
mod lifecycle;
mod limits;
mod openapi;
mod persistence;
mod program;
mod program_options;
mod recorded;
mod reprovisioning;
mod service_api;
mod service_authorization;
mod service_bulk;
mod service_certificates;
mod service_errors;
mod service_etags;
mod service_query;
mod store_trouble;
mod symmetric_key;
mod unique_certificates;
mod webhook_failures;
mod x509_groups;
mod x509_individual;
mod x509_trust;
