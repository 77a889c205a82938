//! Tests of the emulator with Microsoft's own clients; they are in `tests/interop`.
