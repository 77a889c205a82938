//! Device Provisioning Service in a box: both endpoints, every attestation really verified, no Azure account needed.
