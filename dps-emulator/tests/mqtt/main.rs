//! What devices see of a running emulator over MQTT and MQTT over WebSocket: literal bytes on real TLS sockets.

mod common;

mod bodies;
mod certificates;
mod connect;
mod conversation;
mod hostile_peers;
mod hub_connect;
mod hub_connections;
mod hub_limits_and_faults;
mod hub_messages;
mod hub_methods;
mod hub_modules;
mod hub_rates;
mod hub_service;
mod hub_sessions;
mod hub_telemetry;
mod hub_twin;
mod issued_certificates;
mod keep_alive;
mod limits;
mod log;
mod many;
mod outcomes;
mod publish;
mod refusals;
mod shutdown;
mod subscribe;
mod tpm;
mod unproven;
mod websocket_frames;
mod websocket_handshake;
