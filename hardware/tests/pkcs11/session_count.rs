//! Sessions are closed: the module counts those that it opens and closes.

use dps_device::SymmetricKeyAttestation;
use dps_device::pkcs11::{KeyKind, Token};
use dps_hardware::{Shim, SoftHsm};
use dps_types::enrollment::IndividualEnrollment;
use dps_types::sas::Sign;

use crate::sessions::lose_all;
use crate::setup::{Dps, TOKEN, TransportKind, object, pin, token, with};

/// The number of signatures and of registrations. `DPS_SESSION_COUNT` sets another one.
fn count() -> usize {
    std::env::var("DPS_SESSION_COUNT").map_or(20, |count| count.parse().unwrap())
}

fn open_sessions() -> usize {
    let closed = Shim::calls("C_CloseSession");
    Shim::calls("C_OpenSession").checked_sub(closed).unwrap()
}

#[test]
fn many_signatures_and_registrations_use_one_session() {
    with(
        || Shim::new(SoftHsm::new().with_token(TOKEN)),
        || async {
            let token = token().await;
            let (key, given) = token.generate_secret_key(&object("key")).await.unwrap();
            let uri = object("pair");
            let pair = token.generate_private_key(&uri, KeyKind::P256);
            let pair = pair.await.unwrap();
            let id: dps_types::RegistrationId = "toaster".parse().unwrap();
            let other = dps_types::SymmetricKey::generate();
            let dps = Dps::start().await;
            let enrolled = IndividualEnrollment::from_keys(id.clone(), &given, &other);
            dps.enroll(&enrolled).await;

            let (sessions, logins) = (open_sessions(), Shim::calls("C_Login"));
            assert_eq!(sessions, 1);
            for _ in 0..count() {
                key.sign(b"data").await.unwrap();
                pair.certificate_request(&id).await.unwrap();
                let device = SymmetricKeyAttestation::from_signer(id.clone(), key.clone());
                dps.register(device, TransportKind::Http).await;
            }
            assert_eq!(open_sessions(), sessions);
            assert_eq!(Shim::calls("C_Login"), logins);
            drop((token, key, pair));
            assert_eq!(open_sessions(), 0);
        },
    );
}

#[test]
fn generated_and_removed_keys_and_tokens_leave_no_session() {
    with(
        || Shim::new(SoftHsm::new().with_token(TOKEN)),
        || async {
            for _ in 0..count() {
                let token = token().await;
                let key = object("key");
                token
                    .generate_private_key(&key, KeyKind::P256)
                    .await
                    .unwrap();
                token.remove_private_key(&key).await.unwrap();
                // Errors leave no session behind either.
                token.private_key(&key).await.unwrap_err();
                let nowhere = crate::setup::uri("pkcs11:token=nowhere");
                Token::open_with_pin(&nowhere, pin()).await.unwrap_err();
                assert_eq!(open_sessions(), 1);
                drop(token);
                assert_eq!(open_sessions(), 0);
            }
            // Finalizing closes the session of the module, and a new one replaces it.
            let token = token().await;
            lose_all();
            token.private_key(&object("key")).await.unwrap_err();
        },
    );
}
