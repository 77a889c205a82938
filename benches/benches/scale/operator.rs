//! A minimal service client with one connection: bulk requests, lookups, pages.

use std::sync::Arc;

use dps_tls::ClientTls;
use dps_types::sas::SasTokenBuilder;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::host::Host;

pub(crate) struct Operator {
    stream: TlsStream<TcpStream>,
    token: String,
}

/// A page, and the continuation token for the next one.
pub(crate) struct Page {
    pub(crate) items: usize,
    pub(crate) next: Option<String>,
}

impl Operator {
    pub(crate) async fn connect(host: &Host) -> Self {
        let name = host.connection.host_name();
        let (_, port) = name.rsplit_once(':').unwrap();
        let socket = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await;
        let socket = socket.unwrap();
        socket.set_nodelay(true).unwrap();
        let tls = ClientTls::new(host.roots.clone()).build().unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let token = SasTokenBuilder::new(name, 4_102_444_800)
            .policy(host.connection.shared_access_key_name())
            .sign_with(host.connection.shared_access_key());
        Self {
            stream: TlsConnector::from(Arc::new(tls))
                .connect(server, socket)
                .await
                .unwrap(),
            token: token.reveal().to_string(),
        }
    }

    /// Creates the enrollments with these numbers.
    pub(crate) async fn create(&mut self, numbers: std::ops::Range<usize>) {
        let items: Vec<Value> = numbers
            .map(|number| {
                let attestation = json!({ "type": "symmetricKey" });
                json!({ "registrationId": id(number), "attestation": attestation })
            })
            .collect();
        let body = json!({ "enrollments": items, "mode": "create" }).to_string();
        let (_, answer) = self.ask("POST", "/enrollments", "", &body).await;
        assert_eq!(answer, br#"{"errors":[],"isSuccessful":true}"#);
    }

    pub(crate) async fn lookup(&mut self, number: usize) {
        let path = format!("/enrollments/{}", id(number));
        let (_, body) = self.ask("GET", &path, "", "").await;
        assert!(body.starts_with(b"{\"registrationId\""));
    }

    pub(crate) async fn page(&mut self, count: usize, token: Option<&str>) -> Page {
        let token = token.map(|token| format!("x-ms-continuation: {token}\r\n"));
        let headers = format!(
            "x-ms-max-item-count: {count}\r\n{}",
            token.unwrap_or_default()
        );
        let query = r#"{"query":"SELECT *"}"#;
        let (head, body) = self
            .ask("POST", "/enrollments/query", &headers, query)
            .await;
        let ids = body
            .windows(17)
            .filter(|text| text == b"{\"registrationId\"");
        let next = head
            .lines()
            .find_map(|line| line.strip_prefix("x-ms-continuation: "));
        Page {
            items: ids.count(),
            next: next.map(str::to_owned),
        }
    }

    /// Sends a request and reads the answer, whose status must be 200.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (String, Vec<u8>) {
        let request = format!(
            "{method} {path}?api-version=2021-10-01 HTTP/1.1\r\nhost: localhost\r\n\
             authorization: {}\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = loop {
            assert_ne!(self.stream.read_buf(&mut answer).await.unwrap(), 0);
            let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                break end;
            }
        };
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut body = answer.split_off(end + 4);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        while body.len() < length {
            assert_ne!(self.stream.read_buf(&mut body).await.unwrap(), 0);
        }
        (head, body)
    }
}

fn id(number: usize) -> String {
    format!("device-{number:07}")
}
