//! Reads certificates and private keys from PEM, DER, or base64 of either: all of the input, or an error with the place.
//!
//! Harmless variations are read: a byte order mark, any line ends or none, indentation, `\n` written out, text between
//! the blocks, blocks that share a line, the labels `X509 CERTIFICATE` and `TRUSTED CERTIFICATE`. Files of other kinds
//! are refused with the command that converts them. No error quotes the input, which may be a private key.

mod base64_text;
mod der;
mod pem;

use std::borrow::Cow;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

pub(crate) use der::is_version_1;
use der::{Content, content_of};

/// An error of the input, for the reader of certificates and the reader of keys.
#[derive(Debug)]
struct Fault {
    what: Cow<'static, str>,
    is_other_format: bool,
}

impl Fault {
    fn malformed(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            what: what.into(),
            is_other_format: false,
        }
    }

    fn other_format(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            what: what.into(),
            is_other_format: true,
        }
    }

    fn into_error(self, malformed: ErrorKind) -> Error {
        let kind = match self.is_other_format {
            true => ErrorKind::UnsupportedFormat,
            false => malformed,
        };
        Error::new(kind, self.what)
    }
}

/// One object of the input.
struct Item {
    content: Content,
    der: Zeroizing<Vec<u8>>,
    place: String,
}

/// Reads every certificate of the input, in its order. Private keys and other objects are passed over.
///
/// The input is PEM, DER (one certificate after the other), or base64 of either. Each certificate has the outline of an
/// X.509 certificate of any version; signatures, dates and extensions are not checked.
///
/// # Errors
///
/// [`ErrorKind::NoCertificate`], [`ErrorKind::MalformedCertificate`], and [`ErrorKind::UnsupportedFormat`] for PKCS#12,
/// PKCS#7, UTF-16 and the like. The message names the line, and the command that converts the input.
pub fn read_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let items = items(bytes).map_err(|fault| fault.into_error(ErrorKind::MalformedCertificate))?;
    let certificates: Vec<_> = items
        .iter()
        .filter(|item| item.content == Content::Certificate)
        .map(|item| CertificateDer::from(item.der.to_vec()))
        .collect();
    match certificates.is_empty() {
        true => Err(Error::new(
            ErrorKind::NoCertificate,
            absence("certificate", &items),
        )),
        false => Ok(certificates),
    }
}

/// Reads the certificates of a memory of fixed size, such as an NV index of a TPM: DER, one after the other, and after the last one
/// either nothing, or bytes that are all 0x00 or all 0xff.
///
/// # Errors
///
/// [`ErrorKind::NoCertificate`] if the memory is empty or blank, [`ErrorKind::MalformedCertificate`] for any other content.
pub fn read_padded_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut rest = bytes;
    while let (Some(&der::SEQUENCE), Some((_, after))) = (rest.first(), der::split(rest)) {
        rest = after;
    }
    if ![0x00, 0xff]
        .iter()
        .any(|fill| rest.iter().all(|byte| byte == fill))
    {
        let what = format!(
            "the content is not a list of certificates: {} of {} bytes are neither a complete DER object nor filling",
            rest.len(),
            bytes.len()
        );
        return Err(Error::new(ErrorKind::MalformedCertificate, what));
    }
    let used = bytes.strip_suffix(rest).unwrap_or(bytes);
    let items =
        der_items(used).map_err(|fault| fault.into_error(ErrorKind::MalformedCertificate))?;
    if items.is_empty() {
        let what = "the memory is blank: certificates were expected";
        return Err(Error::new(ErrorKind::NoCertificate, what));
    }
    items
        .into_iter()
        .map(|item| match item.content {
            Content::Certificate => Ok(CertificateDer::from(item.der.to_vec())),
            other => {
                let what = format!(
                    "a certificate was expected{}, but it is {other}",
                    item.place
                );
                Err(Error::new(ErrorKind::MalformedCertificate, what))
            }
        })
        .collect()
}

