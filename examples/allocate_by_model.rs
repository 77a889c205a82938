//! The policy of the book and its test: `cargo test -p dps-examples --example allocate_by_model`
use async_trait::async_trait;
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
use dps_types::{AllocationRequest, HubHostname};
use tokio::net::TcpListener;

/// The payload of a device's registration.
#[derive(serde::Deserialize)]
struct Device {
    model: String,
}

struct ByModel {
    toasters: HubHostname,
}

#[async_trait]
impl AllocationPolicy for ByModel {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        match request.payload::<Device>()?.model.as_str() {
            "toaster" => Ok(Allocation::to(self.toasters.clone())),
            model => Err(Rejection::new(format!("no hub for model {model}"))),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init(); // one line with the reason of each rejection
    let toasters = "contoso-toasters.azure-devices.net".parse()?;
    let listener = TcpListener::bind("127.0.0.1:9090").await?;
    Webhook::new(ByModel { toasters }).serve(listener).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use dps_allocation::PolicyTest;

    use super::ByModel;

    #[tokio::test]
    async fn toasters_have_a_hub_and_kettles_have_none() {
        let test = |model: &str| {
            let request = r#"{
                "enrollmentGroup": {"enrollmentGroupId": "appliances", "attestation": {"type": "symmetricKey"}},
                "deviceRuntimeContext": {"registrationId": "device-1", "payload": {"model": "MODEL"}},
                "linkedHubs": ["contoso-toasters.azure-devices.net"]
            }"#;
            PolicyTest::from_json(request.replace("MODEL", model)).unwrap()
        };
        let policy = || ByModel { toasters: "contoso-toasters.azure-devices.net".parse().unwrap() };

        test("toaster").run(policy()).await.assert_hub("contoso-toasters.azure-devices.net");
        test("kettle").run(policy()).await.assert_rejected("no hub for model kettle");
    }
}
