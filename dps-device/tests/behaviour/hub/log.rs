//! The log: failures of a hub are logged with their causes, and not too often.

use std::time::Duration;

use dps_device::{ConnectOptions, ErrorKind};
use tracing::Level;

use super::HUB;
use crate::log::Log;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;

#[tokio::test(start_paused = true)]
async fn a_hub_whose_name_does_not_resolve_is_logged_at_once_and_then_once_a_minute() {
    let (log, _guard) = Log::collect(Level::WARN);
    let hub = super::hub(key("my-device"), MqttKind::Mqtt, &Pki::new(), 8883)
        .with_host("hub.invalid".parse::<dps_device::Host>().unwrap());
    let options = ConnectOptions::new().with_request_timeout(Duration::from_secs(10 * 60));
    let (handle, mut events) = hub.connect_with(options);
    let error = events.drive(handle.twin()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);

    let lines = log.lines();
    let first = &lines[0];
    assert!(
        first.contains("the connection to the hub failed"),
        "{first}"
    );
    // The cause from the system's resolver follows the text of the error.
    let cause = error.last_failure().unwrap().to_string();
    assert!(first.contains(&format!("{cause}: ")), "{first}");
    assert!((8..=14).contains(&lines.len()), "{lines:#?}");
    assert!(
        !first.contains(HUB) || first.contains("hub.invalid"),
        "{first}"
    );
}
