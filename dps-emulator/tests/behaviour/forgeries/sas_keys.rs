//! Tokens that a key signed which an enrollment does not have any more, or never had for this device.

use serde_json::{Value, json};

use super::{Credentials, TRANSPORTS};
use crate::common::{
    Dps, KEY_1, KEY_2, KEY_3, certificate_enrollment, derive, key_enrollment, key_group, token,
    with,
};

const GROUP_1: &str = "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXktMzE=";
const GROUP_2: &str = "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXktMzI=";
const GROUP_3: &str = "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXktMzM=";

struct Table {
    dps: Dps,
}

impl Table {
    async fn put(&self, path: &str, document: Value) {
        let answer = match self.dps.get(path).await.status {
            404 => self.dps.put(path, &document).await,
            _ => self.dps.put_if(path, "*", &document).await,
        };
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn remove(&self, path: &str) {
        assert_eq!(self.dps.delete(path).await.status, 204, "{path}");
    }

    /// Asserts that these keys do not sign for `dev-1`.
    async fn refuses(&self, why: &str, keys: &[&str]) {
        for key in keys {
            for transport in TRANSPORTS {
                let token = token("dev-1", key);
                let accepted = Credentials::Token(&token)
                    .register(&self.dps, transport)
                    .await;
                assert!(!accepted, "{why}: {key} over {transport}");
            }
        }
    }

    async fn accepts(&self, keys: &[&str]) {
        for key in keys {
            for transport in TRANSPORTS {
                let token = token("dev-1", key);
                let accepted = Credentials::Token(&token)
                    .register(&self.dps, transport)
                    .await;
                assert!(accepted, "{key} over {transport}");
            }
        }
    }
}

#[tokio::test]
async fn no_former_key_of_an_individual_enrollment_signs() {
    let table = Table {
        dps: Dps::start().await,
    };
    const PATH: &str = "/enrollments/dev-1";
    let disabled = json!({ "provisioningStatus": "disabled" });
    table.refuses("no enrollment", &[KEY_1, KEY_2]).await;
    table
        .put("/enrollments/dev-2", key_enrollment("dev-2", KEY_1, KEY_2))
        .await;
    table
        .refuses("the enrollment of another device", &[KEY_1, KEY_2])
        .await;
    table.put(PATH, key_enrollment("dev-1", KEY_1, KEY_2)).await;
    table.accepts(&[KEY_1, KEY_2]).await;
    table.put(PATH, key_enrollment("dev-1", KEY_1, KEY_3)).await;
    table.refuses("a replaced secondary key", &[KEY_2]).await;
    table.put(PATH, key_enrollment("dev-1", KEY_2, KEY_3)).await;
    table.refuses("a replaced primary key", &[KEY_1]).await;
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), disabled);
    table.put(PATH, document).await;
    table
        .refuses("a disabled enrollment", &[KEY_1, KEY_2])
        .await;
    let certificate = dps_emulator::DeviceCredentials::self_signed("dev-1").expect("a certificate");
    table
        .put(
            PATH,
            certificate_enrollment("dev-1", certificate.certificate_pem()),
        )
        .await;
    table
        .refuses("an enrollment with a certificate", &[KEY_1, KEY_2])
        .await;
    table.remove(PATH).await;
    table.refuses("a deleted enrollment", &[KEY_1, KEY_2]).await;
    table.put(PATH, key_enrollment("dev-1", KEY_1, KEY_2)).await;
    table.accepts(&[KEY_1, KEY_2]).await;
}

#[tokio::test]
async fn no_former_or_wrongly_derived_key_of_a_group_signs() {
    let table = Table {
        dps: Dps::start().await,
    };
    const PATH: &str = "/enrollmentGroups/g";
    let [first, second, third] = [GROUP_1, GROUP_2, GROUP_3].map(|key| derive(key, "dev-1"));
    table.put(PATH, key_group("g", GROUP_1, GROUP_2)).await;
    let wrong = [
        "dev-2",
        "DEV-1",
        "Dev-1",
        "dev-10",
        "dev-",
        "dev-1 ",
        " dev-1",
        "dev-1\0",
        "dev-1\n",
        "dev%2D1",
        "dev-1%20",
        "%64ev-1",
        "d\u{435}v-1",
        "",
        "0ne00000001/registrations/dev-1",
        "0ne00000001%2Fregistrations%2Fdev-1",
        "g",
        "dev-1/g",
    ];
    for id in wrong {
        let keys = [derive(GROUP_1, id), derive(GROUP_2, id)];
        table
            .refuses(&format!("derived from {id:?}"), &[&keys[0], &keys[1]])
            .await;
    }
    table
        .refuses(
            "not derived, derived twice, or from another key",
            &[
                GROUP_1,
                GROUP_2,
                &derive(&first, "dev-1"),
                &third,
                &derive(KEY_1, "dev-1"),
            ],
        )
        .await;
    table.accepts(&[&first, &second]).await;
    table.put(PATH, key_group("g", GROUP_1, GROUP_3)).await;
    table.refuses("a replaced secondary key", &[&second]).await;
    table.put(PATH, key_group("g", GROUP_2, GROUP_3)).await;
    table.refuses("a replaced primary key", &[&first]).await;
    let disabled = json!({ "provisioningStatus": "disabled" });
    table
        .put(PATH, with(key_group("g", GROUP_1, GROUP_2), disabled))
        .await;
    table.refuses("a disabled group", &[&first, &second]).await;
    table.put(PATH, key_group("g", GROUP_1, GROUP_2)).await;
    table
        .put("/enrollments/dev-1", key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    table
        .refuses("an individual enrollment", &[&first, &second])
        .await;
    table.remove("/enrollments/dev-1").await;
    table.accepts(&[&first, &second]).await;
    table.remove(PATH).await;
    table.refuses("a deleted group", &[&first, &second]).await;
}
