//! Certificates that are written byte by byte, so that each part can be wrong.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use sha2::{Digest, Sha256};

use super::openssl::openssl;

/// `AlgorithmIdentifier` values.
pub(super) const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
pub(super) const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
pub(super) const ECDSA_SHA512: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
pub(super) const ECDSA_SHA1: &[u8] = b"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01";
pub(super) const RSA_MD5: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04\x05\x00";
pub(super) const RSA_SHA1: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00";
pub(super) const RSA_SHA256: &[u8] =
    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
pub(super) const DSA_SHA256: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x02";
pub(super) const ED448: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x71";

/// Attribute types of names.
pub(super) const COMMON_NAME: &[u8] = b"\x55\x04\x03";
pub(super) const ORGANIZATION: &[u8] = b"\x55\x04\x0a";

/// String types.
pub(super) const UTF8: u8 = 0x0c;
pub(super) const PRINTABLE: u8 = 0x13;

/// Extensions.
pub(super) const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
pub(super) const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
pub(super) const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
pub(super) const ALTERNATIVE_NAME: &[u8] = b"\x55\x1d\x11";
pub(super) const NAME_CONSTRAINTS: &[u8] = b"\x55\x1d\x1e";
pub(super) const CERTIFICATE_POLICIES: &[u8] = b"\x55\x1d\x20";
pub(super) const POLICY_CONSTRAINTS: &[u8] = b"\x55\x1d\x24";
pub(super) const INHIBIT_ANY_POLICY: &[u8] = b"\x55\x1d\x36";
const SUBJECT_KEY_ID: &[u8] = b"\x55\x1d\x0e";
const AUTHORITY_KEY_ID: &[u8] = b"\x55\x1d\x23";

/// `clientAuth` and `serverAuth`, as the value of `extendedKeyUsage`.
pub(super) const CLIENT: &[u8] = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
pub(super) const SERVER: &[u8] = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";

/// The parameters of a DSA key, of 2048 and 256 bits. To make them takes seconds.
const DSA_PARAMETERS: &str = "\
-----BEGIN DSA PARAMETERS-----
MIICLAKCAQEAzST9LmBnCuUu6kXIrZn/TmxiPGEdXKgapTkSD4tt7a8h/5Oo2XHM
fgvPJ8x0tt82hR8KTu82iBM3ZZhoK/ml5sbtewAbms1f/1drmrG5ShPwBw3ScPpf
7Md1DS8zFmYiy0xMJuuHdwMs4QFtunhLf+TMkZYSqEqxmnpZbu5QE7PXqdc1TLxF
JSWWHSQ7TNQKpen5b8lcoS0TZrzRDPK5gADnJeIdCe+zUPLgMe/3H3WTOie8NyGY
bIcbVWloHfzGCLJCLCH2FoU7XGtisTBKln/XxvxzyU6CjDVKNrZRcrFZyybmrmIb
/Jxka4RS4tgHQL/Z3WpT5Whzh4OiPOK+IwIhAM/b/h1POqEYPYukqvYhe+A2ixZz
hUAfw8DK4bkjyxahAoIBAF8CgvJM+jABU8924wZLgOcP36BVotvptbt55bIesnf8
lhtdAtUbzV4Y/ENg+0hR8+JyMyx+YTDApZWQeF6ZDRxO9lg+LL4A/1EpajBeRe4a
F+it3xlQ7hpd+873+O9lHFTXEofZpZReoK51yEvBPpdlH3EbxWBx+DlPHGcXXs5V
qKp7pF7xevm7Vc5UhDDIyzK2WV9zD1bPxBwU+6AZsLJ+x+2vhdDxZdZSeBputuGI
fZm0cc1ZQ9bvkRrOSM6+SITeDAbUN+mMayHiLZrRq7hdxB8rDsj6scZNzKdxOD1T
JRNGBCoK+7rXPQd6WuwiBYIiomW2kyrMHqdFeoAcAQY=
-----END DSA PARAMETERS-----
";

/// A private key that signs certificates.
pub(super) struct Key {
    pub(super) pem: String,
    spki: Vec<u8>,
    /// The `AlgorithmIdentifier` of its signatures.
    algorithm: &'static [u8],
    signer: Signer,
}

