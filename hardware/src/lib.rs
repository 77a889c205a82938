//! Stand-ins for hardware in tests: a TPM in Rust, swtpm, SoftHSM.
