//! Lists registration records: of one group page by page, and of all groups and individual enrollments. Offline, with an
//! emulator in this process: `cargo run --example list_registrations`
use dps_device::{Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::{DeviceRegistrationState, HubHostname, RegistrationId, RegistrationStatus, SymmetricKey};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder()
        .link_hub("contoso-toasters".parse::<LinkedHub>()?)
        .link_hub("contoso-heatpumps".parse::<LinkedHub>()?)
        .start()
        .await?;
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    register_some_devices(&dps, &service).await?;

    // One page at a time. The continuation token is text that can be stored, to continue later or in another process.
    let toasters = "toasters".parse()?;
    let mut pages = service.registrations().in_group(&toasters).with_page_size(2).pages();
    let first = pages.try_next().await?.ok_or("there is a first page")?;
    println!("the first page of the toasters has {}", first.items.len());
    let token = first.continuation.ok_or("there is another page")?.to_string();
    let mut rest = service.registrations().in_group(&toasters).starting_at(token.parse()?);
    while let Some(state) = rest.try_next().await? {
        println!("after it: {}", line(&state));
    }

    // All records that can be found.
    let mut all = service.registrations().all();
    while let Some(found) = all.try_next().await? {
        let enrolled = found.group.map_or("individually".to_owned(), |group| format!("in {group}"));
        println!("{enrolled:15}{}", line(&found.state));
    }

    dps.shutdown().await;
    Ok(())
}

fn line(state: &DeviceRegistrationState) -> String {
    let id = state.registration_id.as_ref().map_or("-", RegistrationId::as_str);
    let hub = state.assigned_hub.as_ref().map_or("-", HubHostname::as_str);
    let status = state.status.as_ref().map_or("-", RegistrationStatus::as_str);
    format!("{id:13}{status:11}{hub}")
}

/// Registers three toasters of a group, and a heat pump with an individual enrollment. A second heat pump never registers.
async fn register_some_devices(dps: &Emulator, service: &ServiceClient) -> Result<()> {
    let key = SymmetricKey::generate();
    let toasters = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate());
    service.enrollment_groups().create(&toasters.allocate_to("contoso-toasters".parse()?)).await?;
    for id in ["heatpump-1", "heatpump-2"] {
        let heatpump = IndividualEnrollment::from_keys(id.parse()?, &key, &key);
        let hub = "contoso-heatpumps".parse()?;
        service.individual_enrollments().create(&heatpump.allocate_to(hub)).await?;
    }
    let mut devices = vec![SymmetricKeyAttestation::new("heatpump-1".parse()?, key.clone())];
    for id in ["toaster-1", "toaster-2", "toaster-3"] {
        devices.push(SymmetricKeyAttestation::from_group(id.parse()?, &key));
    }
    try_join_all(devices.into_iter().map(async |who| {
        let transport = Http::default().with_port(dps.https_port());
        let device = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(Roots::from_pem(dps.ca_pem())?);
        device.register().await?;
        Ok(())
    }))
    .await
    .map(drop)
}
