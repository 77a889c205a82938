//! Forged credentials and requests, as tables: none is accepted, on any transport, and the genuine one is.

mod amqp_links;
mod amqp_requests;
mod amqp_two_links;
mod attempt;
mod bodies;
mod headers;
mod heads;
mod http;
mod hub;
mod hub_connects;
mod hub_https;
mod hub_service;
mod instances;
mod mqtt_connects;
mod mqtt_topics;
mod mqtt_wills;
mod operator_tokens;
mod requests;
mod sas_fields;
mod sas_keys;
mod sas_tokens;
mod tpm;
mod tpm_attempt;
mod tpm_challenges;
mod x509;

use attempt::{Credentials, TRANSPORTS, is_registered};
