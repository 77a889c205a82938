//! The certificate of the endorsement key, which the manufacturer of a TPM may store in its memory.

use rustls::pki_types::CertificateDer;

use super::handle::Tpm;
use super::nv_index::NvIndex;
use super::stored_chain::certificates;
use crate::error::Error;

impl Tpm {
    /// The certificate of the endorsement key, from its NV index: usually [`NvIndex::RSA_ENDORSEMENT_CERTIFICATE`]. `None` if the
    /// manufacturer stored none there.
    ///
    /// The device does not check it, because the back end that enrolls the device must not trust the device. The feature `endorsement`
    /// of dps-service checks it.
    ///
    /// The certificate is for the key that the TCG's template creates. If [`TpmAttestation`](super::TpmAttestation) has to create the
    /// endorsement key, select [`EndorsementTemplate::Tcg`](super::EndorsementTemplate::Tcg): the certificate does not match the key
    /// of the other template. Some firmware TPMs have no certificate in the TPM; their manufacturers publish it on a web server.
    ///
    /// Source: TCG, *EK Credential Profile for TPM Family 2.0*, chapter 2.2.1.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the index does not allow reading, or its content is not a
    /// certificate. [`Signing`](crate::ErrorKind::Signing) if the TPM fails. The source is a [`TpmError`](super::TpmError).
    pub async fn endorsement_certificate(
        &self,
        index: NvIndex,
    ) -> Result<Option<CertificateDer<'static>>, Error> {
        let read = self.run(move |connection| {
            let Some(nv) = connection.nv(index)? else {
                return Ok(None);
            };
            let content = connection.nv_read(&nv)?;
            Ok(certificates(index, &content)?.into_iter().next())
        });
        read.await.map_err(|error| {
            error.into_error("the certificate of the endorsement key cannot be read")
        })
    }
}
