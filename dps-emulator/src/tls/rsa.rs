//! The RSA certificates for clients that do not verify ECDSA signatures. They are made when the first such client connects.
//!
//! Such a client verifies the whole chain with RSA, so there is a second root. Making two RSA keys takes seconds, which most
//! runs of the emulator do not need.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::thread;

use getrandom::SysRng;
use rcgen::KeyPair;
use rsa::PrivateKey as RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::configs::Configs;
use crate::error::{Error, ErrorKind};
use crate::issuer::{ServerAuthority, SharedKind, generate};
use crate::state::store::Store;

/// The size that every client supports.
const BITS: usize = 2048;

/// The RSA root and the server's RSA certificate, once they are needed.
#[derive(Debug)]
pub(crate) struct RsaCertificates {
    root: RootPlace,
    names: Vec<String>,
    /// Locked while they are made. A failure is not kept: the next client tries again.
    made: Arc<StdMutex<Option<Made>>>,
    /// Held while they are made: other handshakes wait without a thread.
    turn: Mutex<()>,
}

/// The place that keeps the root.
#[derive(Debug, Clone)]
enum RootPlace {
    /// This run only.
    Memory,
    Dir(PathBuf),
    /// A store that several emulators share, and a directory if there is one.
    Store(Arc<dyn Store>, Option<PathBuf>),
}

#[derive(Debug, Clone)]
struct Made {
    configs: Configs,
    root_pem: String,
}

impl RsaCertificates {
    /// The certificates are for these names. The root is kept in the directory, if there is one.
    pub(crate) fn new(dir: Option<&Path>, names: Vec<String>) -> Self {
        let root = dir.map_or(RootPlace::Memory, |dir| RootPlace::Dir(dir.to_owned()));
        Self::in_place(root, names)
    }

    /// The certificates are for these names. The emulators that share the store have one root.
    pub(crate) fn shared(store: Arc<dyn Store>, dir: Option<&Path>, names: Vec<String>) -> Self {
        let dir = dir.map(Path::to_owned);
        Self::in_place(RootPlace::Store(store, dir), names)
    }

    fn in_place(root: RootPlace, names: Vec<String>) -> Self {
        Self {
            root,
            names,
            made: Arc::default(),
            turn: Mutex::default(),
        }
    }

    /// Returns the TLS configurations with the server's RSA certificate.
    pub(crate) async fn configs(&self) -> io::Result<Configs> {
        self.made().await.map(|made| made.configs).map_err(|error| {
            tracing::warn!(error, "the RSA certificate could not be made");
            io::Error::other(error)
        })
    }

    /// Returns the root that clients of these certificates must trust.
    pub(crate) async fn root_pem(&self) -> Result<String, Error> {
        let made = self.made().await;
        made.map(|made| made.root_pem)
            .map_err(|error| Error::new(ErrorKind::Certificate, error))
    }

    /// A caller that is dropped does not stop the work; the next one waits for its result.
    async fn made(&self) -> Result<Made, String> {
        // Not locked for long, except while they are made.
        if let Ok(made) = self.made.try_lock()
            && let Some(made) = &*made
        {
            return Ok(made.clone());
        }
        let _turn = self.turn.lock().await;
        let made = Arc::clone(&self.made);
        let (root, names) = (self.root.clone(), self.names.clone());
        let runtime = Handle::current();
        let work = move || {
            let mut kept = made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(made) = &*kept {
                return Ok(made.clone());
            }
            let made = make(&root, &names, &runtime)?;
            *kept = Some(made.clone());
            Ok(made)
        };
        let done = spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Makes the server's key while the root is made or read.
fn make(root: &RootPlace, names: &[String], runtime: &Handle) -> Result<Made, String> {
    let (authority, key) = thread::scope(|scope| {
        let key = scope.spawn(new_key);
        let new = |dir| ServerAuthority::load_or_create_rsa(dir, new_key);
        let authority = match root {
            RootPlace::Memory => new(None),
            RootPlace::Dir(dir) => new(Some(dir)),
            RootPlace::Store(store, dir) => {
                let dir = dir.as_deref();
                let new = || new(dir);
                let shared = ServerAuthority::shared(&**store, SharedKind::Rsa, dir, new);
                runtime.block_on(shared)
            }
        };
        (authority, key.join())
    });
    let made = || {
        let key =
            key.map_err(|_| Error::new(ErrorKind::Certificate, "making an RSA key failed"))?;
        let authority = authority?;
        let identity = authority.issue_for(key?, names)?;
        Ok(Made {
            configs: Configs::new(identity)?,
            root_pem: authority.certificate_pem().to_owned(),
        })
    };
    let made = made().map_err(|error: Error| error.to_string())?;
    match root {
        RootPlace::Dir(dir) | RootPlace::Store(_, Some(dir)) => {
            let root = dir.join(ServerAuthority::RSA_CERTIFICATE_FILE);
            tracing::info!(root = %root.display(), "made an RSA certificate for a client without ECDSA; such clients must trust this root");
        }
        _ => tracing::info!("made an RSA certificate for a client without ECDSA"),
    }
    Ok(made)
}

fn new_key() -> Result<KeyPair, Error> {
    let key = RsaPrivateKey::new(&mut SysRng, BITS).map_err(generate)?;
    let der = key.to_pkcs8_der().map_err(generate)?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_bytes())).map_err(generate)
}
