//! The attestation that the options select: a symmetric key, a certificate, a TPM, or a PKCS#11 token.

use clap::Args;
use dps_device::{
    Attestation, RegistrationId, SymmetricKey, SymmetricKeyAttestation, X509Attestation,
};

use super::tpm_key::TpmKeyAccess;
use crate::failure::{Failure, Result};
use crate::hardware::{self, TpmAccess, USES_TPM};
use crate::input::{self, InputFile};

/// How the device authenticates. Without an option, a key in the environment is used: DPS_DEVICE_KEY, or DPS_GROUP_KEY.
#[derive(Args)]
pub(crate) struct AttestationOptions {
    /// Registration id of the device. By default the common name of the certificate, or the id from the TPM
    #[arg(long, env = "DPS_REGISTRATION_ID", value_name = "ID")]
    pub(crate) registration_id: Option<RegistrationId>,
    /// File with the symmetric key of the device in base64; - for stdin. Without it, the variable DPS_DEVICE_KEY
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) key_file: Option<InputFile>,
    /// File with the symmetric key of the enrollment group, from which the key of the device is derived; - for stdin. Without
    /// it, the variable DPS_GROUP_KEY
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) group_key_file: Option<InputFile>,
    /// File with the secondary key, of the same kind as the primary one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "tpm", "pkcs11"])]
    pub(crate) secondary_key_file: Option<InputFile>,
    /// File with the certificate of the device and its intermediate certificates, in PEM
    #[arg(
        long,
        value_name = "FILE",
        group = "proof",
        requires = "key_of_certificate"
    )]
    pub(crate) certificate: Option<InputFile>,
    /// File with the private key of the certificate, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "certificate",
        group = "key_of_certificate"
    )]
    pub(crate) private_key: Option<InputFile>,
    /// Use the private key at this handle of the TPM for the certificate, such as 0x81000101. The variable TPM2TOOLS_TCTI names
    /// another TPM than /dev/tpmrm0. Requires the feature tpm
    #[arg(
        long,
        value_name = "HANDLE",
        requires = "certificate",
        groups = ["key_of_certificate", USES_TPM]
    )]
    pub(crate) tpm_key: Option<String>,
    #[command(flatten)]
    tpm_key_access: TpmKeyAccess,
    /// Use the TPM of this machine, or the one that the value names, such as swtpm:host=127.0.0.1,port=2321. Requires the
    /// feature tpm
    #[arg(long, value_name = "TCTI", num_args = 0..=1, default_missing_value = "", groups = ["proof", USES_TPM])]
    pub(crate) tpm: Option<String>,
    #[command(flatten)]
    pub(crate) tpm_access: TpmAccess,
    /// Use the certificate and the private key of a PKCS#11 token, by their URI. The variable DPS_PIN contains the PIN.
    /// Requires the feature pkcs11
    #[arg(long, value_name = "URI", group = "proof")]
    pub(crate) pkcs11: Option<String>,
    /// Use the symmetric key of a PKCS#11 token, by its URI. Requires the feature pkcs11
    #[arg(long, value_name = "URI", group = "proof")]
    pub(crate) pkcs11_key: Option<String>,
}

impl AttestationOptions {
    pub(crate) async fn attestation(&self) -> Result<Box<dyn Attestation>> {
        if let Some(attestation) = self.x509().await? {
            return Ok(Box::new(match &self.registration_id {
                Some(id) => attestation.with_registration_id(id.clone())?,
                None => attestation,
            }));
        }
        if let Some(tcti) = &self.tpm {
            return tpm(tcti, &self.tpm_access, self.registration_id.clone()).await;
        }
        let id = self.registration_id.clone().ok_or_else(|| {
            Failure::usage("the registration id is missing")
                .with_hint("use --registration-id or DPS_REGISTRATION_ID")
        })?;
        if let Some(uri) = &self.pkcs11_key {
            return key_in_token(uri, id).await;
        }
        self.symmetric_key(id)
    }

    /// The certificate of the options, if they have one.
    async fn x509(&self) -> Result<Option<X509Attestation>> {
        if let Some(uri) = &self.pkcs11 {
            return certificate_in_token(uri).await.map(Some);
        }
        let Some(certificate) = &self.certificate else {
            return Ok(None);
        };
        let chain = input::read(certificate)?;
        Ok(match (&self.private_key, &self.tpm_key) {
            (Some(key), _) => Some(X509Attestation::from_pem(&*chain, &*input::read(key)?)?),
            (None, Some(handle)) => Some(self.key_in_tpm(handle, &chain).await?),
            (None, None) => None,
        })
    }

    /// The certificate in a file whose private key is at this handle of the TPM.
    #[cfg(feature = "tpm")]
    async fn key_in_tpm(&self, handle: &str, chain: &[u8]) -> Result<X509Attestation> {
        let key = hardware::tpm("", &self.tpm_access).await?.key_pair();
        let key = self
            .tpm_key_access
            .apply(key.with_handle(handle.parse()?))?;
        Ok(X509Attestation::new(key.open().await?.identity(chain)?)?)
    }

