//! Microsoft's device client for Python registers and lives on its hub, over MQTT over WebSocket.

use dps_interop::{Client, homes};

homes!(Client::PYTHON_MQTT_WS);
