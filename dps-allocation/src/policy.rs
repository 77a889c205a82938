//! The choice of a hub: the one trait that every policy implements.

use std::sync::Arc;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, Rejection};

/// Chooses the hub for a device that registers.
///
/// DPS asks at every registration, also when the device is assigned already; it waits for about 30 seconds and does not
/// ask twice. A policy may be asked many times at once.
#[async_trait]
pub trait AllocationPolicy: Send + Sync {
    /// Names one of the request's `linked_hubs`, or says why there is none for this device.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] fails the registration: the device sees error code 400207 and the status, not the message.
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection>;
}

macro_rules! pass_on {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<P: AllocationPolicy + ?Sized> AllocationPolicy for $Pointer {
            async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
                (**self).allocate(request).await
            }
        }
    )*};
}

pass_on!(Arc<P>, Box<P>, &P);
