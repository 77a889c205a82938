//! What devices and operators see of a running emulator, over real TLS sockets.

mod common;

mod clients;
mod concurrency;
mod custom_allocation;
mod device_api;
mod device_errors;
mod hostile_peers;
mod hub_choice;
mod hub_identities;
mod hub_rest;
mod hub_restarts;
mod hub_twins;
mod lifecycle;
mod persistence;
mod program;
mod reprovisioning;
mod reprovisioning_matrix;
mod service_api;
mod service_authorization;
mod service_certificates;
mod service_errors;
mod service_etags;
mod store_trouble;
mod symmetric_key;
mod tpm;
mod tpm_refusals;
mod tpm_restarts;
mod webhook_failures;
mod x509_groups;
mod x509_individual;
mod x509_trust;
