//! X.509 attestation: a key is generated in the token, certified, and used with every transport.

use dps_device::X509Attestation;
use dps_device::pkcs11::KeyKind;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};

use crate::authority::Authority;
use crate::capabilities::generates;
use crate::setup::{Dps, TRANSPORTS, alone, object, skipped, token};

#[test]
fn p256() {
    alone(|| registers(KeyKind::P256));
}

#[test]
fn p384() {
    alone(|| registers(KeyKind::P384));
}

#[test]
fn rsa_2048() {
    alone(|| registers(KeyKind::Rsa2048));
}

#[test]
fn rsa_3072() {
    alone(|| registers(KeyKind::Rsa3072));
}

#[test]
fn rsa_4096() {
    alone(|| registers(KeyKind::Rsa4096));
}

/// A device of an enrollment group registers over every transport.
async fn registers(kind: KeyKind) {
    let authority = Authority::new();
    let uri = object("toaster");
    let token = token().await;
    if !generates(&token, kind).await {
        skipped("it does not generate this kind of key");
        return;
    }
    let key = token.generate_private_key(&uri, kind).await.unwrap();
    let request = key
        .certificate_request(&"toaster-0815".parse().unwrap())
        .await;
    let chain = authority.sign(&request.unwrap());
    token.store_chain(&uri, &chain).await.unwrap();

    let dps = Dps::start().await;
    let group = "toasters".parse().unwrap();
    let group = EnrollmentGroup::signing_certificate(group, authority.root_pem());
    dps.enroll_group(&group).await;
    for transport in TRANSPORTS {
        let identity = token.identity(&uri).await.unwrap();
        let device = X509Attestation::new(identity).unwrap();
        dps.register(device, transport).await;
    }
}

#[test]
fn two_devices_register_with_one_token_at_once() {
    alone(|| async {
        let authority = Authority::new();
        let token = token().await;
        let dps = Dps::start().await;
        let mut devices = Vec::new();
        for name in ["toaster-1", "toaster-2"] {
            let uri = object(name);
            let key = token.generate_private_key(&uri, KeyKind::P256).await;
            let key = key.unwrap();
            let request = key.certificate_request(&name.parse().unwrap()).await;
            let chain = authority.sign(&request.unwrap());
            let enrolled =
                IndividualEnrollment::client_certificate(name.parse().unwrap(), chain.as_str());
            dps.enroll(&enrolled).await;
            devices.push(X509Attestation::new(key.identity(chain).unwrap()).unwrap());
        }
        let registrations = devices.into_iter().flat_map(|device| {
            TRANSPORTS.map(|transport| {
                let dps = &dps;
                let device = device.clone();
                async move { dps.register(device, transport).await }
            })
        });
        futures_util::future::join_all(registrations).await;
    });
}
