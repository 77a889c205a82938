//! Microsoft's device client for Python, over MQTT.

use dps_interop::{Client, scenarios};

scenarios!(Client::PYTHON_MQTT);
