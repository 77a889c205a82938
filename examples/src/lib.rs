//! Nothing but the examples beside it: `cargo run --example quickstart`.
