//! Microsoft's device client for Node, over MQTT.

use dps_interop::{Client, scenarios};

scenarios!(Client::NODE_MQTT);
