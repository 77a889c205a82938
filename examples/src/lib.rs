//! The examples are the files in this folder: `cargo run --example quickstart`. The snippets of the documents are compiled here.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
mod book {
    macro_rules! chapters {
        ($($module:ident = $file:literal;)*) => {
            $(#[doc = include_str!(concat!("../../docs/book/src/", $file))] mod $module {})*
        };
    }
    chapters! {
        first_device = "first-device.md";
        allocation_policies = "allocation-policies.md";
        operating = "operating.md";
        ci = "ci.md";
        troubleshooting = "troubleshooting.md";
    }
}
