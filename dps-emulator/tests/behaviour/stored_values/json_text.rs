//! JSON as text: deep, with any Unicode in strings and names, with numbers in any notation, and with names that occur twice.

use proptest::prelude::*;

/// Numbers that readers disagree about.
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "-0.0",
    "1E+2",
    "1e-7",
    "0.1",
    "9007199254740993",
    "18446744073709551615",
    "123456789012345678901234567890",
    "1e308",
    "-5e-324",
    "1e309",
];
/// Strings, as JSON.
const STRINGS: [&str; 14] = [
    r#""""#,
    r#"" ""#,
    r#""\u0000""#,
    r#""\u007f\u0085""#,
    r#""\ufeff""#,
    r#""\u2028\u2029""#,
    r#""e\u0301""#,
    r#""\ud835\udd4f""#,
    r#""\ud835""#,
    r#""a/b""#,
    r#""%2F%00""#,
    r#""\"\\\/\b\f\n\r\t""#,
    r#""$version""#,
    r#""a.b""#,
];

/// A string as JSON.
pub(super) fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(&STRINGS[..]).prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("JSON")),
        "[a-z]{1,8}".prop_map(|text| format!("\"{text}\"")),
    ]
}

/// A value as JSON.
pub(super) fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(&NUMBERS[..]).prop_map(str::to_owned),
        proptest::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned),
        string(),
        nested(),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|it| format!("[{}]", it.join(","))),
            object(inner),
        ]
    })
}

/// An object as JSON, with names of any kind.
pub(super) fn any_object() -> impl Strategy<Value = String> {
    object(value())
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (string(), inner).prop_map(|(name, value)| format!("{name}:{value}"));
    prop::collection::vec(member, 0..4).prop_map(|it| format!("{{{}}}", it.join(",")))
}

/// Arrays or objects around the limits of depth.
fn nested() -> impl Strategy<Value = String> {
    let levels = proptest::sample::select(
        &[9_usize, 10, 11, 60, 61, 62, 63, 64, 65, 125, 126, 127, 200][..],
    );
    (levels, any::<bool>()).prop_map(|(levels, arrays)| {
        let (open, close) = if arrays { ("[", "]") } else { ("{\"a\":", "}") };
        format!("{}1{}", open.repeat(levels), close.repeat(levels))
    })
}
