//! Errors of the place of a certificate: their cause, and whether another attempt may succeed.

use std::io;

use dps_device::Error;

use super::hardware_keys::has_no_answer;

/// The error of a key in an error of the store.
pub(super) fn key_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// True if the same attempt may succeed some seconds later: the disk is full or busy, or the hardware does not answer.
pub(super) fn may_be_brief(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, QuotaExceeded, ResourceBusy, StaleNetworkFileHandle, StorageFull, TimedOut,
        WouldBlock,
    };
    match key_error(error) {
        Some(error) => has_no_answer(error),
        None => matches!(
            error.kind(),
            Interrupted
                | QuotaExceeded
                | ResourceBusy
                | StaleNetworkFileHandle
                | StorageFull
                | TimedOut
                | WouldBlock
        ),
    }
}
