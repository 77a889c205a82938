//! Microsoft's device client for Node, over HTTPS.

use dps_interop::{Client, scenarios};

scenarios!(Client::NODE_HTTP);
