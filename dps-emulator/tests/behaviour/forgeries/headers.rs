//! HTTP headers that claim an identity: only the TLS layer proves a certificate, and only `Authorization` is a token.

use super::http::{PATH, exchange, register};
use crate::common::{Dps, KEY_1, KEY_2, certificate_enrollment, key_enrollment, percent, token};

/// Nothing but the TLS layer proves a certificate, and nothing but `Authorization` is a token.
#[tokio::test]
async fn no_header_is_an_identity() {
    let dps = Dps::start().await;
    let device = dps_emulator::DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let document = certificate_enrollment("dev-1", device.certificate_pem());
    dps.create("/enrollments/dev-1", &document).await;
    dps.create("/enrollments/dev-2", &key_enrollment("dev-2", KEY_1, KEY_2))
        .await;
    let pem = device.certificate_pem();
    let encoded = percent(pem);
    let base64: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let start = format!("PUT {PATH} HTTP/1.1");
    let length = "Content-Length: 2";
    for name in [
        "X-ARR-ClientCert",
        "X-Client-Cert",
        "X-Client-Certificate",
        "Client-Cert",
        "Client-Cert-Chain",
        "X-SSL-Client-Cert",
        "SSL-Client-Cert",
        "X-SSL-CERT",
        "X-Forwarded-Client-Cert",
        "X-Amzn-Mtls-Clientcert",
        "X-MS-Client-Principal",
        "X-Client-Verify",
        "SSL_CLIENT_VERIFY",
    ] {
        for value in [
            encoded.as_str(),
            &base64,
            &format!(":{base64}:"),
            &format!("By=localhost;Cert=\"{encoded}\";Subject=\"CN=dev-1\""),
            "SUCCESS",
            "CN=dev-1",
        ] {
            let header = format!("{name}: {value}");
            let request = register(&start, &["Host: localhost", length, &header]);
            let answer = exchange(&dps, &request).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{name}: {answer}");
        }
    }
    // A valid token in another place.
    let own = token("dev-2", KEY_1);
    let encoded = percent(&own);
    let path = "/0ne00000001/registrations/dev-2/register?api-version=2021-06-01";
    for (start, header) in [
        (
            format!("PUT {path}&Authorization={encoded} HTTP/1.1"),
            String::new(),
        ),
        (format!("PUT {path}&sr={encoded} HTTP/1.1"), String::new()),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("Proxy-Authorization: {own}"),
        ),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("X-Authorization: {own}"),
        ),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("X-Forwarded-Authorization: {own}"),
        ),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("X-Original-Authorization: {own}"),
        ),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("Cookie: Authorization={encoded}"),
        ),
        (
            format!("PUT {path} HTTP/1.1"),
            format!("iothub-authorization: {own}"),
        ),
    ] {
        let header = if header.is_empty() { "X-A: 1" } else { &header };
        let request = register(&start, &["Host: localhost", length, header]);
        let answer = exchange(&dps, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 "),
            "{start} {header}: {answer}"
        );
    }
    let header = format!("Authorization: {own}");
    let request = register(
        &format!("PUT {path} HTTP/1.1"),
        &["Host: localhost", length, &header],
    );
    let answer = exchange(&dps, &request).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}
