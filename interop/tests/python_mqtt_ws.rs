//! Microsoft's device client for Python, over MQTT over WebSocket.

use dps_interop::{Client, scenarios};

scenarios!(Client::PYTHON_MQTT_WS);
