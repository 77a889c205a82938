//! The official SDKs as clients of our emulator.
