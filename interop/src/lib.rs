//! The official SDKs as clients of our emulator.
//!
//! A [`Scenario`] is what the operator enrolls, how the device proves itself and what must come of it. A [`Client`] is a
//! program of another vendor that registers one device. [`scenarios!`] makes a test of each scenario with one client,
//! against the emulator's binary on ports 443 and 8883, where these clients insist to find it. A [`ServiceSdk`] is a
//! program of another vendor that does an operator's work. [`homes!`] makes tests that go on to the assigned hub and the
//! device's twin there.
//!
//! The tests run with `DPS_INTEROP=1`: `scripts/test interop` sets it, in a network of their own. Otherwise they say
//! that they are skipped.

mod certificates;
mod client;
mod dialogue;
mod emulator;
mod home;
mod hub;
mod program;
mod run;
mod scenario;
mod service_sdk;
mod tpm;
mod webhook;

pub use certificates::{CertificateAuthority, DeviceCertificate};
pub use client::{Client, Outcome};
pub use emulator::{Emulator, HEATPUMPS, HTTPS_PORT, LOCALHOST, TOASTERS};
pub use home::{removed, twin};
pub use hub::{HubDevice, HubOperator, Trouble};
pub use run::{run, skipped};
pub use scenario::{Enrollment, Expected, Proof, Scenario};
pub use service_sdk::{Access, Kind, Operator, Pages, Refusal, ServiceSdk};
pub use tpm::TpmDevice;
pub use webhook::EchoWebhook;

/// One test for each scenario, with this client.
#[macro_export]
macro_rules! scenarios {
    ($client:expr) => {
        $crate::scenarios!(
            $client;
            individual_key
            individual_key_with_payload
            payload_both_ways
            group_key
            individual_certificate
            group_certificate_by_root
            group_certificate_by_intermediate
            group_certificate_without_its_intermediate
            wrong_key
            unknown_device
            disabled_enrollment
        );
    };
    ($client:expr; $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::run(&$client, $crate::Scenario::$name).await;
            }
        )*
    };
}

/// The tests of a device on its assigned hub, with this client.
#[macro_export]
macro_rules! homes {
    ($client:expr) => {
        mod twin {
            use super::*;

            $crate::homes!(
                twin, $client;
                individual_key
                group_key
                individual_certificate
                group_certificate_by_root
            );
        }
        mod removed {
            use super::*;

            $crate::homes!(
                removed, $client;
                individual_key
                individual_certificate
            );
        }
    };
    ($story:ident, $client:expr; $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::$story(&$client, $crate::Scenario::$name).await;
            }
        )*
    };
}
