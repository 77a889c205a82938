//! Key pairs of certificate requests in hardware, for the tests of each kind of hardware.

use std::time::SystemTime;

use dps_device::ErrorKind;
use dps_device::certificate::{CertificateRequest, Credential, IssuedCertificate, KeySource};

use crate::authority::Authority;

/// Two places for keys: a new key never replaces the one in use, and a certificate is found again with its key.
pub(crate) async fn keeps_the_key_in_use(keys: &dyn KeySource) {
    for name in keys.list().await.unwrap() {
        keys.remove(&name).await.unwrap();
    }
    let (first, key) = keys.generate(&[]).await.unwrap();
    assert_eq!(key.pkcs8(), None);
    assert!(key.kind().is_some());
    let listed = keys.list().await.unwrap();
    assert_eq!(listed[..], *std::slice::from_ref(&first));
    let stored = issued(first, &key).await;
    let first = stored.key();

    let (second, replaced) = keys.generate(&[first]).await.unwrap();
    assert_ne!(*second, first);
    // The device lost power before it used the second key: the next one replaces it.
    let (again, other) = keys.generate(&[first]).await.unwrap();
    assert_eq!(again, second);
    assert_ne!(other.public_key(), replaced.public_key());
    assert_eq!(
        keys.open(&second).await.unwrap().public_key(),
        other.public_key()
    );

    let opened = open(&stored, keys).await.unwrap();
    assert_eq!(opened.key().public_key(), key.public_key());
    assert_eq!(opened.identity().chain().count(), 2);

    let error = keys.generate(&[first, &second]).await.unwrap_err();
    assert!(error.to_string().contains("are in use"), "{error}");
    let error = keys.open("pkcs8:AQID").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);

    // With the second key in use, the first one is replaced, and its certificate can no longer be used.
    keys.generate(&[&second]).await.unwrap();
    let error = open(&stored, keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Certificate);

    assert_eq!(keys.list().await.unwrap().len(), 2);
    keys.remove(first).await.unwrap();
    keys.remove(first).await.unwrap();
    assert_eq!(*keys.list().await.unwrap(), [second]);
    let error = keys.open(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(keys.remove("another-place").await.is_err());
    keys.generate(&[]).await.unwrap();
}

async fn issued(
    name: impl Into<zeroize::Zeroizing<String>>,
    key: &dps_device::certificate::KeyPair,
) -> Credential {
    let id = "toaster-0815".parse().unwrap();
    let request = CertificateRequest::new(id, key.clone()).await.unwrap();
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        lines(&request.to_base64())
    );
    let chain = Authority::new().sign(&pem).replace(['\r', '\n'], "");
    let chain: Vec<_> = chain
        .split("-----END CERTIFICATE-----")
        .filter_map(|block| block.strip_prefix("-----BEGIN CERTIFICATE-----"))
        .collect();
    let issued = IssuedCertificate::from_answer(&request, &chain, SystemTime::now()).unwrap();
    Credential::new(name.into(), &issued)
}

async fn open(
    stored: &Credential,
    keys: &dyn KeySource,
) -> Result<IssuedCertificate, dps_device::Error> {
    let stored = Credential::from_json(&stored.to_json()?)?;
    stored.open(&"toaster-0815".parse().unwrap(), keys).await
}

fn lines(text: &str) -> String {
    let chars: Vec<_> = text.chars().collect();
    let lines = chars.chunks(64).map(|line| line.iter().collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}
