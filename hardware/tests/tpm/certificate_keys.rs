//! Key pairs of issued certificates in the TPM.

use dps_device::ErrorKind;
use dps_device::certificate::{KeyKind, KeySource, TpmKeySource};
use dps_device::tpm::PersistentHandle;
use dps_hardware::Swtpm;

use crate::key_source::keeps_the_key_in_use;
use crate::{chain, open, raw, secret};

#[tokio::test]
async fn the_keys_of_certificates_have_two_handles() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let handles = [0x8100_0201, 0x8100_0202].map(|handle| PersistentHandle::new(handle).unwrap());
    for kind in [KeyKind::P256, KeyKind::P384] {
        let keys = TpmKeySource::new(tpm.clone(), handles, kind).unwrap();
        keeps_the_key_in_use(&keys.with_auth(secret("secret"))).await;
    }
    assert_eq!(
        raw::persistent(&swtpm),
        [0x8100_0001, 0x8100_0201, 0x8100_0202]
    );
    assert!(raw::left_behind(&swtpm).is_empty());

    tpm.key_pair()
        .with_handle(handles[0])
        .remove()
        .await
        .unwrap();
    tpm.key_pair()
        .with_handle(handles[0])
        .remove()
        .await
        .unwrap();
    assert_eq!(raw::persistent(&swtpm), [0x8100_0001, 0x8100_0202]);
    let same = TpmKeySource::new(tpm, [handles[0]; 2], KeyKind::P256);
    assert!(
        same.unwrap_err()
            .to_string()
            .contains("two different handles")
    );
}

#[tokio::test]
async fn a_key_is_replaced_only_by_one_that_the_tpm_has_created() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let handle = PersistentHandle::KEY_PAIR;
    let keys = |kind| TpmKeySource::selected(tpm.clone(), [handle], kind);
    let (name, key) = keys(KeyKind::P256).generate(&[]).await.unwrap();
    // libtpms before 0.10 does not support this kind.
    match keys(KeyKind::Rsa4096).generate(&[]).await {
        Ok((_, new)) => assert_ne!(new.public_key(), key.public_key()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let kept = keys(KeyKind::P256).open(&name).await.unwrap();
            assert_eq!(kept.public_key(), key.public_key());
        }
    }
    let (_, new) = keys(KeyKind::P384).generate(&[]).await.unwrap();
    let found = keys(KeyKind::P256).open(&name).await.unwrap();
    assert_eq!(found.public_key(), new.public_key());
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn an_object_that_is_not_a_key_pair_is_neither_replaced_nor_removed() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let before = raw::persistent(&swtpm);
    let storage = PersistentHandle::STORAGE_ROOT_KEY;
    let keys = TpmKeySource::selected(tpm.clone(), [storage], KeyKind::P256);
    let removed = tpm.key_pair().with_handle(storage).remove().await;
    for error in [
        keys.generate(&[]).await.map(drop).unwrap_err(),
        removed.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        let text = crate::chain(&error);
        assert!(text.contains("not a key pair"), "{text}");
    }
    assert_eq!(raw::persistent(&swtpm), before);
}

/// swtpm is locked after three wrong values.
#[tokio::test]
async fn a_wrong_authorization_value_is_tried_once_for_each_key() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let handles = [0x8100_0111, 0x8100_0112].map(|it| PersistentHandle::new(it).unwrap());
    let keys = |value| {
        let keys = TpmKeySource::new(tpm.clone(), handles, KeyKind::P256).unwrap();
        keys.with_auth(secret(value))
    };
    let (name, _) = keys("right").generate(&[]).await.unwrap();
    let wrong = keys("wrong");
    for _ in 0..8 {
        let error = wrong.open(&name).await.unwrap_err();
        assert!(
            chain(&error).contains("TPM_RC_AUTH_FAIL"),
            "{}",
            chain(&error)
        );
    }
    assert!(
        wrong
            .clone()
            .with_auth(secret("right"))
            .open(&name)
            .await
            .is_ok()
    );
    // A new key at the handle has the value.
    wrong.generate(&[]).await.unwrap();
    assert!(wrong.open(&name).await.is_ok());
}
