//! Starts the emulator in a container and prints how to connect. It needs a container engine and the image `dps-emulator`.

use dps_testcontainers::{Connection, DpsEmulatorImage};
use testcontainers::ImageExt;
use testcontainers::runners::AsyncRunner;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = DpsEmulatorImage::default().with_env_var("DPS_EMULATOR_RETRY_AFTER", "0");
    let container = image.start().await?;
    let dps = Connection::of(&container).await?;
    println!("id scope {}", dps.id_scope());
    println!("MQTT at {}:{}", dps.host(), dps.mqtt_port());
    println!("control endpoint at {}", dps.control_url());
    container.rm().await?;
    Ok(())
}
