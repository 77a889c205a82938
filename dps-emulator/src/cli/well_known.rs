//! The id scope and the keys of `--well-known`: published, and therefore for development only.

use dps_types::enrollment::EnrollmentGroup;
use dps_types::{ParseError, SymmetricKey};

/// The id scope.
pub(crate) const ID_SCOPE: &str = "0ne00000001";
/// The primary key of the policy `provisioningserviceowner`: `dps-emulator-well-known-service-key` in base64.
pub(crate) const SERVICE_KEY: &str = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tc2VydmljZS1rZXk=";
/// The id of the enrollment group.
pub(crate) const GROUP: &str = "well-known";
/// The primary key of the group: `dps-emulator-well-known-group-key` in base64.
pub(crate) const GROUP_KEY: &str = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tZ3JvdXAta2V5";
/// The secondary key of the group: `dps-emulator-well-known-group-key-2` in base64.
const GROUP_KEY_2: &str = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tZ3JvdXAta2V5LTI=";

/// The enrollment group whose key is published.
pub(crate) fn group() -> Result<EnrollmentGroup, ParseError> {
    let primary = SymmetricKey::from_base64(GROUP_KEY)?;
    let secondary = SymmetricKey::from_base64(GROUP_KEY_2)?;
    Ok(EnrollmentGroup::from_keys(
        GROUP.parse()?,
        &primary,
        &secondary,
    ))
}
