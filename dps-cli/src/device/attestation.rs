//! The attestation that the options select: a symmetric key, a certificate, a TPM, or a PKCS#11 token.

use std::path::PathBuf;

use clap::Args;
use dps_device::{
    Attestation, RegistrationId, SymmetricKey, SymmetricKeyAttestation, X509Attestation,
};

use crate::failure::{Failure, Result};
use crate::input;

/// How the device authenticates. Without an option, a key in the environment is used: DPS_DEVICE_KEY, or DPS_GROUP_KEY.
#[derive(Args)]
pub(crate) struct AttestationOptions {
    /// Registration id of the device. By default the common name of the certificate, or the id from the TPM
    #[arg(long, env = "DPS_REGISTRATION_ID", value_name = "ID")]
    pub(crate) registration_id: Option<RegistrationId>,
    /// File with the symmetric key of the device in base64; - for stdin. Without it, the variable DPS_DEVICE_KEY
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the symmetric key of the enrollment group, from which the key of the device is derived; - for stdin. Without
    /// it, the variable DPS_GROUP_KEY
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) group_key_file: Option<PathBuf>,
    /// File with the secondary key, of the same kind as the primary one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "tpm", "pkcs11"])]
    pub(crate) secondary_key_file: Option<PathBuf>,
    /// File with the certificate of the device and its intermediate certificates, in PEM
    #[arg(long, value_name = "FILE", group = "proof", requires = "private_key")]
    pub(crate) certificate: Option<PathBuf>,
    /// File with the private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) private_key: Option<PathBuf>,
    /// Use the TPM of this machine, or the one that the value names, such as swtpm:host=127.0.0.1,port=2321. Requires the
    /// feature tpm
    #[arg(long, value_name = "TCTI", num_args = 0..=1, default_missing_value = "", group = "proof")]
    pub(crate) tpm: Option<String>,
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
        if let (Some(certificate), Some(private_key)) = (&self.certificate, &self.private_key) {
            let (chain, key) = (input::read(certificate)?, input::read(private_key)?);
            let attestation = X509Attestation::from_pem(&*chain, &*key)?;
            return Ok(Box::new(match &self.registration_id {
                Some(id) => attestation.with_registration_id(id.clone())?,
                None => attestation,
            }));
        }
        if let Some(tcti) = &self.tpm {
            return tpm(tcti, self.registration_id.clone()).await;
        }
        if let Some(uri) = &self.pkcs11 {
            return certificate_in_token(uri, self.registration_id.clone()).await;
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

    /// The symmetric key of the options or of the environment, and whether it is that of a group.
    pub(crate) fn any_key(&self) -> Result<Option<(SymmetricKey, bool)>> {
        // A file comes before a variable.
        if self.group_key_file.is_none()
            && let Some(key) = input::key(self.key_file.as_deref(), "DPS_DEVICE_KEY")?
        {
            return Ok(Some((key, false)));
        }
        let key = input::key(self.group_key_file.as_deref(), "DPS_GROUP_KEY")?;
        Ok(key.map(|key| (key, true)))
    }

    fn symmetric_key(&self, id: RegistrationId) -> Result<Box<dyn Attestation>> {
        let secondary = self.secondary_key_file.as_deref();
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
async fn tpm(tcti: &str, id: Option<RegistrationId>) -> Result<Box<dyn Attestation>> {
    use dps_device::tpm::{Tcti, Tpm, TpmAttestation, TpmOptions};

    let tcti = match tcti {
        "" => Tcti::from_env()?,
        text => Some(text.parse()?),
    };
    let options = TpmOptions::default();
    let options = match tcti {
        Some(tcti) => options.with_tcti(tcti),
        None => options,
    };
    let attestation = TpmAttestation::new(&Tpm::open(options).await?).await?;
    Ok(Box::new(match id {
        Some(id) => attestation.with_registration_id(id),
        None => attestation,
    }))
}

#[cfg(not(feature = "tpm"))]
async fn tpm(_: &str, _: Option<RegistrationId>) -> Result<Box<dyn Attestation>> {
    Err(missing_feature("tpm"))
}

#[cfg(feature = "pkcs11")]
async fn certificate_in_token(
    uri: &str,
    id: Option<RegistrationId>,
) -> Result<Box<dyn Attestation>> {
    let (token, uri) = token(uri).await?;
    let attestation = X509Attestation::new(token.identity(&uri).await?)?;
    Ok(Box::new(match id {
        Some(id) => attestation.with_registration_id(id)?,
        None => attestation,
    }))
}

#[cfg(feature = "pkcs11")]
async fn key_in_token(uri: &str, id: RegistrationId) -> Result<Box<dyn Attestation>> {
    let (token, uri) = token(uri).await?;
    Ok(Box::new(SymmetricKeyAttestation::from_signer(
        id,
        token.secret_key(&uri).await?,
    )))
}

#[cfg(feature = "pkcs11")]
async fn token(uri: &str) -> Result<(dps_device::pkcs11::Token, dps_device::pkcs11::Uri)> {
    use dps_device::pkcs11::{Pin, Token, Uri};

    let uri: Uri = uri.parse()?;
    let token = match std::env::var_os("DPS_PIN") {
        Some(_) => Token::open_with_pin(&uri, Pin::from_env("DPS_PIN")).await?,
        None => Token::open(&uri).await?,
    };
    Ok((token, uri))
}

#[cfg(not(feature = "pkcs11"))]
async fn certificate_in_token(_: &str, _: Option<RegistrationId>) -> Result<Box<dyn Attestation>> {
    Err(missing_feature("pkcs11"))
}

#[cfg(not(feature = "pkcs11"))]
async fn key_in_token(_: &str, _: RegistrationId) -> Result<Box<dyn Attestation>> {
    Err(missing_feature("pkcs11"))
}

#[cfg(not(all(feature = "tpm", feature = "pkcs11")))]
fn missing_feature(feature: &str) -> Failure {
    Failure::usage(format!(
        "this program was built without the feature {feature}"
    ))
    .with_hint(format!("cargo install dps-cli --features {feature}"))
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
