//! The endorsement key and the storage root key: those in the TPM are used, and missing ones are created and stored.

use dps_types::tpm::TpmPublic;
use tracing::debug;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::{
    Auth, Digest, Public, PublicBuilder, PublicKeyRsa, PublicRsaParameters, RsaExponent, RsaScheme,
    SymmetricDefinitionObject,
};

use super::auth_value::KeyAuth;
use super::connection::Connection;
use super::error::TpmError;
use super::options::{EndorsementTemplate, PersistentHandle};
use super::session::check_endorsement_key;

/// The policy `TPM2_PolicySecret` with the endorsement hierarchy. Source: TCG, *EK Credential Profile*, B.3.3.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// The public part of the endorsement key, which is created if it is missing.
pub(super) fn endorsement_key(connection: &mut Connection<'_>) -> Result<TpmPublic, TpmError> {
    let handle = connection.options.endorsement_key;
    let template = connection.options.template;
    let hierarchy = Hierarchy::Endorsement;
    let auth = KeyAuth::default();
    let key = stored_or_created(connection, handle, hierarchy, &auth, || {
        endorsement_template(template)
    })?;
    check_endorsement_key(connection, key)?;
    public(connection, key, handle)
}

/// The public part of the storage root key, which is created if it is missing.
pub(super) fn storage_root_key(connection: &mut Connection<'_>) -> Result<TpmPublic, TpmError> {
    let options = connection.options;
    let (handle, auth) = (options.storage_root_key, &options.storage_root_key_auth);
    let key = stored_or_created(connection, handle, Hierarchy::Owner, auth, storage_template)?;
    public(connection, key, handle)
}

/// A key that the TPM has stored before, with its authorization value.
pub(super) fn stored(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
) -> Result<KeyHandle, TpmError> {
    match connection.persistent(handle)? {
        Some(key) => {
            let options = connection.options;
            if handle == options.storage_root_key {
                connection.authorize(key, &options.storage_root_key_auth)?;
            }
            Ok(key.into())
        }
        None => Err(TpmError::configuration(format!(
            "the TPM no longer has a key at {handle}: it may have been cleared"
        ))),
    }
}

fn stored_or_created(
    connection: &mut Connection<'_>,
    handle: PersistentHandle,
    hierarchy: Hierarchy,
    auth: &KeyAuth,
    template: impl FnOnce() -> tss_esapi::Result<Public>,
) -> Result<ObjectHandle, TpmError> {
    if let Some(key) = connection.persistent(handle)? {
        debug!(%handle, "the TPM has this key");
        return Ok(key);
    }
    let is_endorsement_key = hierarchy == Hierarchy::Endorsement;
    if is_endorsement_key {
        connection.start_before_creation()?;
    }
    let template = template().map_err(|error| TpmError::new("TPM2_CreatePrimary", error))?;
    let created = connection.authorized("TPM2_CreatePrimary", |context| {
        let auth = Auth::try_from(auth.as_bytes())?;
        context.create_primary(hierarchy, template, Some(auth), None, None, None)
    })?;
    let created = created.key_handle.into();
    connection.flushing(created, |connection| {
        if is_endorsement_key {
            connection.start_after_creation(created)?;
        }
        connection.evict_control(created, handle)
    })?;
    debug!(%handle, ?hierarchy, "a key was created");
    // The next session can be salted to this key.
    connection.end_session()?;
    stored(connection, handle).map(Into::into)
}

fn public(
    connection: &mut Connection<'_>,
    key: ObjectHandle,
    handle: PersistentHandle,
) -> Result<TpmPublic, TpmError> {
    let bytes = connection.public_bytes(key)?;
    TpmPublic::parse(&bytes).map_err(|error| {
        TpmError::configuration(format!(
            "the object at {handle} is not a key that DPS supports (a restricted RSA decryption key of 2048 bits): {error}; \
             choose another handle"
        ))
    })
}

fn endorsement_template(template: EndorsementTemplate) -> tss_esapi::Result<Public> {
    let attributes = parent_attributes().with_admin_with_policy(true).build()?;
    let unique = match template {
        EndorsementTemplate::Azure => PublicKeyRsa::default(),
        EndorsementTemplate::Tcg => PublicKeyRsa::new_empty_with_size(RsaKeyBits::Rsa2048),
    };
    let policy = Digest::try_from(&ENDORSEMENT_POLICY[..])?;
    rsa_template(attributes, policy, unique)
}

fn storage_template() -> tss_esapi::Result<Public> {
    let attributes = parent_attributes()
        .with_user_with_auth(true)
        .with_no_da(true)
        .build()?;
    rsa_template(attributes, Digest::default(), PublicKeyRsa::default())
}

/// The attributes of both keys: they protect other keys and never leave the TPM.
fn parent_attributes() -> ObjectAttributesBuilder {
    ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_restricted(true)
        .with_decrypt(true)
}

fn rsa_template(
    attributes: ObjectAttributes,
    policy: Digest,
    unique: PublicKeyRsa,
) -> tss_esapi::Result<Public> {
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_rsa_parameters(PublicRsaParameters::new(
            SymmetricDefinitionObject::AES_128_CFB,
            RsaScheme::Null,
            RsaKeyBits::Rsa2048,
            RsaExponent::default(),
        ))
        .with_rsa_unique_identifier(unique)
        .build()
}

#[cfg(test)]
mod tests {
    use tss_esapi::traits::Marshall;

    use super::*;

    /// The public area of the template, up to `unique`.
    fn area(template: &Public, unique: usize) -> Vec<u8> {
        let bytes = template.marshall().unwrap();
        let (area, tail) = bytes.split_at(bytes.len() - unique - 2);
        assert_eq!(tail[..2], u16::try_from(unique).unwrap().to_be_bytes());
        assert!(tail[2..].iter().all(|byte| *byte == 0));
        area.to_vec()
    }

    #[test]
    fn the_endorsement_templates_match_the_sdks_and_the_tcg() {
        let expected = [
            &[0x00, 0x01, 0x00, 0x0b, 0x00, 0x03, 0x00, 0xb2, 0x00, 0x20][..],
            &ENDORSEMENT_POLICY,
            &[
                0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0,
            ],
        ]
        .concat();
        for (template, unique) in [
            (EndorsementTemplate::Azure, 0),
            (EndorsementTemplate::Tcg, 256),
        ] {
            assert_eq!(
                area(&endorsement_template(template).unwrap(), unique),
                expected
            );
        }
    }

    #[test]
    fn the_storage_template_matches_the_sdks() {
        assert_eq!(
            area(&storage_template().unwrap(), 0),
            [
                &[0x00, 0x01, 0x00, 0x0b, 0x00, 0x03, 0x04, 0x72, 0x00, 0x00][..],
                &[
                    0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0
                ],
            ]
            .concat()
        );
    }
}