/// The program that signs with a key.
#[derive(Clone, Copy)]
enum Signer {
    Rcgen,
    /// The openssl program, with this digest.
    Digest(&'static str),
    /// The openssl program, with an algorithm that has no separate digest.
    Raw,
}

impl Key {
    /// ECDSA with P-256.
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        Self {
            pem: key.serialize_pem(),
            spki: key.subject_public_key_info(),
            algorithm: ECDSA_SHA256,
            signer: Signer::Rcgen,
        }
    }

    /// A key that the openssl program makes and signs with.
    pub(super) fn of_openssl(
        options: &[&str],
        algorithm: &'static [u8],
        digest: &'static str,
    ) -> Self {
        let pem = openssl(&[&["genpkey"], options].concat(), &[], b"");
        Self::of_pem(pem, algorithm, Signer::Digest(digest))
    }

    pub(super) fn ed448() -> Self {
        let pem = openssl(&["genpkey", "-algorithm", "ED448"], &[], b"");
        Self::of_pem(pem, ED448, Signer::Raw)
    }

    /// DSA with 2048 bits.
    pub(super) fn dsa() -> Self {
        let parameters = [("-paramfile", DSA_PARAMETERS.as_bytes())];
        let pem = openssl(&["genpkey"], &parameters, b"");
        Self::of_pem(pem, DSA_SHA256, Signer::Digest("-sha256"))
    }

    fn of_pem(pem: Vec<u8>, algorithm: &'static [u8], signer: Signer) -> Self {
        Self {
            spki: openssl(&["pkey", "-pubout", "-outform", "DER"], &[], &pem),
            pem: String::from_utf8(pem).expect("PEM"),
            algorithm,
            signer,
        }
    }

    /// The same key, which signs in another way.
    pub(super) fn signing_with(&self, algorithm: &'static [u8], digest: &'static str) -> Self {
        Self {
            pem: self.pem.clone(),
            spki: self.spki.clone(),
            algorithm,
            signer: Signer::Digest(digest),
        }
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        match self.signer {
            Signer::Rcgen => {
                let key = KeyPair::from_pem(&self.pem).expect("a key");
                key.sign(data).expect("a signature")
            }
            Signer::Digest(digest) => {
                let files = [("-sign", self.pem.as_bytes())];
                openssl(&["dgst", digest], &files, data)
            }
            Signer::Raw => {
                let files = [("-inkey", self.pem.as_bytes()), ("-in", data)];
                openssl(&["pkeyutl", "-sign", "-rawin"], &files, b"")
            }
        }
    }

    fn id(&self) -> Vec<u8> {
        Sha256::digest(&self.spki)[..20].to_vec()
    }
}

/// A certificate before it is signed.
#[derive(Clone)]
pub(super) struct Draft {
    /// The value of `version`, which is absent in version 1.
    pub(super) version: Option<u8>,
    pub(super) serial: Vec<u8>,
    /// The algorithm in the signed part, if it is not that of the key.
    pub(super) inner: Option<&'static [u8]>,
    /// The algorithm outside of the signed part, if it is not that of the key.
    pub(super) outer: Option<&'static [u8]>,
    pub(super) issuer: Vec<u8>,
    /// UTCTime.
    pub(super) validity: [&'static str; 2],
    pub(super) subject: Vec<u8>,
    pub(super) extensions: Vec<Vec<u8>>,
}

impl Draft {
    fn new(subject: Vec<u8>, extensions: &[Vec<u8>]) -> Self {
        Self {
            version: Some(2),
            serial: vec![0x2a],
            inner: None,
            outer: None,
            issuer: Vec::new(),
            validity: ["200101000000Z", "491231235959Z"],
            subject,
            extensions: extensions.to_vec(),
        }
    }

    /// A device's certificate.
    pub(super) fn device(subject: Vec<u8>) -> Self {
        Self::new(
            subject,
            &[
                extension(KEY_USAGE, true, b"\x03\x02\x07\x80"),
                extension(EXTENDED_KEY_USAGE, false, CLIENT),
            ],
        )
    }

