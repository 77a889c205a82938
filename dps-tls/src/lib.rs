//! One rustls client configuration for the dps crates: trusted roots in, a configuration out.
