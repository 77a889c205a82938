//! The trait that every allocation policy implements.

use std::sync::Arc;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, Rejection};

/// Chooses the hub for a device that registers.
///
/// DPS calls the webhook at every registration, also when the device is already assigned. It waits about 30 seconds for
/// the answer and does not retry. A policy may be called many times concurrently.
///
/// ```
/// use async_trait::async_trait;
/// use dps_allocation::{Allocation, AllocationPolicy, Rejection};
/// use dps_types::{AllocationRequest, HubHostname};
///
/// struct ById {
///     test_devices: HubHostname,
/// }
///
/// #[async_trait]
/// impl AllocationPolicy for ById {
///     async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
///         match request.registration_id().as_str().starts_with("test-") {
///             true => Ok(Allocation::to(self.test_devices.clone())),
///             false => Err(Rejection::new("not a test device")),
///         }
///     }
/// }
/// ```
///
/// See the page [Allocation policies](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/allocation-policies.md) of the book.
#[async_trait]
pub trait AllocationPolicy: Send + Sync {
    /// Chooses one of the request's `linked_hubs`.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] fails the registration: the device receives error code 400207 and the HTTP status, but not the
    /// message. Use [`Rejection::new`] when the policy has no hub for this device, and [`Rejection::unavailable`] when
    /// the policy cannot decide because something that it needs has failed: [`Fallback`](crate::policies::Fallback)
    /// calls the next policy only in the first case.
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection>;
}

macro_rules! forward {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<P: AllocationPolicy + ?Sized> AllocationPolicy for $Pointer {
            async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
                (**self).allocate(request).await
            }
        }
    )*};
}

forward!(Arc<P>, Box<P>, &P);
