//! Keys in hardware: opens the TPM or the PKCS#11 token that an option names.

use clap::{ArgGroup, Args};

use crate::failure::Failure;
#[cfg(any(feature = "tpm", feature = "pkcs11"))]
use crate::failure::Result;
use crate::input::InputFile;

/// The options that use a TPM.
pub(crate) const USES_TPM: &str = "uses_tpm";

/// The access to a TPM.
#[derive(Args)]
#[command(group = ArgGroup::new(USES_TPM).multiple(true))]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(crate) struct TpmAccess {
    /// File with the endorsement key that the TPM must have, in base64; - for stdin. Another TPM is refused, and a device on the bus
    /// cannot pretend to be the TPM
    #[arg(long, value_name = "FILE", requires = USES_TPM)]
    endorsement_key_file: Option<InputFile>,
    /// File with the authorization value of the owner hierarchy of the TPM, which stores keys; - for stdin. Without it, the variable
    /// DPS_TPM_OWNER_AUTH; without both, the value is empty
    #[arg(long, value_name = "FILE", requires = USES_TPM)]
    tpm_owner_auth_file: Option<InputFile>,
}

/// Opens the TPM of this machine, or the one that the text names. The variables of tpm2-tools name another default.
#[cfg(feature = "tpm")]
pub(crate) async fn tpm(tcti: &str, access: &TpmAccess) -> Result<dps_device::tpm::Tpm> {
    use dps_device::tpm::{Tcti, Tpm, TpmOptions};

    use crate::input;

    let tcti = match tcti {
        "" => Tcti::from_env()?,
        text => Some(text.parse()?),
    };
    let mut options = TpmOptions::default();
    if let Some(tcti) = tcti {
        options = options.with_tcti(tcti);
    }
    if let Some(file) = &access.endorsement_key_file {
        options = options.with_expected_endorsement_key(input::endorsement_key(file)?);
    }
    let owner = access.tpm_owner_auth_file.as_ref();
    if let Some(value) = auth_value(owner, "DPS_TPM_OWNER_AUTH")? {
        options = options.with_owner_auth(value);
    }
    Ok(Tpm::open(options).await?)
}

/// An authorization value from a file or from an environment variable.
#[cfg(feature = "tpm")]
pub(crate) fn auth_value<const MAX: usize>(
    file: Option<&InputFile>,
    variable: &str,
) -> Result<Option<dps_device::tpm::AuthValue<MAX>>> {
    use crate::input;

    let Some(value) = input::secret(file, variable)? else {
        return Ok(None);
    };
    match dps_device::tpm::AuthValue::new(&*value) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Failure::from(error).about(input::place(file, variable))),
    }
}

/// The policy of a key from the files that name it: with a measured state, or with an authority and its approvals.
#[cfg(feature = "tpm")]
pub(crate) fn pcr_policy(
    state: Option<&InputFile>,
    authority: Option<&InputFile>,
    approvals: &[InputFile],
) -> Result<Option<dps_device::tpm::PcrPolicy>> {
    use dps_device::tpm::{PcrPolicy, PolicyAuthority};

    use crate::input::{read, read_text};

    let about =
        |error: dps_device::Error, file: &InputFile| Failure::from(error).about(file.display());
    if let Some(file) = state {
        let state = read_text(file)?.trim().parse();
        let state = state.map_err(|error| about(error, file))?;
        return Ok(Some(PcrPolicy::fixed(state)));
    }
    let Some(file) = authority else {
        return Ok(None);
    };
    let authority = PolicyAuthority::from_public_key(&*read(file)?);
    let authority = authority.map_err(|error| about(error, file))?;
    let mut policy = PcrPolicy::authorized(authority);
    for file in approvals {
        let approval = read_text(file)?.trim().parse();
        policy = policy.with_approval(approval.map_err(|error| about(error, file))?);
    }
    Ok(Some(policy))
}

/// Opens the token that the URI names. The variable DPS_PIN contains its PIN.
#[cfg(feature = "pkcs11")]
pub(crate) async fn token(
    uri: &str,
) -> Result<(dps_device::pkcs11::Token, dps_device::pkcs11::Uri)> {
    use dps_device::pkcs11::{Pin, Token, Uri};

    let uri: Uri = uri.parse()?;
    let token = match std::env::var_os("DPS_PIN") {
        Some(_) => Token::open_with_pin(&uri, Pin::from_env("DPS_PIN")).await?,
        None => Token::open(&uri).await?,
    };
    Ok((token, uri))
}

#[cfg(not(all(feature = "tpm", feature = "pkcs11")))]
pub(crate) fn missing_feature(feature: &str) -> Failure {
    Failure::usage(format!(
        "this program was built without the feature {feature}"
    ))
    .with_hint(format!("cargo install dps-cli --features {feature}"))
}
