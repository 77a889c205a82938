//! Many devices at once.

use tokio::task::JoinSet;

use crate::common::{Connect, Dps, KEY_1, PINGREQ, PINGRESP};

const IDLE: usize = 500;
const AT_ONCE: usize = 50;

/// The number of idle connections that the system allows this process: each has two ends.
fn idle_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok())
        .unwrap_or(256);
    IDLE.min(files.saturating_sub(200) / 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_block_others() {
    let dps = Dps::with_device().await;
    // A slow machine may open all of them in minutes.
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(1200);
    let mut idle = Vec::new();
    for _ in 0..idle_connections() {
        let mut client = dps.mqtt().await;
        client.connect(&connect).await;
        idle.push(client);
    }
    dps.still_serves().await;
    for client in &mut idle {
        client.send(PINGREQ).await;
        client.expect(PINGRESP).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_receive_only_their_own_responses() {
    let dps = std::sync::Arc::new(Dps::start().await);
    for number in 0..AT_ONCE {
        dps.enroll(&format!("dev-{number}")).await;
    }
    let mut devices = JoinSet::new();
    for number in 0..AT_ONCE {
        let dps = std::sync::Arc::clone(&dps);
        devices.spawn(async move {
            let id = format!("dev-{number}");
            let document = match number % 2 {
                0 => dps.mqtt_device(&id).await.provision().await,
                _ => dps.connected_websocket(&id).await.provision().await,
            };
            assert_eq!(document["status"], "assigned", "{document}");
            assert_eq!(document["registrationState"]["registrationId"], id);
        });
    }
    while let Some(device) = devices.join_next().await {
        device.expect("provisioned");
    }
}
