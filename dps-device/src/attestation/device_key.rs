//! A private key that stays in its device and signs there: for TLS and for certificate signing requests.
