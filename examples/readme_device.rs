//! The device of README.md: registers `toaster-1` with an emulator that was started with `--well-known`.
//! `cargo run --example readme_device`
use dps_device::{Host, Http, ProvisioningClient, Roots, SymmetricKey, SymmetricKeyAttestation};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SymmetricKey::from_base64("RIbfJq5uGxBLvP5kbpelDxMq9Zbyys9bftFXvFPDydo=")?;
    let attestation = SymmetricKeyAttestation::new("toaster-1".parse()?, key);
    let transport = Http::default().with_port(8443); // Azure: Http::default()
    let client = ProvisioningClient::new("0ne00000001".parse()?, attestation, transport);
    let client = client.with_host(Host::LOCALHOST).with_roots(Roots::from_pem_file("ca.pem")?); // Azure: leave out this line

    let assignment = client.register().payload(json!({"model": "toaster"})).await?;
    println!("{} is assigned to {}", assignment.device_id(), assignment.hub());
    Ok(())
}
