//! A scripted service over real TLS that records every request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use dps_service::ServiceClient;
use dps_tls::Roots;
use dps_types::SymmetricKey;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The text `secret secret secret` in base64, which is long enough for a key.
pub(crate) const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";

/// The reaction of the service to a request.
pub(crate) enum Action {
    /// Sends this.
    Answer(String),
    /// Closes the connection.
    HangUp,
    /// Does not answer.
    Silence,
}

/// An answer with this body.
pub(crate) fn answer(status: &str, body: &str) -> Action {
    answer_with(
        status,
        "content-type: application/json; charset=utf-8",
        body,
    )
}

/// An answer with one more header.
pub(crate) fn answer_with(status: &str, header: &str, body: &str) -> Action {
    let length = body.len();
    Action::Answer(format!(
        "HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

/// A recorded request.
pub(crate) struct Seen {
    /// The first line.
    pub(crate) line: String,
    /// The header lines, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        let value = values.next().map(|header| header.1.as_str());
        assert!(values.next().is_none(), "{name} was sent twice");
        value
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

pub(crate) struct Service {
    port: u16,
    certificate: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Service {
    /// Starts a service with one action for each request. It answers further requests with 418.
    pub(crate) async fn start(script: impl IntoIterator<Item = Action>) -> Self {
        let script: Mutex<VecDeque<Action>> = Mutex::new(script.into_iter().collect());
        let act = move |_: &Seen| script.lock().expect("no panic before").pop_front();
        Self::answering(move |seen| act(seen).unwrap_or_else(|| answer("418 I'm a teapot", "")))
            .await
    }

    /// Starts a service with a function that returns the action for each request.
    pub(crate) async fn answering(act: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into(),
            )
            .expect("an identity");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            listener,
            TlsAcceptor::from(Arc::new(tls)),
            Arc::new(act),
            Arc::clone(&seen),
        ));
        Self {
            port,
            certificate: cert.pem(),
            seen,
            _tasks: tasks,
        }
    }

    /// The host name for a connection string.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(crate) fn connection_string(&self) -> String {
        let host = self.host();
        format!(
            "HostName={host};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY}"
        )
    }

    /// A client that does not trust the service.
    pub(crate) fn client_without_roots(&self) -> ServiceClient {
        ServiceClient::from_connection_string(&self.connection_string()).expect("valid")
    }

    /// A client that trusts the service.
    pub(crate) fn client(&self) -> ServiceClient {
        self.client_without_roots().with_roots(self.roots())
    }

    /// The certificate of the service.
    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(&self.certificate).expect("a root")
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no panic before"))
    }

    /// The number of requests that were not returned by [`Service::seen`] yet.
    pub(crate) fn peek(&self) -> usize {
        self.seen.lock().expect("no panic before").len()
    }

    /// The one request so far.
    pub(crate) fn only_one(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "requests");
        seen.remove(0)
    }
}

pub(crate) fn key() -> SymmetricKey {
    SymmetricKey::from_base64(KEY).expect("a key")
}

type Script = Arc<dyn Fn(&Seen) -> Action + Send + Sync>;

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, script, seen) = (tls.clone(), Arc::clone(&script), Arc::clone(&seen));
        connections.spawn(async move {
            // It is not a failure of the service if a client refuses the certificate or disconnects.
            let _ = serve(tcp, tls, script, seen).await;
        });
    }
}

async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(tls.accept(tcp).await?);
    while let Some(request) = read(&mut stream).await? {
        let act = script(&request);
        seen.lock().expect("no panic before").push(request);
        match act {
            Action::Answer(text) => {
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await?;
            }
            Action::HangUp => return Ok(()),
            Action::Silence => std::future::pending().await,
        }
    }
    Ok(())
}

async fn read(
    stream: &mut (impl AsyncBufReadExt + AsyncReadExt + Unpin),
) -> std::io::Result<Option<Seen>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|header| header.0 == "content-length")
        .map_or(0, |header| header.1.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Seen {
        line: lines.swap_remove(0),
        headers,
        body: String::from_utf8(body).expect("text"),
    }))
}
