//! The SASL layer: client against server, and literal frames of Microsoft's SDKs.

use dps_amqp::sasl::{self, Mechanism, Outcome, SaslServer, Tpm};
use dps_amqp::{ErrorKind, Frames, ProtocolHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::encode::{SASL, binary, frame, list, string, symbol};

async fn accept(stream: DuplexStream) -> (Frames<DuplexStream>, SaslServer, Mechanism) {
    let mut frames = Frames::new(stream, 4096);
    assert_eq!(frames.read_header().await.unwrap(), ProtocolHeader::Sasl);
    let (server, mechanism) = SaslServer::accept(&mut frames).await.unwrap();
    (frames, server, mechanism)
}

#[tokio::test]
async fn plain_carries_user_and_password() {
    for outcome in [
        Outcome::Ok,
        Outcome::Unauthorized,
        Outcome::TemporaryFailure,
    ] {
        let (near, far) = duplex(4096);
        let server = tokio::spawn(async move {
            let (mut frames, server, mechanism) = accept(far).await;
            let Mechanism::Plain { user, password } = mechanism else {
                panic!("{mechanism:?}");
            };
            assert_eq!(user, "0ne1/registrations/a");
            assert_eq!(password.as_str(), "SharedAccessSignature sr=x");
            server.finish(&mut frames, outcome).await.unwrap();
            frames
        });
        let mut frames = Frames::new(near, 4096);

        let result = sasl::plain(
            &mut frames,
            "0ne1/registrations/a",
            "SharedAccessSignature sr=x",
        )
        .await;

        let expected = match outcome {
            Outcome::Ok => None,
            Outcome::Unauthorized => Some(ErrorKind::Unauthorized),
            _ => Some(ErrorKind::Unavailable),
        };
        assert_eq!(result.err().map(|error| error.kind()), expected);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn external_has_no_response() {
    let (near, far) = duplex(4096);
    let server = tokio::spawn(async move {
        let (mut frames, server, mechanism) = accept(far).await;
        assert!(matches!(mechanism, Mechanism::External));
        server.finish(&mut frames, Outcome::Ok).await.unwrap();
        frames
    });
    sasl::external(&mut Frames::new(near, 4096)).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn the_tpm_mechanism_carries_keys_of_any_size() {
    for key_size in [300, 316, 460, 900] {
        let (near, far) = duplex(64);
        let blob: Vec<u8> = (0..780).map(|index| index as u8).collect();
        let sent = blob.clone();
        let server = tokio::spawn(async move {
            let (mut frames, mut server, mechanism) = accept(far).await;
            let Mechanism::Tpm {
                id_scope,
                registration_id,
                endorsement_key,
                storage_root_key,
            } = mechanism
            else {
                panic!("{mechanism:?}");
            };
            assert_eq!(
                (id_scope.as_str(), registration_id.as_str()),
                ("0ne1", "device-1")
            );
            assert_eq!(endorsement_key, vec![1; key_size]);
            assert_eq!(storage_root_key, vec![0; key_size]);
            let token = server.challenge(&mut frames, &sent).await.unwrap();
            assert_eq!(token.as_str(), "SharedAccessSignature sr=y");
            server.finish(&mut frames, Outcome::Ok).await.unwrap();
            frames
        });
        let mut frames = Frames::new(near, 4096);

        let (tpm, challenge) = Tpm::begin(
            &mut frames,
            ("0ne1", "device-1"),
            &vec![1; key_size],
            &vec![0; key_size],
        )
        .await
        .unwrap();

        assert_eq!(challenge.as_slice(), blob);
        tpm.finish(&mut frames, "SharedAccessSignature sr=y")
            .await
            .unwrap();
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_token_ends_the_tpm_mechanism() {
    let (near, far) = duplex(4096);
    let server = tokio::spawn(async move {
        let (mut frames, mut server, _) = accept(far).await;
        server.challenge(&mut frames, &[7; 700]).await.unwrap();
        server
            .finish(&mut frames, Outcome::Unauthorized)
            .await
            .unwrap();
        frames
    });
    let mut frames = Frames::new(near, 4096);
    let (tpm, _) = Tpm::begin(&mut frames, ("s", "d"), &[1; 10], &[2; 10])
        .await
        .unwrap();

    let error = tpm.finish(&mut frames, "token").await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    server.await.unwrap();
}

/// The frames of a TPM registration as Java's SDK exchanges them: exactly three challenges, `00`, one with 0x80, one with 0xC1.
#[tokio::test]
async fn the_java_sdk_receives_exactly_three_challenges_within_512_bytes() {
    let (mut near, far) = duplex(8192);
    let server = tokio::spawn(async move {
        let (mut frames, mut server, _) = accept(far).await;
        let token = server.challenge(&mut frames, &[9; 801]).await.unwrap();
        server.finish(&mut frames, Outcome::Ok).await.unwrap();
        (token.to_string(), frames)
    });
    let init = list(
        0x41,
        &[
            &symbol("TPM"),
            &binary(&[b"\x000ne1\x00device-1\x00".as_slice(), &[5; 316]].concat()),
            &string("0ne1/registrations/device-1"),
        ],
    );
    near.write_all(&[SASL, &frame(1, 0, &init)].concat())
        .await
        .unwrap();

    let mut header = [0; 8];
    near.read_exact(&mut header).await.unwrap();
    assert_eq!(&header, SASL);
    let mechanisms = read_frame(&mut near).await;
    assert!(contains(&mechanisms, b"PLAIN") && contains(&mechanisms, b"TPM"));
    let mut controls = Vec::new();
    for response in [
        [b"\x00".as_slice(), &[6; 316]].concat(),
        vec![0],
        b"\x00SharedAccessSignature sr=z".to_vec(),
    ] {
        let challenge = read_frame(&mut near).await;
        assert!(challenge.len() <= 512, "{} bytes", challenge.len());
        // Header, descriptor, list8 or list32, then the binary.
        let data = challenge
            .iter()
            .rposition(|byte| *byte != 9 && *byte != 0x80 && *byte != 0xc1);
        controls.push(challenge[data.unwrap() + 1..].first().copied().unwrap_or(0));
        let body = list(0x43, &[&binary(&response)]);
        near.write_all(&frame(1, 0, &body)).await.unwrap();
    }
    let outcome = read_frame(&mut near).await;

    assert_eq!(controls, [0, 0x80, 0xc1]);
    assert!(outcome.ends_with(b"\x50\x00"), "{outcome:02x?}");
    assert_eq!(server.await.unwrap().0, "SharedAccessSignature sr=z");
}

#[tokio::test]
async fn a_mechanism_that_was_not_offered_is_refused() {
    let (mut near, far) = duplex(4096);
    let init = list(0x41, &[&symbol("SCRAM-SHA-256"), &binary(b"")]);
    near.write_all(&[SASL, &frame(1, 0, &init)].concat())
        .await
        .unwrap();
    let mut frames = Frames::new(far, 4096);
    frames.read_header().await.unwrap();

    let error = SaslServer::accept(&mut frames).await.unwrap_err();

    assert!(error.to_string().contains("SCRAM-SHA-256"), "{error}");
    drop(frames);
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"\x50\x01"), "outcome 1: {answer:02x?}");
}

async fn read_frame(stream: &mut DuplexStream) -> Vec<u8> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    let size = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(size, 0);
    stream.read_exact(&mut frame[4..]).await.unwrap();
    frame
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
