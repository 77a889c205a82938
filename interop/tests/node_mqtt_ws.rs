//! Microsoft's device client for Node, over MQTT over WebSocket.

use dps_interop::{Client, scenarios};

scenarios!(Client::NODE_MQTT_WS);
