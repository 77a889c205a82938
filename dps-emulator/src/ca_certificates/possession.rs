//! Proof of possession: the holder of a CA's private key signs a certificate with a random code as its common name.

use std::time::SystemTime;

use data_encoding::HEXUPPER;

use crate::certificate::Certificate;

/// Makes a verification code of 48 hex digits, like the service's.
#[expect(
    clippy::expect_used,
    reason = "without random numbers no code can be made"
)]
pub(super) fn new_code() -> String {
    let mut random = [0; 24];
    getrandom::fill(&mut random).expect("the operating system provides random bytes");
    HEXUPPER.encode(&random)
}

/// Checks the verification certificate. The error is a sentence for the answer.
///
/// Only its common name, validity and signature count: tools make verification certificates without extensions, which a
/// chain would not accept.
pub(super) fn check(
    proof: &Certificate,
    code: &str,
    ca: &Certificate,
    now: SystemTime,
) -> Result<(), &'static str> {
    if !proof
        .common_name()
        .is_some_and(|name| name.eq_ignore_ascii_case(code))
    {
        Err("The common name of the verification certificate is not the verification code.")
    } else if ca.has_expired(now) {
        Err("The certificate has expired.")
    } else if proof.is_early(now) {
        Err("The verification certificate is not valid yet.")
    } else if !proof.is_signed_by(ca.public_key()) {
        Err("The verification certificate is not signed by the certificate's key.")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;
    use crate::issuer::CertificateAuthority;

    const CODE: &str = "7D07A6A51F8AF1469499A1D92074D629894BE9FA8A013E49";
    const OTHER_KEY: &str = "The verification certificate is not signed by the certificate's key.";

    fn certificate(pem: &str) -> Certificate {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Certificate::from_der(der.into_owned()).unwrap()
    }

    fn ca(name: &str) -> (CertificateAuthority, Certificate) {
        let ca = CertificateAuthority::new(name).unwrap();
        let certificate = certificate(ca.certificate_pem());
        (ca, certificate)
    }

    #[test]
    fn codes_have_48_digits_and_differ() {
        let (one, other) = (new_code(), new_code());
        assert_ne!(one, other);
        assert_eq!(one.len(), 48);
        assert!(one.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F')));
    }

    #[test]
    fn the_certificate_must_have_the_code_and_the_signature_of_the_ca() {
        let ((authority, ca), (_, other)) = (ca("Contoso Root"), ca("Contoso Root"));
        let issued = authority.issue(CODE).unwrap();
        let proof = certificate(issued.certificate_pem());
        let now = SystemTime::now();
        assert_eq!(check(&proof, CODE, &ca, now), Ok(()));
        assert_eq!(check(&proof, &CODE.to_lowercase(), &ca, now), Ok(()));
        assert_eq!(check(&proof, CODE, &other, now), Err(OTHER_KEY));
        assert_eq!(
            check(&proof, &new_code(), &ca, now),
            Err("The common name of the verification certificate is not the verification code.")
        );
    }

    #[test]
    fn a_certificate_signed_by_a_ca_of_the_same_name_is_refused() {
        let (_, ca) = ca("Contoso Root");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "Contoso Root");
        let forger = Issuer::new(params, &key);
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, CODE);
        let forged = params
            .signed_by(&KeyPair::generate().unwrap(), &forger)
            .unwrap();
        let forged = certificate(&forged.pem());
        assert_eq!(check(&forged, CODE, &ca, SystemTime::now()), Err(OTHER_KEY));
    }

    #[test]
    fn a_verification_certificate_of_version_1_is_accepted() {
        let (ca, proof) = (certificate(RSA_ROOT), certificate(RSA_PROOF));
        let in_2027 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600);
        assert_eq!(proof.info().version, 1);
        assert_eq!(check(&proof, CODE, &ca, in_2027), Ok(()));
        let in_2040 = in_2027 + Duration::from_secs(13 * 366 * 24 * 60 * 60);
        let expired = Err("The certificate has expired.");
        assert_eq!(check(&proof, CODE, &ca, in_2040), expired);
    }

    #[test]
    fn a_changed_signature_is_refused() {
        let (authority, ca) = ca("Contoso Root");
        let issued = authority.issue(CODE).unwrap();
        let der = certificate(issued.certificate_pem()).der().to_vec();
        let mut tampered = der.clone();
        *tampered.last_mut().unwrap() ^= 1;
        let tampered = Certificate::from_der(tampered.into()).unwrap();
        assert_eq!(
            check(&tampered, CODE, &ca, SystemTime::now()),
            Err(OTHER_KEY)
        );
    }

    /// `CN=RSA Root`, and the version 1 certificate that it signed for the code. Made with OpenSSL, valid until November 2036.
    const RSA_ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIDBzCCAe+gAwIBAgIUNQ12VFnztEFa6KfRN0oPWKGP474wDQYJKoZIhvcNAQEL
