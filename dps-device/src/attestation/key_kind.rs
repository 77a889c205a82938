//! The kinds of key pairs that a device can make in its hardware.

/// What key pair to make in a TPM or a token. DPS takes all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on P-256: small and fast. Every TPM has it, and most tokens.
    #[default]
    P256,
    /// ECDSA on P-384. Not every TPM has it.
    P384,
    /// RSA of 2048 bits. Slow hardware takes half a minute to make one, and longer for more bits.
    Rsa2048,
    /// RSA of 3072 bits. Few TPMs have it.
    Rsa3072,
    /// RSA of 4096 bits. Hardly any TPM has it.
    Rsa4096,
}