    #[cfg(not(feature = "tpm"))]
    async fn key_in_tpm(&self, _: &str, _: &[u8]) -> Result<X509Attestation> {
        Err(hardware::missing_feature("tpm"))
    }

    /// The symmetric key of the options or of the environment, and whether it is that of a group.
    pub(crate) fn any_key(&self) -> Result<Option<(SymmetricKey, bool)>> {
        // A file comes before a variable.
        if self.group_key_file.is_none()
            && let Some(key) = input::key(self.key_file.as_ref(), "DPS_DEVICE_KEY")?
        {
            return Ok(Some((key, false)));
        }
        let key = input::key(self.group_key_file.as_ref(), "DPS_GROUP_KEY")?;
        Ok(key.map(|key| (key, true)))
    }

    fn symmetric_key(&self, id: RegistrationId) -> Result<Box<dyn Attestation>> {
        let secondary = self.secondary_key_file.as_ref();
        match self.any_key()? {
            Some((key, false)) => {
                let attestation = SymmetricKeyAttestation::new(id, key);
                Ok(Box::new(match input::key(secondary, "DPS_SECONDARY_DEVICE_KEY")? {
                    Some(secondary) => attestation.with_secondary(secondary),
                    None => attestation,
                }))
            }
            Some((key, true)) => {
                let attestation = SymmetricKeyAttestation::from_group(id, &key);
                Ok(Box::new(match input::key(secondary, "DPS_SECONDARY_GROUP_KEY")? {
                    Some(secondary) => attestation.with_secondary_group_key(&secondary),
                    None => attestation,
                }))
            }
            None => Err(Failure::usage("the device has no credentials").with_hint(
                "use --key-file, --group-key-file, --certificate with --private-key, --tpm or --pkcs11, \
                 or the variable DPS_DEVICE_KEY or DPS_GROUP_KEY",
            )),
        }
    }
}

#[cfg(feature = "tpm")]
async fn tpm(
    tcti: &str,
    access: &TpmAccess,
    id: Option<RegistrationId>,
) -> Result<Box<dyn Attestation>> {
    let tpm = hardware::tpm(tcti, access).await?;
    let attestation = dps_device::tpm::TpmAttestation::new(&tpm).await?;
    Ok(Box::new(match id {
        Some(id) => attestation.with_registration_id(id),
        None => attestation,
    }))
}

#[cfg(not(feature = "tpm"))]
async fn tpm(_: &str, _: &TpmAccess, _: Option<RegistrationId>) -> Result<Box<dyn Attestation>> {
    Err(hardware::missing_feature("tpm"))
}

#[cfg(feature = "pkcs11")]
async fn certificate_in_token(uri: &str) -> Result<X509Attestation> {
    let (token, uri) = hardware::token(uri).await?;
    Ok(X509Attestation::new(token.identity(&uri).await?)?)
}

#[cfg(feature = "pkcs11")]
async fn key_in_token(uri: &str, id: RegistrationId) -> Result<Box<dyn Attestation>> {
    let (token, uri) = hardware::token(uri).await?;
    Ok(Box::new(SymmetricKeyAttestation::from_signer(
        id,
        token.secret_key(&uri).await?,
    )))
}

#[cfg(not(feature = "pkcs11"))]
async fn certificate_in_token(_: &str) -> Result<X509Attestation> {
    Err(hardware::missing_feature("pkcs11"))
}

#[cfg(not(feature = "pkcs11"))]
async fn key_in_token(_: &str, _: RegistrationId) -> Result<Box<dyn Attestation>> {
    Err(hardware::missing_feature("pkcs11"))
}

#[cfg(all(test, not(all(feature = "tpm", feature = "pkcs11"))))]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        attestation: AttestationOptions,
    }

    async fn refused(option: [&str; 2]) -> String {
        let device = ["dps", "--registration-id", "toaster-1"];
        let options = Options::parse_from([&device[..], &option].concat());
        match options.attestation.attestation().await {
            Ok(_) => "accepted".to_owned(),
            Err(failure) => failure.to_string(),
        }
    }

    #[cfg(not(feature = "tpm"))]
    #[tokio::test]
    async fn a_program_without_tpms_names_the_feature() {
        let message = refused(["--tpm", "device:/dev/tpmrm0"]).await;
        assert_eq!(message, "this program was built without the feature tpm");
    }

    #[cfg(not(feature = "pkcs11"))]
    #[tokio::test]
    async fn a_program_without_tokens_names_the_feature() {
        for option in ["--pkcs11", "--pkcs11-key"] {
            let message = refused([option, "pkcs11:token=device;object=toaster"]).await;
            assert_eq!(message, "this program was built without the feature pkcs11");
        }
    }
}
