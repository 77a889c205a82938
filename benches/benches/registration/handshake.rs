//! A full TLS 1.3 handshake between two rustls connections: in memory in one thread, or over a loopback socket.

use std::net::SocketAddr;
use std::sync::Arc;

use dps_device::Roots;
use dps_tls::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Both sides, with certificates like those of the emulator: P-256, a root and a leaf.
#[derive(Clone)]
pub(crate) struct Handshake {
    server: Arc<ServerConfig>,
    roots: Roots,
}

impl Handshake {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &root)
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        // As the emulator.
        server.send_tls13_tickets = 1;
        Self {
            server: Arc::new(server),
            roots: Roots::from_pem(root.pem()).unwrap(),
        }
    }

    /// Uses a new client configuration, as every registration does: no session is resumed.
    pub(crate) fn perform(&self) {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(self.client(), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            wire.clear();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut arriving = wire.as_slice();
            while !arriving.is_empty() {
                server.read_tls(&mut arriving).unwrap();
                server.process_new_packets().unwrap();
            }
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut arriving = wire.as_slice();
            while !arriving.is_empty() {
                client.read_tls(&mut arriving).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }

    /// The same over a socket, with an orderly close on both sides.
    pub(crate) async fn perform_with(&self, server: SocketAddr) {
        // By name, as a device connects.
        let address = ("localhost", server.port());
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(self.client());
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.server))
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(ClientTls::new(self.roots.clone()).build().unwrap())
    }
}

/// Accepts connections, and closes each after the peer has closed it.
pub(crate) struct HandshakeServer {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl HandshakeServer {
    pub(crate) async fn start(handshake: &Handshake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = handshake.acceptor();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    let mut stream = acceptor.accept(stream).await.unwrap();
                    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
                    stream.shutdown().await.unwrap();
                });
            }
        });
        Self {
            address,
            _serving: serving,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
