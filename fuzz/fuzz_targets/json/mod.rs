//! JSON values made from the fuzzer's bytes: small, with the names, numbers and texts that readers disagree about.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use serde_json::{Map, Value};

/// Names that the documents of twins use, and some that are not valid.
const NAMES: [&str; 12] = [
    "a", "b", "c", "tags", "properties", "desired", "$version", "$metadata", "$lastUpdated", "", "a.b", "\u{e9}",
];
const NUMBERS: [f64; 6] = [-0.0, 0.5, 1e15, 1e16, 1.7976931348623157e308, 5e-324];
/// The deepest nesting.
const DEPTH: usize = 12;

/// A JSON value.
#[derive(Debug, Clone)]
pub struct Json(pub Value);

impl<'a> Arbitrary<'a> for Json {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        value(input, DEPTH).map(Self)
    }
}

fn value(input: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let most = if depth == 0 { 5 } else { 9 };
    Ok(match input.int_in_range(0..=most)? {
        0 => Value::Null,
        1 => bool::arbitrary(input)?.into(),
        2 => i64::arbitrary(input)?.into(),
        3 => u64::arbitrary(input)?.into(),
        4 => (*input.choose(&NUMBERS)?).into(),
        5 => <&str>::arbitrary(input)?.into(),
        6 => {
            let items = input.int_in_range(0..=3)?;
            (0..items).map(|_| value(input, depth - 1)).collect::<Result<Vec<_>>>()?.into()
        }
        _ => {
            let mut members = Map::new();
            for _ in 0..input.int_in_range(0..=4)? {
                let name = match u8::arbitrary(input)? {
                    0 => <&str>::arbitrary(input)?,
                    index => NAMES[usize::from(index) % NAMES.len()],
                };
                members.insert(name.to_owned(), value(input, depth - 1)?);
            }
            members.into()
        }
    })
}