/// Reads the one private key of the input: PKCS#8, SEC1 or PKCS#1. Certificates and other objects are passed over.
///
/// The input is PEM, DER, or base64 of either. Only the outline of the key is checked here, the rest by
/// [`certified_key`](crate::certified_key).
///
/// # Errors
///
/// [`ErrorKind::NoKey`], [`ErrorKind::MalformedKey`], also where there are several different keys,
/// [`ErrorKind::EncryptedKey`] for a key that needs a password, [`ErrorKind::UnsupportedKey`] for DSA, and
/// [`ErrorKind::UnsupportedFormat`] for PKCS#12, OpenSSH, UTF-16 and the like. The message names the line, and the
/// command that converts the input.
pub fn read_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let items = items(bytes).map_err(|fault| fault.into_error(ErrorKind::MalformedKey))?;
    let mut found: Option<&Item> = None;
    for item in &items {
        match item.content {
            Content::PrivateKey => match found {
                Some(first) if first.der != item.der => {
                    let what = format!(
                        "the input holds more than one private key, the first{} and another{}: keep the one that belongs to the certificate",
                        first.place, item.place
                    );
                    return Err(Error::new(ErrorKind::MalformedKey, what));
                }
                _ => found = Some(item),
            },
            Content::EncryptedKey => {
                let what = format!(
                    "the private key{} is encrypted: decrypt it first, with `openssl pkey -in FILE -out FILE.pem`",
                    item.place
                );
                return Err(Error::new(ErrorKind::EncryptedKey, what));
            }
            Content::DsaKey => {
                let what = format!(
                    "the private key{} is a DSA key: use ECDSA on P-256 or P-384, Ed25519, or RSA",
                    item.place
                );
                return Err(Error::new(ErrorKind::UnsupportedKey, what));
            }
            _ => {}
        }
    }
    let Some(item) = found else {
        return Err(Error::new(ErrorKind::NoKey, absence("private key", &items)));
    };
    let key = PrivateKeyDer::try_from(item.der.as_slice()).map_err(|_| {
        let what = format!(
            "the private key{} is malformed: it is not PKCS#8, SEC1 or PKCS#1",
            item.place
        );
        Error::new(ErrorKind::MalformedKey, what)
    })?;
    Ok(key.clone_key())
}

/// The message when nothing was found: the input is empty, or holds something else.
fn absence(expected: &str, items: &[Item]) -> String {
    let Some(item) = items.first() else {
        return format!("the input is empty: a {expected} was expected");
    };
    let advice = match item.content {
        Content::Request => ": have a CA sign it, and use the certificate that the CA returns",
        Content::PublicKey => ": use the file with the private key or the certificate",
        Content::Certificate | Content::PrivateKey | Content::EncryptedKey => {
            ": check that the files are not exchanged"
        }
        _ => "",
    };
    format!(
        "the input holds no {expected}, but {}{}{advice}",
        item.content, item.place
    )
}

fn items(bytes: &[u8]) -> Result<Vec<Item>, Fault> {
    read(bytes, true)
}

/// Base64 may hold PEM or DER, but not base64 again.
fn read(bytes: &[u8], may_be_base64: bool) -> Result<Vec<Item>, Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    check_encoding(bytes)?;
    if der::is_der(bytes) {
        return der_items(bytes);
    }
    if pem::is_pem(bytes) {
        return pem::blocks(bytes)?.into_iter().map(item).collect();
    }
    match base64_text::decode(bytes) {
        Some(decoded) if may_be_base64 => read(&decoded, false),
        _ => Err(Fault::malformed(
            "the input is neither PEM (with a BEGIN and an END line), nor DER, nor base64 of either",
        )),
    }
}

/// Refuses UTF-16, which shells of Windows write, and Java's keystore.
fn check_encoding(bytes: &[u8]) -> Result<(), Fault> {
    let is_utf16 = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || bytes.starts_with(b"-\0-\0")
        || bytes.starts_with(b"\0-\0-");
    if is_utf16 {
        return Err(Fault::other_format(
            "the input is UTF-16 text, as PowerShell's `>` writes it: convert it with `iconv -f UTF-16 -t UTF-8`, \
             or write it with `Set-Content -Encoding ascii`",
        ));
    }
    if bytes.starts_with(b"\xfe\xed\xfe\xed") {
        return Err(Fault::other_format(
            "the input is a Java keystore: convert it with `keytool -importkeystore -srckeystore FILE -destkeystore \
             FILE.p12 -deststoretype PKCS12`, and then with `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem`",
        ));
    }
    Ok(())
}

