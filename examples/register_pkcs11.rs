//! Two devices whose keys are in a PKCS#11 token and never leave it: a private key for a certificate, and a symmetric key.
//! Offline, with SoftHSM for a token (`apt install softhsm2`):
//!
//! ```sh
//! mkdir -p target/softhsm && echo "directories.tokendir = target/softhsm" > target/softhsm2.conf
//! export SOFTHSM2_CONF=target/softhsm2.conf
//! softhsm2-util --init-token --free --label device --so-pin 5678 --pin 1234
//! export DPS_TOKEN="pkcs11:token=device?module-path=/usr/lib/softhsm/libsofthsm2.so" DPS_PIN=1234
//! cargo run -p dps-examples --features pkcs11 --example register_pkcs11
//! ```
//!
//! Another token is another URI (RFC 7512). Keys are made once: to run it again, `rm -r target/softhsm` and begin again.
use std::env;

use dps_device::pkcs11::{KeyKind, Pin, Token, Uri};
use dps_device::{Http, ProvisioningClient, Roots, SymmetricKey, SymmetricKeyAttestation, X509Attestation};
use dps_emulator::{CertificateAuthority, Emulator};
use dps_service::ServiceClient;
use dps_types::RegistrationId;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dps = Emulator::builder().link_hub("contoso-heatpumps").start().await?;
    let roots = Roots::from_pem(dps.ca_pem())?;
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());

    let uri: Uri = env::var("DPS_TOKEN").map_err(|_| "which token? Set DPS_TOKEN")?.parse()?;
    let token = Token::open_with_pin(&uri, Pin::from_env("DPS_PIN")).await?;

    // In the factory, once: the token makes the key pair and signs a request, an authority certifies it.
    let factory = CertificateAuthority::new("Contoso Factory 7")?;
    let name: RegistrationId = "heatpump-1".parse()?;
    let place = uri.clone().with_object(name.as_str());
    let key = token.generate_private_key(&place, KeyKind::P256).await?;
    let request = key.certificate_request(&name).await?;
    token.store_chain(&place, factory.issue_for_request(name.as_str(), &request)?).await?;

    // The operator: all devices of the factory are welcome.
    let group = EnrollmentGroup::signing_certificate("heatpumps".parse()?, factory.certificate_pem());
    service.enrollment_groups().create(&group).await?;

    // The device, each time: the token signs in the TLS handshake.
    let who = X509Attestation::new(token.identity(&place).await?)?;
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots.clone());
    let assignment = client.register().await?;
    println!("with a certificate: {} is at home in {}", assignment.device_id(), assignment.hub());

    // A symmetric key: made from the token's randomness, and given out this once, for the enrollment.
    let name: RegistrationId = "heatpump-2".parse()?;
    let (key, copy) = token.generate_secret_key(&uri.with_object(name.as_str())).await?;
    let enrollment = IndividualEnrollment::from_keys(name.clone(), &copy, &SymmetricKey::generate());
    service.individual_enrollments().create(&enrollment).await?;
    drop(copy);

    // The device, each time: the token signs the SAS tokens.
    let who = SymmetricKeyAttestation::from_signer(name, key);
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots);
    let assignment = client.register().await?;
    println!("with a symmetric key: {} is at home in {}", assignment.device_id(), assignment.hub());

    dps.shutdown().await;
    Ok(())
}
