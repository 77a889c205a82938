//! Every scenario over every transport with every proof: the behaviour must not depend on the transport.
//!
//! A new transport is one line in [`conformance`], with the proofs that it carries; a new proof is one line in [`every_proof`] or, when
//! not every transport carries it, in a list of its own; a new scenario is one in [`every_scenario`].

mod case;
mod dps;
mod hook;
mod instances;
mod life;
mod proof;
mod scenarios;
mod watched;
mod wire;

use dps_device::{Amqp, AmqpWebSocket, Fallback, Http, Mqtt, MqttWebSocket};

/// One module of tests for each transport.
macro_rules! conformance {
    ($($kind:ident with $proofs:ident: $transport:expr;)+) => {$(
        mod $kind {
            use super::*;

            fn connect(device: crate::proof::Device, dps: &crate::dps::Dps) -> dps_device::ProvisioningClient {
                let transport: fn(crate::wire::Ports) -> _ = $transport;
                dps_device::ProvisioningClient::new(dps.id_scope(), device, transport(dps.ports()))
            }

            $proofs!();
        }
    )+};
}

macro_rules! every_proof {
    () => {
        every_scenario!(individual_key: IndividualKey);
        every_scenario!(group_key: GroupKey);
        every_scenario!(individual_certificate: IndividualCertificate);
        every_scenario!(group_certificate: GroupCertificate);
    };
}

/// HTTPS carries the challenge of a TPM as the reply to a request.
macro_rules! every_proof_and_tpm {
    () => {
        every_proof!();
        every_scenario!(tpm: Tpm);
    };
}

/// AMQP carries the challenge of a TPM in its SASL layer.
macro_rules! every_proof_and_tpm_over_sasl {
    () => {
        every_proof!();
        every_scenario!(tpm: TpmOverSasl);
    };
}

macro_rules! every_scenario {
    ($proof:ident: $Proof:ident) => {
        tests! { $proof: $Proof;
            outcomes::success,
            outcomes::register_again_after_success,
            outcomes::payload_goes_both_ways,
            outcomes::assigning_then_assigned,
            outcomes::failed_by_the_webhook,
            outcomes::disabled,
            outcomes::unknown_id,
            outcomes::wrong_credentials,

            refusals::throttled_register,
            refusals::throttled_poll,
            refusals::server_error_on_register,
            refusals::server_error_on_poll,
            refusals::server_errors_until_the_deadline,
            refusals::malformed_answer_to_register,
            refusals::malformed_answer_to_poll,

            losses::dropped_at_connect,
            losses::dropped_before_register,
            losses::dropped_after_register,
            losses::dropped_before_poll,
            losses::dropped_after_poll,

            waits::slow_answer_to_register,
            waits::slow_answer_to_poll,
            waits::silence_at_connect_until_the_deadline,
            waits::silence_at_register_until_the_deadline,
            waits::silence_at_poll_until_the_deadline,

            cancellation::cancelled_at_connect,
            cancellation::cancelled_at_register,
            cancellation::cancelled_at_poll,
            cancellation::cancelled_between_polls,

            certificates::issued_with_the_registration,
            certificates::not_issued_without_an_authority,
            certificates::renewed_and_replaced_after_a_revocation,

            hub::twin_reported_and_desired,
            hub::telemetry_and_methods,
            hub::messages_from_the_cloud,
            hub::disconnected_by_the_hub,
            hub::one_connection_for_a_device,
            hub::renewed_before_the_token_ends,
            hub::refuses_an_impostor,
            hub::removed_device_registers_again,
            hub::remembered_over_a_restart,
            hub::moved_to_another_hub,
        }
    };
}

macro_rules! tests {
    ($proof:ident: $Proof:ident; $($chapter:ident::$scenario:ident,)+) => {
        mod $proof {$(
            #[tokio::test]
            async fn $scenario() {
                let case = crate::case::Case::new(super::connect, crate::proof::Proof::$Proof);
                case.run(crate::scenarios::$chapter::$scenario(case)).await;
            }
        )+}
    };
}

conformance! {
    http with every_proof_and_tpm: |ports| Http::default().with_port(ports.https);
    mqtt with every_proof: |ports| Mqtt::default().with_port(ports.mqtt);
    mqtt_websocket with every_proof: |ports| MqttWebSocket::default().with_port(ports.https);
    amqp with every_proof_and_tpm_over_sasl: |ports| Amqp::default().with_port(ports.amqp);
    amqp_websocket with every_proof_and_tpm_over_sasl: |ports| AmqpWebSocket::default().with_port(ports.https);
    fallback with every_proof_and_tpm: |ports| Fallback::new(Mqtt::default().with_port(ports.mqtt))
        .or(MqttWebSocket::default().with_port(ports.https))
        .or(Http::default().with_port(ports.https));
}
