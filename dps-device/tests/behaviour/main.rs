//! The behaviour of the client: first over a scripted transport in paused time, then over real HTTPS, MQTT and WebSocket.
//!
//! Bugs of other clients that are tests here:
//!
//! | Client | Bug | Test |
//! | --- | --- | --- |
//! | azure-iot-sdk-c | Retry-After outside 1..300 s became 1 s, dates were ignored | `polling::retry_after_600_is_waited_not_shortened`, `https::requests::retry_after_may_be_a_date` |
//! | azure-iot-sdk-c#2634 | no second registration after a timeout | `deadlines::the_client_registers_again_after_a_timeout` |
//! | azure-iot-sdk-c PR#1703 | 429 on the registration itself ignored its Retry-After | `retrying::a_throttled_registration_waits_for_retry_after` |
//! | azure-iot-sdk-c#1965 | a failing name look-up hung without an error | `deadlines::a_name_that_is_not_found_is_a_connect_failure_at_the_deadline`, `https::failures::an_unknown_host_is_a_connect_failure` |
//! | azure-iot-sdk-c#1727 | a quarter of an hour of silence, then an unspecific error | `deadlines::a_silent_session_is_closed_and_reported` |
//! | azure-iot-sdk-c#1066 | a clock jump broke timeouts and tokens | `deadlines::a_jump_of_the_wall_clock_does_not_change_the_deadline`, `https::tokens::*` |
//! | azure-iot-sdk-c PR#2241 | 409203 was final | `retrying::a_conflict_is_registered_again` |
//! | azure-iot-sdk-csharp | the delay between polls could not be cancelled | `deadlines::dropping_a_waiting_registration_ends_it` |
//! | azure-iot-sdk-csharp | 429 and 5xx to the first request were thrown | `retrying::every_transient_failure_of_a_registration_is_retried` |
//! | azure-iot-sdk-csharp | the delay of a 429 while polling was overwritten | `retrying::a_throttled_poll_waits_for_retry_after_and_keeps_its_operation` |
//! | azure-iot-sdk-csharp#3061 | ids with `:` failed over HTTP | `https::requests::ids_with_colons_are_encoded_alike_in_path_and_token` |
//! | azure-iot-sdk-csharp#547 | ids were sent in lower case | `https::requests::the_case_of_an_id_is_kept` |
//! | azure-iot-sdk-csharp#1010 | intermediates were not sent | `https::tls::the_whole_chain_is_sent` |
//! | azure-iot-sdk-java | Retry-After above 5 s became 2 s | `polling::retry_after_7_is_waited_not_shortened` |
//! | azure-iot-sdk-java | an endless read timeout | `deadlines::a_silent_service_ends_at_the_deadline`, `https::failures::a_slow_server_ends_at_the_deadline` |
//! | azure-iot-sdk-java#289 | the body was read before the status | `outcomes::the_status_decides_before_the_body` |
//! | azure-iot-sdk-java#1736 | threads were left behind on close | `https::lifetime::*`, `deadlines::dropping_a_waiting_registration_ends_it` |
//! | azure-iot-sdk-node | `disabled` and `unassigned` were a SyntaxError | `outcomes::a_disabled_enrollment_is_typed`, `polling::unassigned_means_poll_again` |
//! | azure-iot-sdk-node | 429 was retried for ever | `deadlines::endless_throttling_ends_at_the_deadline` |
//! | azure-iot-sdk-node | payloads were read as ASCII | `outcomes::payloads_of_any_script_arrive_whole` |
//! | azure-iot-sdk-python | the first poll ignored Retry-After | `polling::the_first_poll_honours_retry_after` |
//! | azure-iot-sdk-python | the body of an error was lost | `outcomes::the_error_document_of_the_service_is_kept` |
//! | azure-iot-sdk-python | `disabled` was an "invalid registration status" | `outcomes::a_disabled_enrollment_is_typed` |
//! | azure-sdk-for-c | 502, 503 and 504 were final | `retrying::every_transient_failure_of_a_registration_is_retried` |
//! | iot-identity-service | a SAS token of 30 s was used for all polls | `https::tokens::a_token_is_replaced_before_it_expires` |
//! | iot-identity-service | Retry-After was never read | `polling::the_first_poll_honours_retry_after` |
//! | iot-identity-service | `unassigned` and `disabled` could not be read | `polling::unassigned_means_poll_again`, `outcomes::a_disabled_enrollment_is_typed` |
//! | iot-identity-service | 200 to a registration was an error | `polling::a_registration_may_be_assigned_at_once` |
//! | azure-iot-sdk-rs | the retry count was reset each time | `deadlines::endless_failures_end_at_the_deadline` |
//! | azure-iot-sdk-rs | status 401 and 429 did not fit their type | `outcomes::each_refusal_has_its_kind`, `retrying::a_throttled_registration_waits_for_retry_after` |
//! | iotedge#5888 | no backoff | `retrying::the_backoff_grows` |
//! | iotedge#7411 | a refusing webhook was called in a loop | `outcomes::a_failed_allocation_is_final` |
//! | azure-iot-sdk-java | MQTT ignored the status in the topic: 429 looked like a refusal | `mqtt::answers::the_status_in_the_topic_decides`, `mqtt::answers::a_throttled_request_is_sent_again_in_the_same_session` |
//! | azure-iot-sdk-java | the MQTT session was not clean | `mqtt::wire::every_connection_has_a_clean_session` |
//! | azure-iot-sdk-java#1796, azure-iot-sdk-node#1140 | no proxy over MQTT, or none with credentials | `mqtt::proxy::*` |
//! | azure-iot-sdk-csharp | MQTT required the PUBACK before the answer | `mqtt::answers::the_answer_may_come_before_the_acknowledgement` |
//! | azure-iot-sdk-csharp#1215 | a TPM over MQTT failed late and unclear | `mqtt::refusals::a_tpm_is_unsupported_before_anything_is_sent` |
//! | azure-iot-sdk-c, -csharp, -java, -node | the key of a challenge took the place of the hub key in the TPM: a registration that failed left the device without its hub | `https::challenge::a_lookup_is_also_challenged_and_does_not_change_the_hub_key`, `hub_key::a_hub_key_for_another_tpm_is_refused_and_the_old_one_stays` |
//! | azure-iot-sdk-node | the first answer to a TPM had to be 401: 429 and 5xx were thrown | `https::challenge::every_attempt_starts_without_a_token` |
//! | azure-iot-sdk-csharp | the fallback from MQTT to WebSocket was never written | `fallback::*` |
//! | azure-iot-sdk-csharp | WebSocket asked for the root path | `mqtt::websocket::the_upgrade_request_is_as_documented` |
//! | azure-iot-sdk-node | MQTT payloads were read as ASCII | `mqtt::answers::payloads_of_any_script_arrive_whole` |
//! | azure-sdk-for-c | every request had the `$rid` 1 | `mqtt::wire::no_two_requests_have_the_same_request_id` |
//! | azure-sdk-for-c#2142, esp-azure#35 | assigning for ever: answers to another request were used, or the client did not subscribe after a reconnect | `mqtt::answers::answers_to_other_requests_are_ignored`, `mqtt::loss::a_lost_connection_is_replaced_and_the_operation_continues`, `deadlines::an_endless_assignment_ends_at_the_deadline` |
//! | iotedge#6449, iot-identity-service#657 | a device that boots while DPS is down did not reach its hub | `hub::provisioned::a_device_with_a_stored_assignment_does_not_ask_dps` |
//! | all of them | no use of the secondary key | `credentials::*`, `mqtt::wire::a_refused_primary_key_is_followed_by_the_secondary` |

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(all(
    feature = "amqp",
    feature = "conformance",
    feature = "http",
    feature = "websocket"
))]
mod amqp_server;
#[cfg(all(feature = "certificates", any(feature = "http", feature = "mqtt")))]
mod certificate;
#[cfg(all(
    feature = "amqp",
    feature = "conformance",
    feature = "http",
    feature = "websocket"
))]
mod conformance;
mod credentials;
mod deadlines;
mod events;
mod fallback;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod first_failure;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod http_proxy;
#[cfg(feature = "http")]
mod https;
#[cfg(feature = "hub")]
mod hub;
mod hub_key;
mod log;
#[cfg(feature = "mqtt")]
mod mqtt;
mod outcomes;
#[cfg(any(feature = "http", feature = "mqtt"))]
mod pki;
mod pointers;
mod polling;
mod retrying;
mod script;
mod secrets;