/// Reads DER objects in sequence.
fn der_items(mut bytes: &[u8]) -> Result<Vec<Item>, Fault> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let number = items.len() + 1;
        let Some((object, rest)) = der::split(bytes) else {
            return Err(Fault::malformed(match items.is_empty() {
                true => "the DER is truncated: it is shorter than its header announces".to_owned(),
                false => format!(
                    "{} bytes follow object {} of the DER",
                    bytes.len(),
                    number - 1
                ),
            }));
        };
        let place = match items.is_empty() && rest.is_empty() {
            true => String::new(),
            false => format!(" (object {number})"),
        };
        items.push(checked(object, &place, true)?);
        bytes = rest;
    }
    Ok(items)
}

/// Reads the object in a PEM block, and checks it against the label of the block.
fn item(block: pem::Block) -> Result<Item, Fault> {
    let place = format!(" (line {})", block.line);
    if block.is_encrypted {
        return Ok(Item {
            content: Content::EncryptedKey,
            der: block.der,
            place,
        });
    }
    let expected = match block.label.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" => Content::Certificate,
        "TRUSTED CERTIFICATE" => return trusted(&block.der, &place),
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Content::PrivateKey,
        "ENCRYPTED PRIVATE KEY" => Content::EncryptedKey,
        "DSA PRIVATE KEY" => Content::DsaKey,
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Content::PublicKey,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Content::Request,
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => return Err(pkcs7(&place, false)),
        "X509 CRL" => Content::RevocationList,
        "EC PARAMETERS" | "DH PARAMETERS" | "DSA PARAMETERS" | "X9.42 DH PARAMETERS" => {
            return Ok(Item {
                content: Content::Parameters,
                der: block.der,
                place,
            });
        }
        "OPENSSH PRIVATE KEY" => {
            return Err(Fault::other_format(format!(
                "the private key{place} is in OpenSSH's own format: convert it with `ssh-keygen -p -m PEM -f FILE`"
            )));
        }
        label => {
            return Err(Fault::malformed(format!(
                "the PEM block{place} has the label {label:?}, which is not one of certificates or keys"
            )));
        }
    };
    let item = checked(&block.der, &place, false)?;
    match item.content == expected {
        true => Ok(item),
        false => Err(Fault::malformed(format!(
            "the {} block{place} does not hold {expected}, but {}",
            block.label, item.content
        ))),
    }
}

/// Classifies one DER object, and refuses containers, which have to be converted.
fn checked(der: &[u8], place: &str, is_der: bool) -> Result<Item, Fault> {
    let content = match content_of(der) {
        Content::Pkcs12 => {
            return Err(Fault::other_format(format!(
                "the input{place} is a PKCS#12 file (.pfx or .p12): convert it with \
                 `openssl pkcs12 -in FILE -nodes -out FILE.pem`"
            )));
        }
        Content::Pkcs7 => return Err(pkcs7(place, is_der)),
        Content::Unknown if is_der => {
            return Err(Fault::malformed(format!(
                "the input{place} is DER, but neither a sound X.509 certificate nor a private key"
            )));
        }
        content => content,
    };
    Ok(Item {
        content,
        der: Zeroizing::new(der.to_vec()),
        place: place.to_owned(),
    })
}

/// Reads OpenSSL's own format: a certificate followed by trust settings. Trusted uses are ignored, rejected ones are an
/// error.
fn trusted(der: &[u8], place: &str) -> Result<Item, Fault> {
    let convert = "convert it with `openssl x509 -in FILE -out FILE.pem`";
    let Some((certificate, settings)) = der::split(der) else {
        return Err(Fault::malformed(format!(
            "the TRUSTED CERTIFICATE block{place} is truncated"
        )));
    };
    if der::rejects_uses(settings) {
        return Err(Fault::other_format(format!(
            "the TRUSTED CERTIFICATE block{place} rejects some uses of the certificate, which is not supported: \
             {convert}"
        )));
    }
    let item = checked(certificate, place, false)?;
    match item.content {
        Content::Certificate => Ok(item),
        content => Err(Fault::malformed(format!(
            "the TRUSTED CERTIFICATE block{place} does not hold a certificate, but {content}"
        ))),
    }
}

fn pkcs7(place: &str, is_der: bool) -> Fault {
    let form = if is_der { "-inform DER " } else { "" };
    Fault::other_format(format!(
        "the input{place} is a PKCS#7 file (.p7b): convert it with \
         `openssl pkcs7 {form}-print_certs -in FILE -out FILE.pem`"
    ))
}