    /// An authority's certificate.
    pub(super) fn authority(subject: Vec<u8>) -> Self {
        Self::new(
            subject,
            &[
                extension(BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\xff"),
                extension(KEY_USAGE, true, b"\x03\x02\x01\x06"),
            ],
        )
    }

    /// An authority's certificate with this `pathLenConstraint`.
    pub(super) fn authority_above(subject: Vec<u8>, intermediates: u8) -> Self {
        let constraints = [b"\x30\x06\x01\x01\xff\x02\x01", &[intermediates][..]].concat();
        let mut draft = Self::authority(subject);
        draft.extensions[0] = extension(BASIC_CONSTRAINTS, true, &constraints);
        draft
    }

    pub(super) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The DER of the certificate for this key, signed by the issuer.
    pub(super) fn sign(mut self, key: &Key, issuer: &Authority) -> Vec<u8> {
        if self.issuer.is_empty() {
            self.issuer = issuer.subject.clone();
        }
        if self.version == Some(2) {
            let own = tlv(0x04, &key.id());
            let above = tlv(0x30, &tlv(0x80, &issuer.key.id()));
            self.extensions.push(extension(SUBJECT_KEY_ID, false, &own));
            self.extensions
                .push(extension(AUTHORITY_KEY_ID, false, &above));
        }
        self.sign_as_it_is(key, &issuer.key)
    }

    fn sign_as_it_is(&self, key: &Key, signer: &Key) -> Vec<u8> {
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xa3, &tlv(0x30, &self.extensions.concat())),
        };
        let version = self
            .version
            .map(|version| tlv(0xa0, &tlv(0x02, &[version])));
        let [start, end] = self.validity.map(|time| tlv(0x17, time.as_bytes()));
        let content = tlv(
            0x30,
            &[
                version.unwrap_or_default(),
                tlv(0x02, &self.serial),
                self.inner.unwrap_or(signer.algorithm).to_vec(),
                self.issuer.clone(),
                tlv(0x30, &[start, end].concat()),
                self.subject.clone(),
                key.spki.clone(),
                extensions,
            ]
            .concat(),
        );
        let signature = signer.sign(&content);
        let outer = self.outer.unwrap_or(signer.algorithm);
        signed(&content, outer, &signature)
    }
}

/// The three parts of a certificate.
pub(super) fn signed(content: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature = tlv(0x03, &[b"\0", signature].concat());
    tlv(0x30, &[content, algorithm, &signature].concat())
}

/// An authority with its key.
pub(super) struct Authority {
    pub(super) key: Key,
    pub(super) subject: Vec<u8>,
    pub(super) pem: String,
}

impl Authority {
    /// A root with this name.
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(Draft::authority(common_name(name)), Key::new())
    }

    pub(super) fn root_with(mut draft: Draft, key: Key) -> Self {
        draft.issuer = draft.subject.clone();
        let id = tlv(0x04, &key.id());
        draft.extensions.push(extension(SUBJECT_KEY_ID, false, &id));
        Self {
            pem: pem(&draft.sign_as_it_is(&key, &key)),
            subject: draft.subject,
            key,
        }
    }

    /// An authority below this one.
    pub(super) fn issue(&self, draft: Draft) -> Self {
        let (key, subject) = (Key::new(), draft.subject.clone());
        Self {
            pem: pem(&draft.sign(&key, self)),
            subject,
            key,
        }
    }

    /// The certificate and the key of a device.
    pub(super) fn device(&self, draft: Draft) -> (String, String) {
        let key = Key::new();
        (pem(&draft.sign(&key, self)), key.pem)
    }
}

/// A name of one common name.
pub(super) fn common_name(text: &str) -> Vec<u8> {
    name(&[&[(COMMON_NAME, UTF8, text.as_bytes())]])
}

/// A type, a string type and a value.
pub(super) type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

/// A name: each part is a set.
pub(super) fn name(parts: &[&[Attribute<'_>]]) -> Vec<u8> {
    let parts = parts.iter().map(|part| {
        let pairs = part
            .iter()
            .map(|(kind, tag, value)| tlv(0x30, &[tlv(0x06, kind), tlv(*tag, value)].concat()));
        tlv(0x31, &pairs.collect::<Vec<_>>().concat())
    });
    tlv(0x30, &parts.collect::<Vec<_>>().concat())
}

pub(super) fn extension(kind: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    let parts = [&tlv(0x06, kind), critical, &tlv(0x04, value)];
    tlv(0x30, &parts.concat())
}

/// Tag, length and value.
pub(super) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value");
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..128 => vec![tag, low],
        128..256 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, value].concat()
}

pub(super) fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}
