//! The kinds of key pairs that can be generated.

/// The kind of a key pair. DPS accepts all of them for X.509 attestation, and only elliptic curves in a certificate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on P-256: small and fast. Every TPM supports it, and most tokens do.
    #[default]
    P256,
    /// ECDSA on P-384. Not every TPM supports it.
    P384,
    /// RSA of 2048 bits. Slow hardware needs half a minute to generate one, and longer for more bits.
    Rsa2048,
    /// RSA of 3072 bits. Few TPMs support it.
    Rsa3072,
    /// RSA of 4096 bits. Very few TPMs support it.
    Rsa4096,
}
