//! Paths, headers, MQTT topics and api-versions: each is written and parsed here.

pub mod amqp;
mod api_version;
pub mod device;
mod headers;
pub mod hub;
pub mod hub_certificate;
pub mod hub_message;
pub mod hub_method;
pub mod mqtt;
mod route;
pub mod service;
mod text;

pub use api_version::ApiVersion;
pub use headers::{
    CONTINUATION, ERROR_CODE, ITEM_TYPE, IfMatch, MAX_ITEM_COUNT, REQUEST_ID, parse_retry_after,
};
pub use route::RouteError;
pub use text::{decode, encode, query_parameter, single_query_parameter};
