//! Uploads of files: a device requests an address, uploads the file, and reports the result.

use std::path::Path;

use dps_emulator::{EmulatorBuilder, Limits};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Answer, Dps, FOREVER, KEY_1, KEY_2, Sas, key_enrollment, percent};

struct Uploads {
    dps: Dps,
    dir: TempDir,
}

/// An address for an upload.
struct Address {
    correlation_id: String,
    url: String,
}

impl Uploads {
    async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    async fn start_with(choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let dir = TempDir::new().expect("a directory");
        let folder = dir.path().join("uploads");
        let dps = Dps::start_with(|builder| choose(builder.upload_dir(folder))).await;
        for id in ["dev-1", "dev-2"] {
            let document = key_enrollment(id, KEY_1, KEY_2);
            dps.create(&format!("/enrollments/{id}"), &document).await;
            dps.device(id).key(KEY_1).assigned().await;
        }
        Self { dps, dir }
    }

    /// A device's request to its hub.
    fn request(&self, id: &str, path: &str, body: &Value) -> RequestBuilder {
        let sas = Sas {
            sr: percent(&format!("127.0.0.1/devices/{id}")),
            se: FOREVER,
            skn: None,
        };
        let path = format!("/devices/{id}/{path}?api-version=2021-04-12");
        let request = self.dps.request("POST", &path);
        request.header("Authorization", sas.sign(KEY_1)).json(body)
    }

    async fn start_upload(&self, id: &str, blob: &str) -> Answer {
        Answer::to(self.request(id, "files", &json!({ "blobName": blob }))).await
    }

    async fn address(&self, blob: &str) -> Address {
        let answer = self.start_upload("dev-1", blob).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let grant = answer.json();
        let part = |name: &str| grant[name].as_str().expect("text").to_owned();
        assert_eq!(part("hostName"), format!("localhost:{}", self.dps.port));
        assert_eq!(part("blobName"), format!("dev-1/{blob}"));
        assert!(part("sasToken").starts_with("?sv="), "{grant}");
        let path = part("blobName")
            .split('/')
            .map(percent)
            .collect::<Vec<_>>()
            .join("/");
        Address {
            correlation_id: part("correlationId"),
            url: format!("/{}/{path}{}", part("containerName"), part("sasToken")),
        }
    }

    async fn put(&self, url: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.dps.request("PUT", url).body(body);
        Answer::to(request.header("x-ms-blob-type", "BlockBlob")).await
    }

    async fn finish(&self, id: &str, correlation_id: &str, success: bool) -> Answer {
        let body = json!({
            "correlationId": correlation_id,
            "isSuccess": success,
            "statusCode": 200,
            "statusDescription": "uploaded",
        });
        Answer::to(self.request(id, "files/notifications", &body)).await
    }

    /// The files below a folder, without those of the parts.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, base: &Path, files: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => walk(&path, base, files),
                    false => {
                        let path = path.strip_prefix(base).expect("below");
                        files.push(path.to_string_lossy().replace('\\', "/"));
                    }
                }
            }
        }
        let mut files = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut files);
        files.sort();
        files
    }
}

#[tokio::test]
async fn a_file_is_uploaded_in_three_calls() {
    let uploads = Uploads::start().await;
    let address = uploads.address("logs/2026 11.txt").await;
    let answer = uploads.put(&address.url, "hello world").await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let finished = uploads.finish("dev-1", &address.correlation_id, true).await;
    assert_eq!(finished.status, 204, "{finished:?}");

    let hub = uploads.dps.hub("127.0.0.1");
    let file = hub.uploaded_file("dev-1", "logs/2026 11.txt");
    let content = std::fs::read(file.expect("a file")).expect("read");
    assert_eq!(content, b"hello world");
    let expected = "uploads/127.0.0.1/dev-1/logs/2026%2011.txt";
    assert_eq!(uploads.files(), [expected]);

    let api = uploads.dps.hub_api("127.0.0.1");
    let path = "/messages/servicebound/filenotifications";
    let notified = api.get(path).await;
    assert_eq!(notified.status, 200, "{notified:?}");
    let document = &notified.json()[0];
    assert_eq!(document["deviceId"], "dev-1");
    assert_eq!(document["blobName"], "dev-1/logs/2026 11.txt");
    assert_eq!(document["blobSizeInBytes"], 11);
    let token = notified.header("etag").expect("a token").trim_matches('"');
    let settle = api.request("DELETE", &format!("{path}/{token}"));
    assert_eq!(Answer::to(settle).await.status, 204);
    assert_eq!(api.get(path).await.status, 204);
    let again = uploads.finish("dev-1", &address.correlation_id, true).await;
    assert_eq!(again.status, 400, "{again:?}");
}

