//! The `tpm` feature against swtpm and the emulator.
