//! One conformance suite over every transport and every proof of `dps-device`, against `dps-emulator`: see `tests/suite`.