#[tokio::test]
async fn a_file_is_made_of_blocks() {
    let uploads = Uploads::start().await;
    let address = uploads.address("big.bin").await;
    for (id, part) in [("QkJC", "world"), ("QUFB", "hello "), ("RERE", "unused")] {
        let url = format!("{}&comp=block&blockid={id}", address.url);
        assert_eq!(uploads.put(&url, part).await.status, 201);
    }
    let list = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
                <BlockList><Latest>QUFB</Latest><Latest>QkJC</Latest></BlockList>";
    let url = format!("{}&comp=blocklist", address.url);
    let unknown = "<BlockList><Latest>REREREQ=</Latest></BlockList>";
    assert_eq!(uploads.put(&url, unknown).await.status, 400);
    assert_eq!(uploads.put(&url, list).await.status, 201);
    let file = uploads
        .dps
        .hub("127.0.0.1")
        .uploaded_file("dev-1", "big.bin");
    let content = std::fs::read(file.expect("a file")).expect("read");
    assert_eq!(content, b"hello world");
    assert_eq!(uploads.files(), ["uploads/127.0.0.1/dev-1/big.bin"]);
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_refused() {
    let uploads = Uploads::start().await;
    for name in [
        "",
        "../x",
        "a/../../x",
        "/etc/x",
        "a\\..\\x",
        "a/./b",
        "a//b",
    ] {
        let answer = uploads.start_upload("dev-1", name).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    // The signature is for one name.
    let address = uploads.address("x").await;
    let (_, query) = address.url.split_once('?').expect("a query");
    for path in [
        "dev-2/x",
        "dev-1/y",
        "dev-1/%2e%2e/dev-2/x",
        "dev-1/..%2F..%2Fx",
        "dev-1/x/y",
        "dev-1",
        "",
    ] {
        let url = format!("/device-uploads/{path}?{query}");
        let answer = uploads.put(&url, "attack").await;
        assert!([400, 403].contains(&answer.status), "{path}: {answer:?}");
    }
    assert!(uploads.files().is_empty(), "{:?}", uploads.files());
}

#[tokio::test]
async fn an_address_cannot_be_changed_and_expires() {
    let clock = crate::common::TestClock::now();
    let at = clock.clone();
    let uploads = Uploads::start_with(|builder| builder.clock(std::sync::Arc::new(at))).await;
    let address = uploads.address("x").await;
    let (path, query) = address.url.split_once('?').expect("a query");
    let later = query.replace("se=2", "se=3");
    assert_ne!(later, query);
    for query in ["", "sig=eA%3D%3D&se=2999-01-01T00%3A00%3A00Z", &later] {
        let answer = uploads.put(&format!("{path}?{query}"), "x").await;
        assert_eq!(answer.status, 403, "{query}: {answer:?}");
        assert!(answer.text.contains("AuthenticationFailed"), "{answer:?}");
    }
    clock.advance(std::time::Duration::from_secs(3601));
    assert_eq!(uploads.put(&address.url, "x").await.status, 403);
    assert!(uploads.files().is_empty());
}

#[tokio::test]
async fn the_size_of_a_file_is_limited() {
    let mut limits = Limits::default();
    limits.hub_upload_bytes = 10;
    let uploads = Uploads::start_with(|builder| builder.limits(limits)).await;
    let address = uploads.address("x").await;
    let answer = uploads.put(&address.url, "12345678901").await;
    assert_eq!(answer.status, 413, "{answer:?}");
    for (id, status) in [("QUFB", 201), ("QkJC", 413)] {
        let url = format!("{}&comp=block&blockid={id}", address.url);
        assert_eq!(uploads.put(&url, "123456").await.status, status);
    }
    assert_eq!(uploads.put(&address.url, "1234567890").await.status, 201);
}

#[tokio::test]
async fn a_device_has_ten_uploads_at_the_same_time() {
    let uploads = Uploads::start().await;
    let mut first = None;
    for number in 0..10 {
        let address = uploads.address(&number.to_string()).await;
        first.get_or_insert(address);
    }
    let refused = uploads.start_upload("dev-1", "x").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let name = refused.header("iothub-errorcode");
    assert_eq!(name, Some("DeviceMaximumActiveFileUploadLimitExceeded"));
    assert_eq!(uploads.start_upload("dev-2", "x").await.status, 200);
    let id = first.expect("an address").correlation_id;
    assert_eq!(uploads.finish("dev-2", &id, false).await.status, 400);
    assert_eq!(uploads.finish("dev-1", &id, false).await.status, 204);
    assert_eq!(uploads.start_upload("dev-1", "x").await.status, 200);
}

#[tokio::test]
async fn an_upload_that_is_reported_without_a_file_is_refused() {
    let uploads = Uploads::start().await;
    let address = uploads.address("x").await;
    let answer = uploads.finish("dev-1", &address.correlation_id, true).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn a_device_without_valid_credentials_is_refused() {
    let uploads = Uploads::start().await;
    let sas = |resource: &str, key: &str| {
        let sr = percent(resource);
        let sas = Sas {
            sr,
            se: FOREVER,
            skn: None,
        };
        sas.sign(key)
    };
    let path = "/devices/dev-1/files?api-version=2021-04-12";
    for token in [
        sas("127.0.0.1/devices/dev-2", KEY_1),
        sas("other-hub/devices/dev-1", KEY_1),
        sas("127.0.0.1/devices/dev-1", crate::common::KEY_3),
        String::new(),
    ] {
        let request = uploads.dps.request("POST", path);
        let request = request.header("Authorization", &token);
        let answer = Answer::to(request.json(&json!({ "blobName": "x" }))).await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
}

#[tokio::test]
async fn without_a_folder_files_cannot_be_uploaded() {
    let dps = Dps::start().await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let dir = TempDir::new().expect("a directory");
    let uploads = Uploads { dps, dir };
    let answer = uploads.start_upload("dev-1", "x").await;
    assert_eq!(answer.status, 501, "{answer:?}");
}

#[tokio::test]
async fn telemetry_over_https() {
    let uploads = Uploads::start().await;
    let request = uploads.request("dev-1", "messages/events", &json!({ "t": 21 }));
    let request = request
        .header("iothub-messageid", "m1")
        .header("iothub-app-alarm", "true");
    assert_eq!(Answer::to(request).await.status, 204);
    let kept = uploads.dps.hub("127.0.0.1").telemetry("dev-1");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].body(), b"{\"t\":21}");
    assert_eq!(kept[0].property("alarm"), Some("true"));
    assert_eq!(kept[0].system_property("message-id"), Some("m1"));
}
