//! TPMs: answers to challenges by another TPM, for another device, or with a key that is not valid any more. Over each transport
//! that has TPM attestation.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::AuthenticationKey;

use super::tpm_attempt::{Keys, TRANSPORTS, registers};
use crate::common::{Dps, FOREVER, KEY_1, KEY_2, Sas, key_group, percent, tpm_enrollment};

/// Makes a token from the public parts of a challenge.
type Guess<'a> = dyn Fn(&AuthenticationKey) -> String + 'a;

fn token(id: &str, key: &[u8]) -> String {
    Sas::device("0ne00000001", id).sign(&STANDARD.encode(key))
}

/// The key inside the challenge.
async fn opened(tpm: &SoftwareTpm, challenge: &AuthenticationKey) -> Vec<u8> {
    tpm.activate(challenge).await.expect("it is for this TPM");
    tpm.challenge_key().expect("it was opened")
}

async fn enroll(dps: &Dps, id: &str, tpm: &SoftwareTpm) {
    let path = format!("/enrollments/{id}");
    dps.create(&path, &tpm_enrollment(id, tpm)).await;
}

/// The attacker knows the public keys of the victim, and has a TPM with an enrollment of its own, `dev-2`.
#[tokio::test]
async fn no_answer_of_another_tpm_registers_a_device() {
    let dps = Dps::start().await;
    let [victim, thief] = [1, 2].map(SoftwareTpm::number);
    enroll(&dps, "dev-1", &victim).await;
    enroll(&dps, "dev-2", &thief).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let of_victim = Keys::of(&victim, &victim);
    let presented = [
        ("the keys of the victim", of_victim.clone()),
        (
            "the storage root key of the attacker",
            Keys::of(&victim, &thief),
        ),
        (
            "the endorsement key of the attacker",
            Keys::of(&thief, &victim),
        ),
        ("the keys of the attacker", Keys::of(&thief, &thief)),
        (
            "the keys in each other's place",
            Keys {
                endorsement: of_victim.storage.clone(),
                storage: of_victim.endorsement.clone(),
            },
        ),
        (
            "an endorsement key with another modulus",
            of_victim.changed(313, |byte| byte ^ 2),
        ),
        (
            "an endorsement key with another policy",
            of_victim.changed(15, |byte| byte ^ 1),
        ),
        (
            "an endorsement key with an exponent",
            of_victim.changed(55, |_| 3),
        ),
        (
            "no endorsement key",
            Keys {
                endorsement: String::new(),
                ..of_victim.clone()
            },
        ),
        (
            "no storage root key",
            Keys {
                storage: String::new(),
                ..of_victim.clone()
            },
        ),
    ];
    for transport in TRANSPORTS {
        for (name, keys) in &presented {
            // What can be made of the public parts.
            let guesses: [(&str, &Guess<'_>); 9] = [
                ("zeros", &|_| token("dev-1", &[0; 32])),
                ("the start of the challenge", &|it| {
                    token("dev-1", &it.to_bytes()[..32])
                }),
                ("the end of the challenge", &|it| {
                    let bytes = it.to_bytes();
                    token("dev-1", &bytes[bytes.len() - 32..])
                }),
                ("the secret of the challenge", &|it| {
                    token("dev-1", &it.credential_secret()[..32])
                }),
                ("the key of a group", &|_| {
                    let key = crate::common::derive(KEY_1, "dev-1");
                    Sas::device("0ne00000001", "dev-1").sign(&key)
                }),
                ("the challenge as the token", &|it| it.to_base64()),
                ("the challenge as the signature", &|it| {
                    let signature = STANDARD.encode(&it.to_bytes()[..32]);
                    let sr = percent("0ne00000001/registrations/dev-1");
                    let signature = percent(&signature);
                    format!(
                        "SharedAccessSignature sr={sr}&sig={signature}&se={FOREVER}&skn=registration"
                    )
                }),
                ("an operator's token", &|_| {
                    dps.service_sas().sign(&dps.service_key)
                }),
                ("a word", &|_| "token".to_owned()),
            ];
            // Keys that are not those of a TPM have no challenge.
            let guesses = match name.starts_with("the ") {
                true => &guesses[..],
                false => &guesses[..1],
            };
            for (guess, make) in guesses {
                let answer = async |challenge: &AuthenticationKey| make(challenge);
                let accepted = registers(&dps, transport, "dev-1", keys, answer).await;
                assert!(!accepted, "{name} with {guess} over {transport}");
            }
        }
        for (name, keys) in &presented[..4] {
            let opens = async |challenge: &AuthenticationKey| match thief.activate(challenge).await
            {
                Ok(()) => token("dev-1", &thief.challenge_key().expect("opened")),
                Err(_) => token("dev-1", &[0; 32]),
            };
            let accepted = registers(&dps, transport, "dev-1", keys, opens).await;
            assert!(
                !accepted,
                "{name}, opened by the attacker, over {transport}"
            );
        }
    }
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
    for transport in TRANSPORTS {
        let opens =
            async |challenge: &AuthenticationKey| token("dev-1", &opened(&victim, challenge).await);
        let accepted = registers(&dps, transport, "dev-1", &of_victim, opens).await;
        assert!(accepted, "{transport}");
    }
}

/// Keys of challenges that are for another device, that were replaced, or that an earlier registration used.
#[tokio::test]
async fn no_key_of_another_challenge_registers_a_device() {
    let dps = Dps::start().await;
    let [victim, thief] = [1, 2].map(SoftwareTpm::number);
    enroll(&dps, "dev-1", &victim).await;
    enroll(&dps, "dev-2", &thief).await;
    // One TPM in two enrollments.
    enroll(&dps, "dev-3", &victim).await;
    let of_victim = Keys::of(&victim, &victim);
    let of_thief = Keys::of(&thief, &thief);
    for transport in TRANSPORTS {
        let mine =
            async |challenge: &AuthenticationKey| token("dev-2", &opened(&thief, challenge).await);
        assert!(registers(&dps, transport, "dev-2", &of_thief, mine).await);
        let key_of_thief = thief.challenge_key().expect("opened");
        let third =
            async |challenge: &AuthenticationKey| token("dev-3", &opened(&victim, challenge).await);
        assert!(registers(&dps, transport, "dev-3", &of_victim, third).await);
        let key_of_third = victim.challenge_key().expect("opened");
        let first =
            async |challenge: &AuthenticationKey| token("dev-1", &opened(&victim, challenge).await);
        assert!(registers(&dps, transport, "dev-1", &of_victim, first).await);
        let old_key = victim.challenge_key().expect("opened");
        for (name, id, key) in [
            ("the attacker's own key", "dev-1", &key_of_thief),
            (
                "the key of the same TPM under another id",
                "dev-1",
                &key_of_third,
            ),
            ("a token for another device", "dev-3", &old_key),
        ] {
            let old = async |_: &AuthenticationKey| token(id, key);
            let accepted = registers(&dps, transport, "dev-1", &of_victim, old).await;
            assert!(!accepted, "{name} over {transport}");
        }
        // The device registers again. The key of its earlier registration is not valid any more.
        assert!(registers(&dps, transport, "dev-1", &of_victim, first).await);
        for (name, key) in [
            ("the key of an earlier registration", &old_key),
            ("the key of the same TPM under another id", &key_of_third),
        ] {
            let old = async |_: &AuthenticationKey| token("dev-1", key);
            let accepted = registers(&dps, transport, "dev-1", &of_victim, old).await;
            assert!(!accepted, "{name} after a new one, over {transport}");
        }
        // Nor without the keys in the body.
        let device = dps.device("dev-1").token(token("dev-1", &old_key));
        assert_eq!(device.register().await.status, 401, "{transport}");
    }
    // The enrollment is replaced by one of another TPM, and deleted.
    let replaced = tpm_enrollment("dev-1", &thief);
    assert_eq!(
        dps.put_if("/enrollments/dev-1", "*", &replaced)
            .await
            .status,
        200
    );
    for transport in TRANSPORTS {
        let first =
            async |challenge: &AuthenticationKey| token("dev-1", &opened(&victim, challenge).await);
        let accepted = registers(&dps, transport, "dev-1", &of_victim, first).await;
        assert!(!accepted, "a replaced enrollment over {transport}");
        let thief =
            async |challenge: &AuthenticationKey| token("dev-1", &opened(&thief, challenge).await);
        assert!(registers(&dps, transport, "dev-1", &of_thief, thief).await);
    }
}
