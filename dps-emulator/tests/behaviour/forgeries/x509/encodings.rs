//! Certificates whose parts contradict each other.

use super::der::{
    ALTERNATIVE_NAME, Authority, BASIC_CONSTRAINTS, CLIENT, Draft, ECDSA_SHA384,
    EXTENDED_KEY_USAGE, KEY_USAGE, RSA_SHA256, SERVER, common_name, extension, tlv,
};
use super::{Chain, compare, enroll};
use crate::common::Dps;

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

fn line() -> Draft {
    Draft::authority(common_name("Line"))
}

/// A certificate of version 1, which has no extensions.
fn old(subject: &str) -> Draft {
    let mut draft = Draft::device(common_name(subject));
    draft.version = None;
    draft.extensions.clear();
    draft
}

/// Device certificates, from what the draft changes.
fn changed_devices() -> Vec<(&'static str, Draft)> {
    let change = |change: &dyn Fn(&mut Draft)| {
        let mut draft = device();
        change(&mut draft);
        draft
    };
    let usage = |bits: &[u8]| extension(KEY_USAGE, true, bits);
    vec![
        (
            "another algorithm in the signed part",
            change(&|it| it.inner = Some(ECDSA_SHA384)),
        ),
        (
            "another algorithm outside",
            change(&|it| it.outer = Some(ECDSA_SHA384)),
        ),
        (
            "the algorithm of another kind of key",
            change(&|it| (it.inner, it.outer) = (Some(RSA_SHA256), Some(RSA_SHA256))),
        ),
        ("version 1 with extensions", change(&|it| it.version = None)),
        (
            "version 2 with extensions",
            change(&|it| it.version = Some(1)),
        ),
        ("version 4", change(&|it| it.version = Some(3))),
        ("version 1 with another algorithm in the signed part", {
            let mut draft = old("dev-1");
            draft.inner = Some(ECDSA_SHA384);
            draft
        }),
        ("version 1 with an algorithm of RSA in the signed part", {
            let mut draft = old("dev-1");
            draft.inner = Some(RSA_SHA256);
            draft
        }),
        (
            "an end before the start",
            change(&|it| it.validity.reverse()),
        ),
        (
            "an end in 1950",
            change(&|it| it.validity = ["500101000000Z", "501231235959Z"]),
        ),
        (
            "keyUsage twice",
            change(&|it| it.extensions.insert(0, usage(b"\x03\x02\x07\x80"))),
        ),
        (
            "extendedKeyUsage twice",
            change(&|it| {
                it.extensions[1] = extension(EXTENDED_KEY_USAGE, false, SERVER);
                it.extensions
                    .push(extension(EXTENDED_KEY_USAGE, false, CLIENT));
            }),
        ),
        (
            "alternative names twice",
            device()
                .with(extension(
                    ALTERNATIVE_NAME,
                    false,
                    &tlv(0x30, &tlv(0x82, b"a.b")),
                ))
                .with(extension(
                    ALTERNATIVE_NAME,
                    false,
                    &tlv(0x30, &tlv(0x82, b"c.d")),
                )),
        ),
        (
            "basicConstraints twice",
            device()
                .with(extension(BASIC_CONSTRAINTS, true, b"\x30\x00"))
                .with(extension(BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\xff")),
        ),
        (
            "a keyUsage without a bit",
            change(&|it| it.extensions[0] = usage(b"\x03\x01\x00")),
        ),
        (
            "a keyUsage of certificates and lists",
            change(&|it| it.extensions[0] = usage(b"\x03\x02\x01\x06")),
        ),
        (
            "a keyUsage that is not a bit string",
            change(&|it| it.extensions[0] = usage(b"\x02\x01\x80")),
        ),
        (
            "an extendedKeyUsage without a purpose",
            change(&|it| it.extensions[1] = extension(EXTENDED_KEY_USAGE, false, b"\x30\x00")),
        ),
        (
            "an extendedKeyUsage of every purpose only",
            change(&|it| {
                let any = b"\x30\x06\x06\x04\x55\x1d\x25\x00";
                it.extensions[1] = extension(EXTENDED_KEY_USAGE, false, any);
            }),
        ),
        (
            "an extendedKeyUsage of a purpose below clientAuth",
            change(&|it| {
                let below = b"\x30\x0b\x06\x09\x2b\x06\x01\x05\x05\x07\x03\x02\x01";
                it.extensions[1] = extension(EXTENDED_KEY_USAGE, false, below);
            }),
        ),
    ]
}

fn forgeries(root: &Authority) -> Vec<Chain> {
    let devices = changed_devices();
    let devices = devices.into_iter();
    let mut chains: Vec<Chain> = devices
        .map(|(name, draft)| Chain::new(name, root.device(draft), &[]))
        .collect();
    let below = |name: &'static str, line: Draft| {
        let line = root.issue(line);
        Chain::new(name, line.device(device()), &[line.pem])
    };
    chains.extend([
        below("an intermediate of version 1", old("Line")),
        below(
            "an intermediate with another algorithm in its signed part",
            {
                let mut draft = line();
                draft.inner = Some(ECDSA_SHA384);
                draft
            },
        ),
        below("an intermediate that is and is not an authority", {
            let mut draft = line();
            draft
                .extensions
                .insert(0, extension(BASIC_CONSTRAINTS, true, b"\x30\x00"));
            draft
        }),
        below("an intermediate with an authority of another value", {
            let mut draft = line();
            draft.extensions[0] = extension(BASIC_CONSTRAINTS, true, b"\x30\x03\x01\x01\x00");
            draft
        }),
        below("an intermediate without basicConstraints", {
            let mut draft = line();
            draft.extensions.remove(0);
            draft
        }),
        below("an intermediate with keyUsage twice", {
            let sign = extension(KEY_USAGE, true, b"\x03\x02\x02\x04");
            line().with(sign)
        }),
    ]);
    chains
}

/// Unusual certificates that RFC 5280, 4.1.2.2 requires to be handled, and old ones.
fn genuine(root: &Authority) -> Vec<Chain> {
    let of = |name: &'static str, serial: &[u8]| {
        let mut draft = device();
        draft.serial = serial.to_vec();
        Chain::new(name, root.device(draft), &[])
    };
    vec![
        of("the serial number 0", b"\0"),
        of("a negative serial number", b"\xff"),
        of("a serial number of 20 bytes", &[0x7f; 20]),
        Chain::new("genuine", root.device(device()), &[]),
    ]
}

#[tokio::test]
async fn no_contradictory_certificate_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    compare(&dps, &root.pem, &forgeries(&root), &genuine(&root)).await;
}
