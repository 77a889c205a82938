//! An integration test of device software, as you could have it in your `tests` folder. Each test starts its own
//! emulator: `cargo test -p dps-examples --example emulator_in_a_test`
fn main() {
    println!("This is a test: cargo test -p dps-examples --example emulator_in_a_test");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dps_device::{ErrorKind, Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
    use dps_emulator::{Emulator, LinkedHub};
    use dps_service::ServiceClient;
    use dps_types::SymmetricKey;
    use dps_types::enrollment::{EnrollmentGroup, ProvisioningStatus};

    /// Starts an emulator in memory, on a free port, with one group. Its devices do not have to wait between two polls.
    async fn emulator(group: &EnrollmentGroup) -> Emulator {
        let dps = Emulator::builder()
            .link_hub("contoso-toasters".parse::<LinkedHub>().unwrap())
            .retry_after(Duration::ZERO)
            .start()
            .await
            .unwrap();
        let service = ServiceClient::from_connection_string(&dps.service_connection_string()).unwrap();
        let service = service.with_roots(Roots::from_pem(dps.ca_pem()).unwrap());
        service.enrollment_groups().create(group).await.unwrap();
        dps
    }

    /// The software under test, with the host, port and roots of the emulator and a short poll interval.
    fn device(dps: &Emulator, who: SymmetricKeyAttestation) -> ProvisioningClient {
        ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(Roots::from_pem(dps.ca_pem()).unwrap())
            .with_min_poll_interval(Duration::from_millis(1))
    }

    fn toasters(key: &SymmetricKey) -> EnrollmentGroup {
        EnrollmentGroup::from_keys("toasters".parse().unwrap(), key, &SymmetricKey::generate())
    }

    #[tokio::test]
    async fn a_device_is_assigned_to_its_hub() {
        let key = SymmetricKey::generate();
        let dps = emulator(&toasters(&key)).await;
        let who = SymmetricKeyAttestation::from_group("toaster-1".parse().unwrap(), &key);

        let assignment = device(&dps, who).register().await.unwrap();

        assert_eq!(assignment.hub().as_str(), "contoso-toasters");
        assert_eq!(assignment.device_id().as_str(), "toaster-1");
        dps.shutdown().await;
    }

    #[tokio::test]
    async fn a_wrong_key_is_refused() {
        let dps = emulator(&toasters(&SymmetricKey::generate())).await;
        let who = SymmetricKeyAttestation::from_group("toaster-1".parse().unwrap(), &SymmetricKey::generate());

        let error = device(&dps, who).register().await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        dps.shutdown().await;
    }

    #[tokio::test]
    async fn a_disabled_group_accepts_no_device() {
        let key = SymmetricKey::generate();
        let dps = emulator(&toasters(&key).with_provisioning_status(ProvisioningStatus::Disabled)).await;
        let who = SymmetricKeyAttestation::from_group("toaster-1".parse().unwrap(), &key);

        let error = device(&dps, who).register().await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Disabled);
        dps.shutdown().await;
    }
}
