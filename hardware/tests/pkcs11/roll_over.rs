//! A device changes from one key pair of the token to another: after a power cut between any two steps it can still register.

use dps_device::pkcs11::{KeyKind, Token, Uri};
use dps_device::{ErrorKind, X509Attestation};
use dps_types::enrollment::EnrollmentGroup;

use crate::authority::Authority;
use crate::sessions::lose_all;
use crate::setup::{Dps, TransportKind, alone, object, skipped_without_softhsm, token};

/// The labels of the pairs, the newest first.
const LABELS: [&str; 2] = ["toaster-2", "toaster-1"];

#[test]
fn a_device_can_register_after_each_step_of_a_roll_over() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let authority = Authority::new();
        let dps = Dps::start().await;
        let group = "toasters".parse().unwrap();
        let group = EnrollmentGroup::signing_certificate(group, authority.root_pem());
        dps.enroll_group(&group).await;
        let [new, old] = LABELS.map(object);

        // In the factory.
        let token = token().await;
        certify(&token, &old, &authority).await;
        assert_eq!(boot(&dps).await, "toaster-1");

        // In the field: each step of the replacement, and a power cut after it.
        token
            .generate_private_key(&new, KeyKind::P384)
            .await
            .unwrap();
        assert_eq!(boot(&dps).await, "toaster-1");
        let chain = request(&token, &new, &authority).await;
        assert_eq!(boot(&dps).await, "toaster-1");
        token.store_chain(&new, chain).await.unwrap();
        assert_eq!(boot(&dps).await, "toaster-2");
        // The service has accepted the new certificate.
        token.remove_private_key(&old).await.unwrap();
        assert_eq!(boot(&dps).await, "toaster-2");
        assert!(token.identity(&old).await.is_err());
    });
}

async fn certify(token: &Token, uri: &Uri, authority: &Authority) {
    token
        .generate_private_key(uri, KeyKind::P256)
        .await
        .unwrap();
    let chain = request(token, uri, authority).await;
    token.store_chain(uri, chain).await.unwrap();
}

async fn request(token: &Token, uri: &Uri, authority: &Authority) -> String {
    let key = token.private_key(uri).await.unwrap();
    let id = "toaster-0815".parse().unwrap();
    let request = key.certificate_request(&id).await;
    authority.sign(&request.unwrap())
}

/// The device starts again and registers with its newest pair that has a certificate. Returns the label of the pair.
async fn boot(dps: &Dps) -> &'static str {
    lose_all();
    let token = token().await;
    for label in LABELS {
        match token.identity(&object(label)).await {
            Ok(identity) => {
                let device = X509Attestation::new(identity).unwrap();
                dps.register(device, TransportKind::Mqtt).await;
                return label;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidConfiguration),
        }
    }
    panic!("the device has no usable pair");
}
