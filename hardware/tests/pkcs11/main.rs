//! The `pkcs11` feature against SoftHSM and the emulator.
