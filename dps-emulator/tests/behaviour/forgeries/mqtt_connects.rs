//! MQTT: user names and client ids that disagree about the device, the instance or the api-version.

use crate::common::{
    ACCEPTED, Client, Connect, Dps, KEY_1, KEY_2, KEY_3, Sas, Transport, hub_token, key_enrollment,
    token,
};
use crate::instances::{create, enroll};

/// The client id and the user name of an attacker, who has a valid token of `dev-2`. `{other}` is the id scope of another
/// instance, which has a device `dev-1` with the key of the attacker.
const CONNECTS: [(&str, &str, &str); 39] = [
    (
        "another client id",
        "dev-1",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "another user name",
        "dev-2",
        "0ne00000001/registrations/dev-1/api-version=2019-03-31",
    ),
    (
        "both of the target",
        "dev-1",
        "0ne00000001/registrations/dev-1/api-version=2019-03-31",
    ),
    (
        "an empty client id",
        "",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "a space after the client id",
        "dev-2 ",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "a module in the client id",
        "dev-2/dev-1",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "an encoded client id",
        "dev%2D2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "an encoded target",
        "dev-1",
        "0ne00000001/registrations/%64ev-1/api-version=2019-03-31",
    ),
    (
        "a path up from the target",
        "dev-2",
        "0ne00000001/registrations/dev-1/../dev-2/api-version=2019-03-31",
    ),
    (
        "a path up from the attacker",
        "dev-1",
        "0ne00000001/registrations/dev-2/../dev-1/api-version=2019-03-31",
    ),
    (
        "an encoded path",
        "dev-2",
        "0ne00000001/registrations/dev-2%2F..%2Fdev-1/api-version=2019-03-31",
    ),
    (
        "the target after a zero byte",
        "dev-2",
        "0ne00000001/registrations/dev-2%00dev-1/api-version=2019-03-31",
    ),
    (
        "the target after a line feed",
        "dev-2",
        "0ne00000001/registrations/dev-2%0Adev-1/api-version=2019-03-31",
    ),
    (
        "the target as a parameter",
        "dev-1",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31&registrationId=dev-1",
    ),
    (
        "a slash first",
        "dev-2",
        "/0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "two slashes",
        "dev-2",
        "0ne00000001//registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "two slashes before the id",
        "dev-2",
        "0ne00000001/registrations//dev-2/api-version=2019-03-31",
    ),
    (
        "no id",
        "",
        "0ne00000001/registrations//api-version=2019-03-31",
    ),
    (
        "another collection",
        "dev-2",
        "0ne00000001/enrollments/dev-2/api-version=2019-03-31",
    ),
    (
        "no id scope",
        "dev-2",
        "/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "a wildcard as the id scope",
        "dev-2",
        "*/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "an unknown id scope",
        "dev-2",
        "0ne00000009/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "the id scope of another instance",
        "dev-2",
        "{other}/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "the target in another instance",
        "dev-1",
        "{other}/registrations/dev-1/api-version=2019-03-31",
    ),
    (
        "both id scopes",
        "dev-2",
        "0ne00000001,{other}/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "a URL",
        "dev-2",
        "https://localhost/0ne00000001/registrations/dev-2/api-version=2019-03-31",
    ),
    (
        "no api-version",
        "dev-2",
        "0ne00000001/registrations/dev-2/",
    ),
    ("no parameters", "dev-2", "0ne00000001/registrations/dev-2"),
    (
        "an empty api-version",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=",
    ),
    (
        "an unknown api-version",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2000-01-01-other",
    ),
    (
        "two api-versions",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31&api-version=2025-07-01-preview",
    ),
    (
        "one api-version twice",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31&api-version=2019-03-31",
    ),
    (
        "two api-versions in another case",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31&API-Version=2021-06-01",
    ),
    (
        "two api-versions, one encoded",
        "dev-2",
        "0ne00000001/registrations/dev-2/api%2Dversion=2019-03-31&api-version=2021-06-01",
    ),
    (
        "two client versions",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31&ClientVersion=a&ClientVersion=b",
    ),
    (
        "a path in the api-version",
        "dev-2",
        "0ne00000001/registrations/dev-2/api-version=2019-03-31/../dev-1",
    ),
    (
        "a device of the hub",
        "dev-2",
        "127.0.0.1/dev-2/?api-version=2021-04-12",
    ),
    (
        "the target at the hub",
        "dev-1",
        "127.0.0.1/dev-1/?api-version=2021-04-12",
    ),
    (
        "an id scope in the place of a hub",
        "dev-2",
        "0ne00000001/dev-2/?api-version=2021-04-12",
    ),
];

pub(super) async fn with_two_devices() -> Dps {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
    }
    dps
}

async fn connects<C: Transport>(mut client: Client<C>, connect: &Connect) -> bool {
    client.send(&connect.bytes()).await;
    client.transport_answer().await.as_deref() == Some(ACCEPTED)
}

#[tokio::test]
async fn no_ambiguous_connect_is_accepted() {
    let dps = with_two_devices().await;
    let (_, other) = create(&dps, "suite-1").await;
    enroll(&other, "dev-1", KEY_3).await;
    let scope = &other.scope;
    let tokens = [
        ("its token", token("dev-2", KEY_3)),
        ("a token of the target's name", token("dev-1", KEY_3)),
        (
            "a token of the other instance",
            Sas::device(scope, "dev-2").sign(KEY_3),
        ),
        (
            "a token of the hub",
            hub_token("127.0.0.1", "dev-2", KEY_3, 4_102_444_800),
        ),
    ];
    for (name, client_id, username) in CONNECTS {
        let username = username.replace("{other}", scope);
        for (which, token) in &tokens {
            let connect = Connect::of(client_id).username(&username).password(token);
            for accepted in [
                connects(dps.mqtt().await, &connect).await,
                connects(dps.websocket().await, &connect).await,
            ] {
                assert!(!accepted, "{name} with {which}: {client_id} {username}");
            }
        }
    }
    for id in ["dev-1", "dev-2"] {
        assert_eq!(dps.get(&format!("/registrations/{id}")).await.status, 404);
    }
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let connect = Connect::with_key(id, key);
        assert!(connects(dps.mqtt().await, &connect).await);
        assert!(connects(dps.websocket().await, &connect).await);
    }
}
