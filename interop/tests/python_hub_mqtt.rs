//! Microsoft's device client for Python registers and lives on its hub, over MQTT; its operator uses theirs for hubs.

use dps_interop::{Client, homes};

homes!(Client::PYTHON_MQTT);
