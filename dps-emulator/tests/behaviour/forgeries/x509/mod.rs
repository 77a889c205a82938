//! Certificates that a device must not register with, each with the verdict of `openssl verify` on the same chain.

mod algorithms;
mod bytes;
mod chains;
mod constraints;
mod der;
mod encodings;
mod enrollments;
mod names;
mod openssl;
mod paths;

use super::{Credentials, TRANSPORTS, is_registered};
use crate::common::{Dps, certificate_group};

/// What a device presents.
struct Chain {
    name: &'static str,
    /// The device's certificate.
    leaf: String,
    /// The other certificates that the device presents.
    others: Vec<String>,
    key: String,
    /// Whether `openssl verify` accepts the chain: it does not know registration ids.
    openssl_accepts: bool,
}

impl Chain {
    fn new(name: &'static str, leaf: (String, String), others: &[String]) -> Self {
        let (leaf, key) = leaf;
        Self {
            name,
            leaf,
            others: others.to_vec(),
            key,
            openssl_accepts: false,
        }
    }

    fn that_openssl_accepts(self) -> Self {
        Self {
            openssl_accepts: true,
            ..self
        }
    }

    fn pem(&self) -> String {
        [self.leaf.clone(), self.others.concat()].concat()
    }

    /// Whether the emulator accepts it over this transport.
    async fn registers(&self, dps: &Dps, transport: &str) -> bool {
        let identity = Credentials::Identity(&self.pem(), &self.key);
        identity.register(dps, transport).await
    }
}

/// Enrolls a group for what this certificate signed.
async fn enroll(dps: &Dps, group: &str, pem: &str) {
    let path = format!("/enrollmentGroups/{group}");
    dps.create(&path, &certificate_group(group, pem)).await;
}

/// Asserts that no forgery registers a device, that each genuine chain does, and that `openssl verify` agrees.
async fn compare(dps: &Dps, root: &str, forgeries: &[Chain], genuine: &[Chain]) {
    let (mut accepted, mut verdicts) = (Vec::new(), Vec::new());
    for chain in forgeries {
        for transport in TRANSPORTS {
            if chain.registers(dps, transport).await {
                accepted.push(format!("{} over {transport}", chain.name));
            }
        }
        let accepts = openssl::verifies(root, &chain.others.concat(), &chain.leaf);
        if accepts != chain.openssl_accepts {
            verdicts.push(format!("{}: {accepts}", chain.name));
        }
    }
    assert!(accepted.is_empty(), "these were accepted: {accepted:#?}");
    assert!(verdicts.is_empty(), "openssl verify: {verdicts:#?}");
    assert!(!is_registered(dps).await);
    for chain in genuine {
        for transport in TRANSPORTS {
            let accepted = chain.registers(dps, transport).await;
            assert!(accepted, "{} over {transport}", chain.name);
        }
        let accepts = openssl::verifies(root, &chain.others.concat(), &chain.leaf);
        assert!(accepts, "{}: openssl", chain.name);
    }
    assert!(is_registered(dps).await);
}
