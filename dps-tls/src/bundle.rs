//! The roots that DPS and IoT Hub use, for a device without a store of roots.

use rustls_pki_types::CertificateDer;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::roots::Roots;

/// The common names of the roots.
///
/// Source: azure-docs `iot-dps/tls-support.md` and `security/fundamentals/azure-CA-details.md`.
const NAMES: [&str; 4] = [
    "DigiCert Global Root G2",
    "DigiCert Global Root G3",
    "Microsoft ECC Root Certificate Authority 2017",
    "Microsoft RSA Root Certificate Authority 2017",
];

impl Roots {
    /// The roots that DPS and IoT Hub use in the public cloud today, and those that Microsoft announced as their successors:
    /// DigiCert Global Root G2 and G3, Microsoft RSA Root CA 2017 and Microsoft ECC Root CA 2017. They are Mozilla's copies.
    ///
    /// Use it for a device without a store of roots, and plan an update of the program before these roots are replaced. A proxy
    /// that inspects TLS has its own root: add it with [`Roots::and`]. Sovereign clouds may use other roots.
    pub fn bundled() -> Self {
        Self::given(certificates().map(|(_, root)| root.clone()).collect())
    }
}

fn certificates() -> impl Iterator<Item = (&'static str, &'static CertificateDer<'static>)> {
    NAMES.iter().filter_map(|name| {
        let root = TLS_SERVER_ROOT_CERTS
            .iter()
            .find(|root| is_named(root, name))?;
        Some((*name, root))
    })
}

/// True if the certificate has a UTF8String or PrintableString with exactly this text. The tests check the fingerprints.
fn is_named(root: &CertificateDer<'_>, name: &str) -> bool {
    let length = u8::try_from(name.len()).unwrap_or_default();
    [0x0c, 0x13].iter().any(|tag| {
        let field = [&[*tag, length], name.as_bytes()].concat();
        root.windows(field.len()).any(|window| window == field)
    })
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    /// SHA-256 fingerprints as the operators publish them: digicert.com/kb/digicert-root-certificates.htm and
    /// microsoft.com/pkiops/docs/repository.htm.
    const FINGERPRINTS: [(&str, &str); 4] = [
        (
            "DigiCert Global Root G2",
            "CB3CCBB76031E5E0138F8DD39A23F9DE47FFC35E43C1144CEA27D46A5AB1CB5F",
        ),
        (
            "DigiCert Global Root G3",
            "31AD6648F8104138C738F39EA4320133393E3A18CC02296EF97C2AC9EF6731D0",
        ),
        (
            "Microsoft ECC Root Certificate Authority 2017",
            "358DF39D764AF9E1B766E9C972DF352EE15CFAC227AF6AD1D70E8E4A6EDCBA02",
        ),
        (
            "Microsoft RSA Root Certificate Authority 2017",
            "C741F70F4B2A8D88BF2E71C14122EF53EF10EBA0CFA5E64CFA20F418853073E0",
        ),
    ];

    #[test]
    fn the_roots_have_the_published_fingerprints() {
        let suites = ring::default_provider().cipher_suites;
        let sha256 = suites
            .iter()
            .map(|suite| match suite {
                rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
                rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            })
            .find(|hash| hash.output_len() == 32)
            .unwrap();
        let found: Vec<_> = certificates()
            .map(|(name, root)| {
                let digest = sha256.hash(root);
                let text = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
                (name, text.collect::<String>())
            })
            .collect();
        assert_eq!(
            found,
            FINGERPRINTS.map(|(name, print)| (name, print.to_owned()))
        );
    }

    #[test]
    fn the_bundle_is_usable_and_can_be_extended() {
        assert_eq!(Roots::bundled().load().unwrap().len(), 4);
        let more = Roots::bundled().and(Roots::bundled());
        assert_eq!(format!("{more:?}"), "Roots { system: false, given: 8 }");
    }
}
