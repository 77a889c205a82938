//! The TLS handshake: the roots of the device, and its certificate.

use std::sync::Arc;

use dps_device::{ClientIdentity, ErrorKind, Http, ProvisioningClient, Roots, X509Attestation};
use rcgen::KeyPair;
use tokio_rustls::rustls::sign::{CertifiedKey, Signer, SigningKey};
use tokio_rustls::rustls::{SignatureAlgorithm, SignatureScheme};

use super::server::{Server, json as answer};
use super::{client, connecting_to};
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING, assigned_as};

const EC_SEC1: &str = include_str!("../../keys/ec-sec1.pem");
const EC_PKCS8: &str = include_str!("../../keys/ec-pkcs8.pem");
const RSA_PKCS1: &str = include_str!("../../keys/rsa-pkcs1.pem");
const RSA_PKCS8: &str = include_str!("../../keys/rsa-pkcs8.pem");

fn x509(who: X509Attestation, pki: &Pki, server: &Server) -> ProvisioningClient {
    let transport = Http::default().with_port(server.port());
    connecting_to(
        ProvisioningClient::new("0ne00111111".parse().unwrap(), who, transport),
        pki,
    )
}

#[tokio::test]
async fn the_whole_chain_is_sent() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(true),
        [answer(202, "", ASSIGNING), answer(200, "", ASSIGNED)],
    )
    .await;
    x509(pki.device("my-device"), &pki, &server)
        .register()
        .await
        .unwrap();

    let put = server.request().await;
    assert_eq!(put.certificates, 2, "leaf and intermediate");
    assert!(put.line.contains("/registrations/my-device/register"));
    assert_eq!(put.body, r#"{"registrationId":"my-device"}"#);
    assert!(put.header("authorization").is_none());
    let get = server.request().await;
    assert!(get.header("authorization").is_none());
    assert_eq!(get.connection, put.connection);
}

#[tokio::test]
async fn keys_of_every_format_prove_the_device() {
    for (key, pkcs8) in [
        (EC_SEC1, EC_PKCS8),
        (EC_PKCS8, EC_PKCS8),
        (RSA_PKCS1, RSA_PKCS8),
        (RSA_PKCS8, RSA_PKCS8),
    ] {
        let pki = Pki::new();
        let chain = pki.device_chain("my-device", &KeyPair::from_pem(pkcs8).unwrap());
        let who = X509Attestation::from_pem(chain, key).unwrap();
        let server = Server::start(pki.server(true), [answer(200, "", ASSIGNED)]).await;
        x509(who, &pki, &server).register().await.unwrap();
    }
}

/// A key without a public part, as in some HSMs.
#[derive(Debug)]
struct Elsewhere(Arc<dyn SigningKey>);

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[tokio::test]
async fn a_key_may_sign_elsewhere() {
    let pki = Pki::new();
    let chain = pki.device_chain("my-device", &KeyPair::from_pem(EC_PKCS8).unwrap());
    let known = ClientIdentity::from_pem(chain, EC_SEC1).unwrap();
    let known = known.certified_key();
    let elsewhere = Arc::new(Elsewhere(known.key.clone()));
    let identity = CertifiedKey::new(known.cert.clone(), elsewhere.clone());
    let who = X509Attestation::new(ClientIdentity::from_certified_key(identity).unwrap()).unwrap();

    let mut server = Server::start(pki.server(true), [answer(200, "", ASSIGNED)]).await;
    x509(who, &pki, &server).register().await.unwrap();
    assert_eq!(server.request().await.certificates, 2);

    let empty = CertifiedKey::new(Vec::new(), elsewhere);
    let error = ClientIdentity::from_certified_key(empty).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[tokio::test]
async fn two_devices_of_one_process_send_their_own_certificates() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(true),
        ["device-1", "device-2"].map(|name| answer(200, "", &assigned_as(name))),
    )
    .await;
    for name in ["device-1", "device-2"] {
        let client = x509(pki.device(name), &pki, &server);
        client.register().await.unwrap();
        let put = server.request().await;
        assert!(put.line.contains(&format!("/registrations/{name}/")));
        assert_eq!(put.certificates, 2);
        server.closed().await;
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_trust_is_a_tls_failure() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Server::start(pki.server(true), []).await;
    let client = x509(other.device("my-device"), &pki, &server);
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_server_under_another_root_is_a_tls_failure() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Server::start(pki.server(false), []).await;
    let client = client(&pki, &server).with_roots(other.roots());
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("with_roots"), "{error}");

    let server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let both: Roots = other.roots().and(pki.roots());
    let client = super::client(&other, &server).with_roots(both);
    client.register().await.unwrap();
}

#[tokio::test]
async fn a_server_with_another_name_is_a_tls_failure() {
    let pki = Pki::new();
    let server = Server::start(pki.server(false), []).await;
    let client = client(&pki, &server).with_host(std::net::Ipv4Addr::LOCALHOST);
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
}

#[tokio::test]
async fn a_certificate_outside_its_validity_is_described_with_both_times() {
    for (from, to, part) in [
        (2001, 2002, "expired at 2002-01-01T00:00:00"),
        (3001, 3002, "not valid before 3001-01-01T00:00:00"),
    ] {
        let pki = Pki::new();
        let server = Server::start(pki.server_valid(from, to), []).await;
        let error = client(&pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        let text = error.to_string();
        for part in [part, "the clock of the device shows 2", "check the clock"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
