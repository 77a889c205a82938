//! The CA certificates of the instance, with the operations of the control plane.

mod lifecycle;
mod refused;
mod used;

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use crate::common::{Answer, Wire};

/// The path of the certificates in Azure Resource Manager.
const FOLDER: &str = "/subscriptions/a386d5ea-ea90-441a-8263-d816368c84a1/resourceGroups/contoso/providers/Microsoft.Devices/provisioningServices/dps-1/certificates";

/// A client of the certificate operations.
struct Cas<'a>(&'a Wire);

impl Cas<'_> {
    fn request(&self, method: &str, below: &str) -> reqwest::RequestBuilder {
        let Self(wire) = self;
        let path = format!("{FOLDER}{below}?api-version=2022-12-12");
        let token = wire.service_sas().sign(&wire.service_key);
        wire.request(method, &path).header("Authorization", token)
    }

    async fn list(&self) -> Value {
        let answer = Answer::to(self.request("GET", "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["value"].take()
    }

    async fn get(&self, name: &str) -> Answer {
        Answer::to(self.request("GET", &format!("/{name}"))).await
    }

    /// Uploads the certificate, and returns the answer's document.
    async fn create(&self, name: &str, pem: &str) -> Value {
        let answer = self.put(name, None, &upload(pem, None)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn put(&self, name: &str, etag: Option<&str>, body: &Value) -> Answer {
        let request = self.request("PUT", &format!("/{name}")).json(body);
        Answer::to(conditional(request, etag)).await
    }

    async fn delete(&self, name: &str, etag: Option<&str>) -> Answer {
        let request = self.request("DELETE", &format!("/{name}"));
        Answer::to(conditional(request, etag)).await
    }

    async fn code(&self, name: &str, etag: Option<&str>) -> Answer {
        let request = self.request("POST", &format!("/{name}/generateVerificationCode"));
        Answer::to(conditional(request, etag)).await
    }

    async fn verify(&self, name: &str, etag: Option<&str>, pem: &str) -> Answer {
        let request = self.request("POST", &format!("/{name}/verify"));
        let request = request.json(&json!({ "certificate": pem }));
        Answer::to(conditional(request, etag)).await
    }

    /// Proves the possession of the CA's key.
    async fn prove(&self, name: &str, authority: &CertificateAuthority) -> Value {
        let answer = self.code(name, Some("*")).await.json();
        let code = answer["properties"]["verificationCode"].as_str();
        let proof = authority
            .issue(code.expect("a code"))
            .expect("a certificate");
        let etag = answer["etag"].as_str();
        let answer = self.verify(name, etag, proof.certificate_pem()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn conditional(request: reqwest::RequestBuilder, etag: Option<&str>) -> reqwest::RequestBuilder {
    match etag {
        Some(etag) => request.header("If-Match", etag),
        None => request,
    }
}

/// A certificate in the shape of 2022-12-12.
fn upload(pem: &str, is_verified: Option<bool>) -> Value {
    json!({ "properties": { "certificate": pem, "isVerified": is_verified } })
}

fn authority(name: &str) -> CertificateAuthority {
    CertificateAuthority::new(name).expect("a CA")
}

/// An error in the control plane's shape.
#[track_caller]
fn assert_refused(answer: &Answer, code: u64, name: &str, message: &str) {
    assert_eq!(u64::from(answer.status), code / 1000, "{answer:?}");
    let expected = json!({
        "code": code,
        "httpStatusCode": name,
        "message": message,
        "details": null,
    });
    assert_eq!(answer.json(), expected);
}
