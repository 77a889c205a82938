//! The certificate chain of the device in the memory of its TPM.

use std::fmt;

use dps_tls::{read_chain, read_padded_certificates};
use rustls::pki_types::CertificateDer;
use tracing::{debug, warn};

use super::connection::Connection;
use super::error::TpmError;
use super::handle::Tpm;
use super::nv::Nv;
use super::nv_index::NvIndex;
use super::nv_problem::NvProblem;
use crate::error::Error;

/// A certificate chain in an NV index of a TPM, so that a device needs no file for its identity. [`Tpm::stored_chain`] returns it.
///
/// The content is the certificates in DER, the leaf first, one after the other: `tpm2_nvread INDEX | openssl x509 -inform der` shows
/// the leaf. The owner of the TPM writes and removes it; every program that may use the TPM can read it. A certificate is not a
/// secret.
///
/// An NV index has a limited size, on many TPMs 2,048 bytes: a leaf and an intermediate on P-256 need about 1,200. Leave out the
/// root, which DPS does not need.
///
/// ```no_run
/// # async fn provision(chain: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::X509Attestation;
/// use dps_device::tpm::{Tpm, TpmOptions};
///
/// let tpm = Tpm::open(TpmOptions::default()).await?;
/// // Once, with the chain that the authority has issued.
/// tpm.stored_chain().write(chain).await?;
/// // At every start.
/// let key = tpm.key_pair().open().await?;
/// let who = X509Attestation::new(key.stored_identity(&tpm.stored_chain()).await?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoredChain {
    tpm: Tpm,
    index: NvIndex,
}

impl Tpm {
    /// The certificate chain of the device in this TPM, to be written, read or removed.
    pub fn stored_chain(&self) -> StoredChain {
        StoredChain {
            tpm: self.clone(),
            index: NvIndex::CERTIFICATE_CHAIN,
        }
    }
}

impl StoredChain {
    /// Sets the NV index. The default is [`NvIndex::CERTIFICATE_CHAIN`].
    #[must_use]
    pub fn with_index(mut self, index: NvIndex) -> Self {
        self.index = index;
        self
    }

    /// Writes a chain (PEM or DER, the leaf first), in place of an earlier chain.
    ///
    /// An index with other content is not replaced. If the TPM fails, the earlier chain is written again. A power failure during the
    /// replacement can leave no chain, because a TPM cannot replace content in one step. A device that cannot be given a new chain
    /// writes to a second index, and removes the first one afterwards.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the chain cannot be read, is larger than an index can be,
    /// the TPM has no space left, the index belongs to another program or is locked, or the owner's authorization value is wrong.
    /// [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a [`TpmError`], with an [`NvProblem`] if there is one.
    pub async fn write(&self, chain: impl AsRef<[u8]>) -> Result<(), Error> {
        let chain = read_chain(chain.as_ref()).map_err(|error| {
            Error::configuration("the device's certificate chain cannot be read").with_source(error)
        })?;
        let content: Vec<u8> = chain.iter().flat_map(|der| der.to_vec()).collect();
        let index = self.index;
        self.tpm
            .run(move |connection| write(connection, index, &content))
            .await
            .map_err(|error| error.into_error("the certificate chain cannot be written"))
    }

    /// Checks that a chain of this many bytes (DER) can be written, before a certificate is requested: the index is free or has a
    /// chain, and the TPM has the space. For that, a free index is defined and removed again.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn check_writable(&self, bytes: usize) -> Result<(), Error> {
        let index = self.index;
        let checked = self.tpm.run(move |connection| {
            connection.nv_check_size(bytes)?;
            match connection.nv(index)? {
                Some(nv) => replaceable(connection, index, &nv).map(drop),
                None => connection.nv_check_space(index, bytes),
            }
        });
        checked
            .await
            .map_err(|error| error.into_error("the certificate chain could not be written"))
    }

    /// Reads the chain, the leaf first.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the TPM has no such index, it is blank or locked, does not
    /// allow reading, or its content is not a list of certificates. [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The
    /// source is a [`TpmError`], with an [`NvProblem`] if there is one.
    pub async fn read(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let index = self.index;
        let read = self.tpm.run(move |connection| match connection.nv(index)? {
            Some(nv) => certificates(index, &connection.nv_read(&nv)?),
            None => Err(TpmError::nv(
                NvProblem::NotFound,
                format!("the TPM has no NV index {index}: write the chain first"),
            )),
        });
        read.await
            .map_err(|error| error.into_error("the certificate chain cannot be read from the TPM"))
    }

    /// Removes the chain. An index that does not exist is not an error; one with other content is not removed.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn remove(&self) -> Result<(), Error> {
        let index = self.index;
        let removed = self.tpm.run(move |connection| {
            let Some(nv) = connection.nv(index)? else {
                return Ok(());
            };
            replaceable(connection, index, &nv)?;
            connection.nv_remove(nv)
        });
        removed
            .await
            .map_err(|error| error.into_error("the certificate chain cannot be removed"))
    }
}

impl fmt::Debug for StoredChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredChain")
            .field("tpm", &self.tpm)
            .field("index", &self.index)
            .finish()
    }
}

/// The certificates in the content of an index.
pub(super) fn certificates(
    index: NvIndex,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TpmError> {
    read_padded_certificates(content).map_err(|error| {
        let problem = match error.kind() {
            dps_tls::ErrorKind::NoCertificate => NvProblem::Blank,
            _ => NvProblem::Content,
        };
        TpmError::nv(problem, format!("the NV index {index}: {error}"))
    })
}

fn write(connection: &mut Connection<'_>, index: NvIndex, content: &[u8]) -> Result<(), TpmError> {
    let mut earlier = None;
    connection.nv_check_size(content.len())?;
    if let Some(nv) = connection.nv(index)? {
        earlier = replaceable(connection, index, &nv)?;
        connection.nv_remove(nv)?;
    }
    if let Err(error) = connection.nv_create(index, content) {
        if let Err(error) = restore(connection, index, earlier) {
            warn!(%index, %error, "the earlier certificate chain was not restored completely");
        }
        return Err(error);
    }
    debug!(%index, "the certificate chain was written");
    Ok(())
}

/// Removes what a failed writing has left, and writes the earlier content again. Each of the two is tried, because the TPM may have done
/// what it reported as failed. Returns the first error.
fn restore(
    connection: &mut Connection<'_>,
    index: NvIndex,
    earlier: Option<Vec<u8>>,
) -> Result<(), TpmError> {
    let removed = match connection.nv(index) {
        Ok(Some(nv)) => connection.nv_remove(nv),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let written = match earlier {
        Some(earlier) => connection.nv_create(index, &earlier),
        None => Ok(()),
    };
    removed.and(written)
}

/// Checks that an index has a chain, or the rest of an interrupted writing, and returns its content.
fn replaceable(
    connection: &mut Connection<'_>,
    index: NvIndex,
    nv: &Nv,
) -> Result<Option<Vec<u8>>, TpmError> {
    nv.check_replaceable()?;
    let read = connection
        .nv_read(nv)
        .and_then(|content| certificates(index, &content).map(|_| content));
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.nv_problem() == Some(NvProblem::Blank) => Ok(None),
        Err(error) if error.nv_problem() == Some(NvProblem::Content) => Err(TpmError::nv(
            NvProblem::Content,
            format!("{error}; it is not replaced: choose another index"),
        )),
        Err(error) => Err(error),
    }
}
