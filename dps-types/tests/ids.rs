//! Ids, keys, ETags and times: what is valid, what is not, and which values are equal.

use std::collections::HashSet;

use dps_types::{
    DeviceId, ETag, EnrollmentGroupId, HubHostname, IdScope, ModuleId, OperationId, RegistrationId,
    SymmetricKey, Timestamp,
};

/// Valid and invalid texts, and the longest one.
macro_rules! accepts {
    ($Id:ident, $longest:literal, $good:expr, $bad:expr) => {
        for good in $good {
            assert_eq!($Id::new(good).expect(good).to_string(), good);
        }
        for bad in $bad {
            assert!($Id::new(bad).is_err(), "{bad:?}");
        }
        assert!($Id::new("").is_err());
        assert!($Id::new("x".repeat($longest)).is_ok());
        let error = $Id::new("x".repeat($longest + 1)).expect_err("too long");
        assert_eq!(
            error.reason(),
            format!("it is longer than {} characters", $longest)
        );
    };
}

#[test]
fn each_id_accepts_its_own_characters() {
    accepts!(
        RegistrationId,
        128,
        ["a", "-", "A.b_c:d-", "9"],
        ["a.", ":", "a b", "a\n", "é"]
    );
    accepts!(
        EnrollmentGroupId,
        128,
        ["a", "A.b_c:d-"],
        ["a_", "a/b", "é"]
    );
    accepts!(
        IdScope,
        64,
        ["0ne00000A0A", "0ne_1-"],
        ["0ne.1", "0ne:1", "0ne/1", "0ne 1"]
    );
    accepts!(
        DeviceId,
        128,
        ["a", "-:.+%_#*?!(),=@;$'", "a."],
        ["a/b", "a b", "a&b", "a\"", "é"]
    );
    accepts!(
        ModuleId,
        128,
        ["$edgeAgent", "-:.+%_#*?!(),=@;$'"],
        ["a/b", "a b", "a&b", "é"]
    );
    accepts!(
        HubHostname,
        253,
        ["myIotHub", "h.azure-devices.net", "a_b"],
        ["a:1", "a/b", "é", "*"]
    );
    accepts!(
        OperationId,
        256,
        ["5.316a.b1-e0", "a_b:c~"],
        ["a/b", "a#", "a+", "a&b", "a b", "$"]
    );
    accepts!(
        ETag,
        256,
        ["IjY5=", "\"a-b\"", "W/\"1\"", "*"],
        ["a b", "a\n", "é", "\u{7f}"]
    );
}

#[test]
fn ids_at_dps_ignore_case_and_ids_in_a_hub_do_not() {
    macro_rules! same {
        ($($Id:ident)*) => { $(
            assert_eq!($Id::new("Ab-1"), $Id::new("aB-1"));
            assert_eq!($Id::new("Ab-1").unwrap().to_lowercase(), "ab-1");
            assert_eq!(HashSet::from([$Id::new("Ab-1").unwrap(), $Id::new("aB-1").unwrap()]).len(), 1);
        )* };
    }
    macro_rules! different {
        ($($Id:ident)*) => { $(assert_ne!($Id::new("Ab-1"), $Id::new("aB-1"));)* };
    }
    same!(RegistrationId EnrollmentGroupId IdScope HubHostname);
    different!(DeviceId ModuleId OperationId ETag);
}

#[test]
fn ids_sort_without_regard_to_case() {
    let mut ids = ["b", "C", "a-", "B-1", "A"].map(|id| RegistrationId::new(id).unwrap());
    ids.sort();
    assert_eq!(
        ids.each_ref().map(RegistrationId::as_str),
        ["A", "a-", "b", "B-1", "C"]
    );
}

#[test]
fn an_id_in_json_is_a_string_and_is_checked() {
    let id: RegistrationId = serde_json::from_str("\"Dev-1\"").unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"Dev-1\"");
    let error = serde_json::from_str::<RegistrationId>("\"a b\"").expect_err("a space");
    assert!(
        error
            .to_string()
            .starts_with("invalid registration id: the character ' ' at position 2 is not allowed")
    );
}

#[test]
fn white_space_in_a_key_is_ignored() {
    let key = SymmetricKey::from_base64(" AAECAwQFBg\r\ncICQoLDA0\tODw==\n").unwrap();
    assert_eq!(
        key,
        SymmetricKey::from_bytes(Vec::from_iter(0..16)).unwrap()
    );
    for (text, reason) in [
        ("", "0 bytes, and it must be 16 to 64"),
        ("AAEC", "3 bytes, and it must be 16 to 64"),
        ("AAECAwQFBgcICQoLDA0ODw", "it is not base64"),
        ("AAECAwQFBgcICQoLDA0OD-==", "it is not base64"),
        ("primaryKey", "it is not base64"),
    ] {
        let error = SymmetricKey::from_base64(text).expect_err(text);
        assert_eq!(error.reason(), reason, "{text}");
    }
}

#[test]
fn times_are_ordered_by_the_moment_and_not_by_the_text() {
    let times = [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.9999999Z",
        "1970-01-01T00:00:00Z",
        "2022-08-31T22:02:50Z",
        "2022-08-31T22:02:50.05Z",
        "2022-08-31T22:02:50.5Z",
        "2022-08-31T22:02:50.5163352Z",
    ]
    .map(|text| text.parse::<Timestamp>().expect(text));
    assert!(times.is_sorted_by(|one, next| one < next));
    assert_eq!(
        times.map(|time| time.unix_seconds())[1..4],
        [-1, 0, 1_661_983_370]
    );
}
