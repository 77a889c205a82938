//! X.509 attestation: the key is made in the token, certified by request, and signs the handshakes of every transport.

use dps_device::X509Attestation;
use dps_device::pkcs11::KeyKind;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};

use crate::authority::Authority;
use crate::world::{CARRIERS, Dps, alone, object, token};

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

/// A device of a group, over every transport.
async fn registers(kind: KeyKind) {
    let authority = Authority::new();
    let uri = object("toaster");
    let token = token().await;
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
    for carrier in CARRIERS {
        let identity = token.identity(&uri).await.unwrap();
        let device = X509Attestation::new(identity).unwrap();
        dps.assigns(device, carrier).await;
    }
}

#[test]
fn two_devices_at_once_on_one_token() {
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
        let everywhere = devices.into_iter().flat_map(|device| {
            CARRIERS.map(|carrier| {
                let dps = &dps;
                let device = device.clone();
                async move { dps.assigns(device, carrier).await }
            })
        });
        futures_util::future::join_all(everywhere).await;
    });
}
