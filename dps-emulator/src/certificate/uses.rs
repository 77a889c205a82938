//! The uses that the extensions of a certificate allow.

use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES, ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE, ID_CE_INHIBIT_ANY_POLICY, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
    ID_CE_POLICY_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME, ID_KP_CLIENT_AUTH,
};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints};

/// The extensions that may be critical in a trust anchor: those that are applied, and those of policies.
///
/// The latter restrict the policies for which a chain is valid, and DPS requires no policy of a chain. RFC 5280 requires that two of
/// them are critical (4.2.1.11, 4.2.1.14), and they are not among the values that a validation uses of its trust anchor (6.1.1 (d)).
const KNOWN_IN_ANCHORS: [ObjectIdentifier; 9] = [
    ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_POLICY_CONSTRAINTS,
    ID_CE_INHIBIT_ANY_POLICY,
];

/// The uses that a certificate's extensions allow. Certificates before version 3 have no extensions, and no restriction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uses {
    pub(super) authority: Authority,
    /// `keyUsage` is absent or has `keyCertSign`.
    pub(super) sign_certificates: bool,
    /// `keyUsage` is absent or has `digitalSignature`.
    pub(super) sign_handshakes: bool,
    /// `extendedKeyUsage` is absent or has `clientAuth`.
    pub(super) tls_client: bool,
    pub(super) has_name_constraints: bool,
    /// No critical extension is unknown for a trust anchor.
    pub(super) anchor: bool,
}

/// Whether a certificate may sign others, and how many intermediates a chain below it may have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Authority {
    No,
    Unlimited,
    PathLength(u8),
}

impl Uses {
    /// `None` if an extension is malformed, or if there are extensions before version 3.
    pub(super) fn of(body: &TbsCertificate) -> Option<Self> {
        let is_old = body.version() != Version::V3;
        if is_old && body.extensions().is_some() {
            return None;
        }
        let constraints = body.get_extension::<BasicConstraints>().ok()?;
        let key_usage = body.get_extension::<KeyUsage>().ok()?;
        let extended = body.get_extension::<ExtendedKeyUsage>().ok()?;
        let name_constraints = body.get_extension::<NameConstraints>().ok()?;
        Some(Self {
            authority: match constraints {
                None if is_old => Authority::Unlimited,
                Some((_, constraints)) if constraints.ca => constraints
                    .path_len_constraint
                    .map_or(Authority::Unlimited, Authority::PathLength),
                _ => Authority::No,
            },
            sign_certificates: key_usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
            sign_handshakes: key_usage.is_none_or(|(_, usage)| usage.digital_signature()),
            tls_client: extended.is_none_or(|(_, usages)| usages.0.contains(&ID_KP_CLIENT_AUTH)),
            has_name_constraints: name_constraints.is_some(),
            anchor: body
                .extensions()
                .into_iter()
                .flatten()
                .all(|it| !it.critical || KNOWN_IN_ANCHORS.contains(&it.extn_id)),
        })
    }
}
