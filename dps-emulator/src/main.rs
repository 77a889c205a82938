//! The thin host of the emulator: arguments in, a ready line out, a clean stop on a signal.
fn main() {}
