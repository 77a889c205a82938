//! Tests of the emulator with Microsoft's own device and service clients.
//!
//! A [`Scenario`] is an enrollment, a device, its attestation and the expected result. A [`Client`] runs a script in `node/` or
//! `python/` that registers one device with Microsoft's SDK. [`scenarios!`] generates one test for each scenario with one client.
//! [`on_hub!`] generates tests that continue to the assigned hub and its device twin. A [`ServiceSdk`] runs a script that does the
//! work of a service client.
//!
//! The tests need the SDKs and the ports 443, 5671 and 8883, because most of these clients have no option for the port. They are
//! therefore ignored unless they are run by `scripts/test interop`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// One test for each scenario, with this client.
macro_rules! scenarios {
    ($client:expr) => {
        scenarios!(
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
            #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
            async fn $name() {
                crate::run(&$client, crate::Scenario::$name).await;
            }
        )*
    };
}

/// The tests of a device on its assigned hub, with this client.
macro_rules! on_hub {
    ($client:expr) => {
        mod twin {
            use super::*;

            on_hub!(
                twin, $client;
                individual_key
                group_key
                individual_certificate
                group_certificate_by_root
            );
        }
        mod removed {
            use super::*;

            on_hub!(
                removed, $client;
                individual_key
                individual_certificate
            );
        }
    };
    ($test:ident, $client:expr; $($name:ident)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
            async fn $name() {
                crate::$test(&$client, crate::Scenario::$name).await;
            }
        )*
    };
}

/// The tests of a device and a module at a hub, with this program's client over MQTT and over WebSocket.
macro_rules! hub_messages {
    ($($program:ident $transport:literal $device:ident $module:ident)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
            async fn $device() {
                crate::hub_messages::device(crate::program::Program::$program, $transport).await;
            }

            #[tokio::test]
            #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
            async fn $module() {
                crate::hub_messages::module(crate::program::Program::$program, $transport).await;
            }
        )*
    };
}

mod certificates;
mod client;
mod device_on_hub;
mod dialogue;
mod emulator;
mod hub;
mod hub_messages;
mod instances;
mod issued_certificate;
#[cfg(feature = "tpm")]
mod node_tpm;
mod our_device;
mod program;
mod readme;
mod run;
mod scenario;
mod service;
mod service_sdk;
mod tpm;
mod webhook;

use certificates::CertificateAuthority;
use client::{Client, Outcome};
use device_on_hub::{removed, twin};
use emulator::{Emulator, HEATPUMPS, HTTPS_PORT, TOASTERS};
use run::run;
use scenario::{Enrollment, Proof, Scenario};
use service_sdk::{Access, Kind, Operator, ServiceSdk};

/// Microsoft's device client for Node, over HTTPS.
mod node_http {
    use super::Client;
    scenarios!(Client::NODE_HTTP);

    mod failures {
        use super::Client;
        scenarios!(Client::NODE_HTTP; failed_webhook);
    }
}

/// Microsoft's device client for Node, over MQTT.
mod node_mqtt {
    use super::Client;
    scenarios!(Client::NODE_MQTT);
}

/// Microsoft's device client for Node, over MQTT over WebSocket.
mod node_mqtt_ws {
    use super::Client;
    scenarios!(Client::NODE_MQTT_WS);
}

/// Microsoft's device client for Node, over AMQP.
mod node_amqp {
    use super::Client;
    scenarios!(Client::NODE_AMQP);

    mod failures {
        use super::Client;
        scenarios!(Client::NODE_AMQP; failed_webhook);
    }
}

/// Microsoft's device client for Node, over AMQP over WebSocket.
mod node_amqp_ws {
    use super::Client;
    scenarios!(Client::NODE_AMQP_WS);
}

/// Microsoft's device client for Python, over MQTT.
mod python_mqtt {
    use super::Client;
    scenarios!(Client::PYTHON_MQTT);
}

/// Microsoft's device client for Python, over MQTT over WebSocket.
mod python_mqtt_ws {
    use super::Client;
    scenarios!(Client::PYTHON_MQTT_WS);
}

/// Microsoft's device client for Python on its hub over MQTT, and their client for the hub's back end.
mod python_hub_mqtt {
    use super::Client;
    on_hub!(Client::PYTHON_MQTT);
}

/// The same over WebSocket.
mod python_hub_mqtt_ws {
    use super::Client;
    on_hub!(Client::PYTHON_MQTT_WS);
}

/// Microsoft's device clients at a hub: telemetry, messages, methods, twins and uploads, with their client for the back end.
mod messages_at_hub {
    hub_messages!(
        Python "mqtt" python_device_mqtt python_module_mqtt
        Python "mqtt-ws" python_device_mqtt_ws python_module_mqtt_ws
        Node "mqtt" node_device_mqtt node_module_mqtt
        Node "mqtt-ws" node_device_mqtt_ws node_module_mqtt_ws
    );
}

/// Our device client at a hub, with Microsoft's client for the back end.
mod our_device_at_hub {
    #[tokio::test]
    #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
    async fn device_mqtt() {
        crate::our_device::device(dps_device::Mqtt::default()).await;
    }

    #[tokio::test]
    #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
    async fn device_websocket() {
        crate::our_device::device(dps_device::MqttWebSocket::default()).await;
    }

    #[tokio::test]
    #[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
    async fn module_mqtt() {
        crate::our_device::module(dps_device::Mqtt::default()).await;
    }
}
