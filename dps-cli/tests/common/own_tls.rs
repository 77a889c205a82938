//! TLS servers with a certificate of their own root, `own-root.pem`.

use std::ops::Range;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::World;

/// The options that trust the root of these servers.
pub(crate) const OWN_ROOT: [&str; 4] = ["--ca-file", "own-root.pem", "--host", "localhost"];

/// A validity around the present moment.
pub(crate) fn now() -> Range<OffsetDateTime> {
    let now = OffsetDateTime::now_utc();
    now - Duration::days(1)..now + Duration::days(1)
}

/// Starts a server whose certificate has this name and validity. Returns its port.
pub(crate) async fn serve<F>(
    world: &World,
    name: &str,
    validity: Range<OffsetDateTime>,
    handle: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> u16
where
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(Arc::new(server_config(world, name, validity)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, handle) = (acceptor.clone(), handle.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    handle(stream).await;
                }
            });
        }
    });
    port
}

fn server_config(world: &World, name: &str, validity: Range<OffsetDateTime>) -> ServerConfig {
    let mut root = CertificateParams::default();
    root.distinguished_name
        .push(DnType::CommonName, "Fabrikam Inspection");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    world.file("own-root.pem", root.self_signed(&root_key).unwrap().pem());
    let issuer = Issuer::new(root, root_key);
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, name);
    (leaf.not_before, leaf.not_after) = (validity.start, validity.end);
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}
