//! Service, webhook and devices on one page: `cargo run --release --example quickstart`
use async_trait::async_trait;
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
use dps_device::{Assignment, Attestation, Host, Http, Mqtt, ProvisioningClient, Twin};
use dps_device::{Roots, SymmetricKeyAttestation, X509Attestation};
use dps_emulator::{CertificateAuthority, Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::{AllocationRequest, SymmetricKey, enrollment::EnrollmentGroup, enrollment::InitialTwin};
use futures_util::future::try_join_all;
use serde_json::json;

/// A custom policy: a device sends its model and is assigned to the hub for that model.
struct ByModel;

#[async_trait]
impl AllocationPolicy for ByModel {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let model: String = request.payload()?;
        let (id, now) = (request.registration_id(), &request.device_runtime_context.current_iot_hub_host_name);
        println!("  webhook: {id} is a {model}, now at {}", now.as_ref().map_or("no hub", |hub| hub.as_str()));
        let hub = request.linked_hubs.iter().find(|hub| hub.as_str().contains(&model)).cloned();
        let hub = hub.ok_or_else(|| Rejection::new(format!("there is no hub for a {model}")))?;
        Ok(Allocation::to(hub).initial_twin(InitialTwin::desired([("mode", "eco")])).payload(json!({"welcome": model})))
    }
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The tasks of a device at boot: registers, connects to its hub, reports, and reads its twin.
async fn boot(dps: &Emulator, who: impl Attestation + 'static, model: &str) -> Result<(Assignment, Twin)> {
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let assignment = client.register().payload(model).await?;
    let mqtt = Mqtt::default().with_port(dps.mqtt_port());
    let hub = client.hub(&assignment).with_host(Host::LOCALHOST).with_transport(mqtt);
    let (handle, mut events) = hub.connect();
    events.drive(handle.report(json!({"model": model}))).await?;
    Ok((assignment, events.drive(handle.twin()).await?))
}

#[tokio::main]
async fn main() -> Result<()> {
    let [toasters, heatpumps]: [LinkedHub; 2] = ["contoso-toaster-hub".parse()?, "contoso-heatpump-hub".parse()?];
    let dps = Emulator::builder().link_hub(toasters).link_hub(heatpumps).start().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/api/allocate", listener.local_addr()?);
    let serving = tokio::spawn(Webhook::new(ByModel).serve(listener));

    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?;
    let groups = service.with_roots(Roots::from_pem(dps.ca_pem())?);
    let (key, factory) = (SymmetricKey::generate(), CertificateAuthority::new("Contoso Factory")?);
    let by_key = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate());
    let by_ca = EnrollmentGroup::signing_certificate("heatpumps".parse()?, factory.certificate_pem());
    for group in [by_key, by_ca] {
        groups.enrollment_groups().create(&group.allocate_by_webhook(&url)).await?;
    }
    let device = async |n: usize| match n % 2 {
        0 => boot(&dps, SymmetricKeyAttestation::from_group(format!("toaster-{n}").parse()?, &key), "toaster").await,
        _ => {
            let issued = factory.issue(&format!("heatpump-{n}"))?;
            let who = X509Attestation::from_pem(issued.certificate_chain_pem(), issued.private_key_pem())?;
            boot(&dps, who, "heatpump").await
        }
    };
    let mut assigned = try_join_all((0..6).map(device)).await?;
    assigned.push(device(0).await?); // again: the request to the webhook now has the current hub
    println!("\n{:12}{:15}{:22}{:34}{:23}twin", "device", "proof", "hub", "substatus", "payload");
    for (assignment, twin) in assigned {
        let proof = if assignment.registration().x509.is_some() { "X.509" } else { "symmetric key" };
        let substatus = assignment.substatus().map_or("", |substatus| substatus.as_str());
        let payload = json!(assignment.payload_json()).to_string();
        let twin = json!({"desired": twin.desired.as_map(), "reported": twin.reported.as_map()});
        println!("{:12}{proof:15}{:22}{substatus:34}{payload:23}{twin}", assignment.device_id(), assignment.hub());
    }
    serving.abort();
    dps.shutdown().await;
    Ok(())
}
