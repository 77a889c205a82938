//! Weak and unsupported keys and signatures: of the enrolled root, of an intermediate, and of the device.

use super::der::{
    Authority, Draft, ECDSA_SHA1, ECDSA_SHA256, ECDSA_SHA512, Key, RSA_MD5, RSA_SHA1, RSA_SHA256,
    common_name, pem,
};
use super::{Chain, Credentials, TRANSPORTS, enroll, openssl};
use crate::common::Dps;

const RSA_1024: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
const RSA_2048: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const P_224: &[&str] = &[
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:secp224r1",
];
const P_256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P_521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const SECP256K1: &[&str] = &[
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:secp256k1",
];
const BRAINPOOL: &[&str] = &[
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:brainpoolP256r1",
];
/// P-256 with its parameters in the key, as in CVE-2020-0601.
const EXPLICIT: &[&str] = &[
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-pkeyopt",
    "ec_param_enc:explicit",
];

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

/// The signing keys, and whether `openssl verify` accepts their signatures at 112 bits of security.
fn signers() -> Vec<(&'static str, Key, bool)> {
    let rsa = Key::of_openssl(RSA_2048, RSA_SHA256, "-sha256");
    let ecdsa = |curve| Key::of_openssl(curve, ECDSA_SHA256, "-sha256");
    let p_256 = ecdsa(P_256);
    vec![
        (
            "RSA with 1024 bits",
            Key::of_openssl(RSA_1024, RSA_SHA256, "-sha256"),
            false,
        ),
        ("RSA with MD5", rsa.signing_with(RSA_MD5, "-md5"), false),
        ("RSA with SHA-1", rsa.signing_with(RSA_SHA1, "-sha1"), false),
        (
            "ECDSA with SHA-1",
            p_256.signing_with(ECDSA_SHA1, "-sha1"),
            false,
        ),
        (
            "SHA-1 under the name of SHA-256",
            p_256.signing_with(ECDSA_SHA256, "-sha1"),
            false,
        ),
        (
            "MD5 under the name of SHA-256",
            rsa.signing_with(RSA_SHA256, "-md5"),
            false,
        ),
        ("P-224", ecdsa(P_224), true),
        (
            "P-521",
            Key::of_openssl(P_521, ECDSA_SHA512, "-sha512"),
            true,
        ),
        ("secp256k1", ecdsa(SECP256K1), true),
        ("brainpoolP256r1", ecdsa(BRAINPOOL), true),
        ("P-256 with explicit parameters", ecdsa(EXPLICIT), false),
        ("DSA with 2048 bits", Key::dsa(), true),
        ("Ed448", Key::ed448(), true),
    ]
}

#[tokio::test]
async fn no_weak_or_unsupported_signature_registers_a_device() {
    let dps = Dps::start().await;
    let genuine = Authority::root("Contoso Root");
    enroll(&dps, "root", &genuine.pem).await;
    for (number, (name, key, accepts)) in signers().into_iter().enumerate() {
        // As the enrolled root, and as an intermediate below the genuine root.
        let subject = common_name("Weak");
        let intermediate = pem(&Draft::authority(subject.clone()).sign(&key, &genuine));
        let root = Authority::root_with(Draft::authority(subject), key);
        enroll(&dps, &format!("weak-{number}"), &root.pem).await;
        let leaf = root.device(device());
        for (chain, anchor) in [
            (Chain::new(name, leaf.clone(), &[]), &root.pem),
            (Chain::new(name, leaf, &[intermediate]), &genuine.pem),
        ] {
            for transport in TRANSPORTS {
                let accepted = chain.registers(&dps, transport).await;
                assert!(!accepted, "{name} over {transport}");
            }
            let verifies = openssl::verifies(anchor, &chain.others.concat(), &chain.leaf);
            assert_eq!(verifies, accepts, "{name}: openssl");
        }
    }
    let chain = Chain::new("genuine", genuine.device(device()), &[]);
    super::compare(&dps, &genuine.pem, &[], &[chain]).await;
}

/// The device's own key, which signs the TLS handshake.
#[tokio::test]
async fn no_weak_or_unsupported_key_of_a_device_registers_it() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    for (name, options, accepted) in [
        ("RSA with 1024 bits", RSA_1024, false),
        ("P-224", P_224, false),
        ("P-521", P_521, false),
        ("secp256k1", SECP256K1, false),
        ("brainpoolP256r1", BRAINPOOL, false),
        ("Ed448", &["-algorithm", "ED448"], false),
        ("RSA with 2048 bits", RSA_2048, true),
        ("P-256", P_256, true),
        ("Ed25519", &["-algorithm", "ED25519"], true),
    ] {
        let key = Key::of_openssl(options, ECDSA_SHA256, "-sha256");
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, pem: &str| {
            std::fs::write(folder.path().join(name), pem).expect("written");
        };
        write("chain.pem", &pem(&device().sign(&key, &root)));
        write("key.pem", &key.pem);
        for transport in TRANSPORTS {
            let registers = Credentials::Openssl(folder.path());
            let registers = registers.register(&dps, transport).await;
            assert_eq!(registers, accepted, "{name} over {transport}");
        }
    }
}