BQAwEzERMA8GA1UEAwwIUlNBIFJvb3QwHhcNMjYxMTIyMDA1NTUyWhcNMzYxMTE5
MDA1NTUyWjATMREwDwYDVQQDDAhSU0EgUm9vdDCCASIwDQYJKoZIhvcNAQEBBQAD
ggEPADCCAQoCggEBAIewQza4n35i01G1Q6DI0gl9HgPfCpBKa3lklpcf75051BKW
8WWzvq+o7wLkRidibrN9GtG+RnAeuoEH2WjNRNNLIc0ygRzyUloMenH2R1oTint6
VhZcljMzPpg+jBo/LiFv8fTvygZBL0akY8hKWWC+eKSJtwnA2nb1uX23O5vKvyCd
HpVxFODzSNp12cwyaMUPQIsb8iu0rvkWCipSUX0y1HnJXwVEFiimzFwyk+OP7kpX
hzPoxG0FY7PsZQxOQnXthn/nos2f+es+C7pGEKER0X1XY4VRvNq+L6AsofCVBedl
d0+MU8SFr437fQg9TZsgHBnPLLfab/WqfJWBX/cCAwEAAaNTMFEwHQYDVR0OBBYE
FLjO61lK7xzat4PyKYWup619vakwMB8GA1UdIwQYMBaAFLjO61lK7xzat4PyKYWu
p619vakwMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAFdJJ5uQ
WRAMDyQ80DsYD9VGJEYStfPl20z/r9kuTG8KsatLOe7EXgZTE4OQvDu83gYzEv18
B9q4f7LHWCRUsFG5PadIA9AWrD2ThWoVolCMfF0uQVWWSIdbM8LUsQmGQ4dd6++M
+wKFWO5MYtuKJt0pCpHAw06F65zTc2+SaMS5Ze+rzKX/7/2nPcYUVikksgQhr7VR
jbauMvhoqAD/k9bbzcQzf4vaNSKSV+Ty5ZDcCxGLjx6376hy1Oe2rmQcwnJAFbzE
qBVvOkYQGjYconHrkpqjA8dZKC4KjYxw9Mwq1DqYorUGn3YtlAFO8v+UH8tj/HSM
lLcXqrAteXpeSZc=
-----END CERTIFICATE-----
";
    const RSA_PROOF: &str = "\
-----BEGIN CERTIFICATE-----
MIICwjCCAaoCAQcwDQYJKoZIhvcNAQELBQAwEzERMA8GA1UEAwwIUlNBIFJvb3Qw
HhcNMjYxMTIyMDA1NTUyWhcNMzYxMTE5MDA1NTUyWjA7MTkwNwYDVQQDDDA3RDA3
QTZBNTFGOEFGMTQ2OTQ5OUExRDkyMDc0RDYyOTg5NEJFOUZBOEEwMTNFNDkwggEi
MA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQDE7SK+Y+5nGIYVtd4I7Ye7nibV
hDdsKRI+fRpaz5W8ZQrxMx6vog1gj+Tk2bQyxttsq6Pxli6L/h7zgwCnI2OEUw8D
1ji10WnQbB0QYcEgHG4U2RaGLhbupppksh0rKAKKuG57DNcIqupsIcSMMohDcRp3
+NE4pGJZiFW5ic7SJCMUL2yOvU5Um5D1u3L1xBz+6VOcwS0w+ebRnhfdPoHhbcjx
WbLiU7Qkb8dX6qEQpWxCMJddwzsYXmko1CHY0d5HGwCDnFMERzKCYNFSSgSwv265
H1Zoe6Tx1vFpeBS1hiS+jQ4WBFh1c4jDry7XUq2V+xhqeGUJ2m0lLVifcxPHAgMB
AAEwDQYJKoZIhvcNAQELBQADggEBAFkfqBGs4BdrEcbtRoQGDYDehR839wYCSkKe
anLutZQ0mizNOAsNVny3F/NLwIzWvE0A/GkHavwvnDlUYz02efsAdUpiFlN83QYH
9BxlWkEqgnQUhxnGBo+z2MoplzCjKB4CksdyKTiWGGvuO4XJ7+rKji8DmRAJyS0c
L1H5sDq11uzA3XviWXc2ctyFvYhgxe8Wh5ZECPkNps4Q15DjpP8OadTUzPsZd5oa
yMEH7/YGwYeDLXknTGyd81yKwusoqb/BT4cm3qukhAGSBKDyxozCylQGVSDQyzWA
/xwTJvw6qQCcl+G0g1o855xQ1mHac5AJNNRj4WDODblWupj02rE=
-----END CERTIFICATE-----
";
}
