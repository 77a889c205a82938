//! AMQP: a receiver and a sender at different addresses. The client writes the address of the receiver first, and that of the sender
//! after it.

use dps_emulator::DeviceCredentials;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};

use super::amqp_links::{Login, OWN, TARGET, is_answered, request, streams, with_two_devices};
use super::attempt::Stream;
use super::is_registered;
use crate::common::{KEY_1, KEY_3, certificate_enrollment, token};
use crate::instances::{create, enroll};

const BYTES: usize = 64 * 1024;

/// The link that the attacker attaches at another address than that of the other link.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moved {
    Receiver,
    Sender,
}

/// Whether the emulator answers a registration over these links. `login` and the other link are for `own`, and the moved link is at
/// `other`, which has the same length.
async fn is_answered_over(
    stream: Box<dyn Stream>,
    login: Login<'_>,
    own: &str,
    (moved, other): (Moved, &str),
) -> bool {
    assert_eq!(own.len(), other.len());
    let before = match login {
        // The name of the user.
        Login::Plain(..) => 1,
        _ => 0,
    };
    let place = before + usize::from(moved == Moved::Sender);
    let (near, far) = duplex(BYTES);
    let request = request("iotdps-register", None, &json!({}));
    let version = ["2019-03-31"];
    tokio::select! {
        answered = is_answered(Box::new(near), login, own, &version, &request) => answered,
        () = forward(far, stream, (place, own, other)) => panic!("the client has not ended"),
    }
}

/// Forwards both directions, with another address at this place of those that the client writes.
async fn forward(far: DuplexStream, stream: Box<dyn Stream>, readdress: (usize, &str, &str)) {
    let (place, own, other) = readdress;
    let (mut from_client, mut to_client) = split(far);
    let (mut from_emulator, mut to_emulator) = split(stream);
    let there = async {
        let mut found = 0;
        loop {
            let mut bytes = vec![0; BYTES];
            let length = from_client.read(&mut bytes).await.expect("it is in memory");
            if length == 0 {
                return;
            }
            bytes.truncate(length);
            for start in 0..length.saturating_sub(own.len() - 1) {
                let end = start + own.len();
                if bytes[start..end] == *own.as_bytes() {
                    if found == place {
                        bytes[start..end].copy_from_slice(other.as_bytes());
                    }
                    found += 1;
                }
            }
            // The emulator may have closed the connection.
            let sent = to_emulator.write_all(&bytes).await;
            if sent.is_err() || to_emulator.flush().await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let _ = copy(&mut from_emulator, &mut to_client).await;
        to_client.shutdown().await.expect("it is in memory");
    };
    tokio::join!(there, back);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn no_answer_is_sent_over_links_at_different_addresses() {
    let dps = with_two_devices().await;
    let own = token("dev-2", KEY_3);
    let (_, other) = create(&dps, "suite-1").await;
    enroll(&other, "dev-2", KEY_3).await;
    let elsewhere = format!("{}/registrations/dev-2", other.scope);
    let missing = "0ne00000009/registrations/dev-2";
    for (name, address) in [
        ("the target", TARGET),
        ("the same device of another instance", elsewhere.as_str()),
        ("an unknown instance", missing),
    ] {
        for moved in [Moved::Receiver, Moved::Sender] {
            for stream in streams(&dps, None).await {
                let login = Login::Plain(OWN, &own);
                let answered = is_answered_over(stream, login, OWN, (moved, address)).await;
                assert!(!answered, "{moved:?} at {name}");
            }
        }
    }
    for id in ["dev-1", "dev-2"] {
        assert_eq!(dps.get(&format!("/registrations/{id}")).await.status, 404);
    }
    // Without a change.
    for stream in streams(&dps, None).await {
        let login = Login::Plain(OWN, &own);
        assert!(is_answered_over(stream, login, OWN, (Moved::Sender, OWN)).await);
    }
}

/// A client with a certificate authenticates with its requests, so that it may attach a link at any address.
#[tokio::test]
async fn no_certificate_is_answered_over_links_at_different_addresses() {
    let dps = with_two_devices().await;
    let credentials = DeviceCredentials::self_signed("dev-3").expect("a certificate");
    let document = certificate_enrollment("dev-3", credentials.certificate_pem());
    dps.create("/enrollments/dev-3", &document).await;
    let identity = Some((credentials.certificate_pem(), credentials.private_key_pem()));
    let own = "0ne00000001/registrations/dev-3";
    for login in [Login::None, Login::External] {
        for moved in [Moved::Receiver, Moved::Sender] {
            for stream in streams(&dps, identity).await {
                let answered = is_answered_over(stream, login, own, (moved, TARGET)).await;
                assert!(!answered, "{moved:?}");
            }
        }
    }
    assert!(!is_registered(&dps).await);
    // The target registers while the attacker has links at its address, and only the target is answered.
    let [attacker, _] = streams(&dps, identity).await;
    let attack = is_answered_over(attacker, Login::None, own, (Moved::Receiver, TARGET));
    let genuine = async {
        let token = token("dev-1", KEY_1);
        let request = request("iotdps-register", None, &json!({}));
        let [stream, _] = streams(&dps, None).await;
        let login = Login::Plain(TARGET, &token);
        is_answered(stream, login, TARGET, &["2019-03-31"], &request).await
    };
    assert_eq!(tokio::join!(attack, genuine), (false, true));
    for login in [Login::None, Login::External] {
        for stream in streams(&dps, identity).await {
            assert!(is_answered_over(stream, login, own, (Moved::Receiver, own)).await);
        }
    }
}
