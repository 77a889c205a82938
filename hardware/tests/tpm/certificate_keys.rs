//! Key pairs of issued certificates in the TPM.

use dps_device::certificate::{KeyKind, TpmKeySource};
use dps_device::tpm::PersistentHandle;
use dps_hardware::Swtpm;

use crate::key_source::keeps_the_key_in_use;
use crate::{open, raw};

#[tokio::test]
async fn the_keys_of_certificates_have_two_handles() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let handles = [0x8100_0201, 0x8100_0202].map(|handle| PersistentHandle::new(handle).unwrap());
    for kind in [KeyKind::P256, KeyKind::P384] {
        let keys = TpmKeySource::new(tpm.clone(), handles, kind).unwrap();
        keeps_the_key_in_use(&keys.with_auth("secret")).await;
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
