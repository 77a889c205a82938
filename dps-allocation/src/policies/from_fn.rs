//! Policies from closures.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, AllocationPolicy, Rejection};

/// Makes a policy from a closure that does not wait.
///
/// ```
/// use dps_allocation::{Allocation, Rejection, Webhook, from_fn};
///
/// let webhook = Webhook::new(from_fn(|request| match request.linked_hubs.first() {
///     Some(hub) => Ok(Allocation::to(hub.clone())),
///     None => Err(Rejection::new("no hub is linked")),
/// }));
/// ```
pub fn from_fn<F>(policy: F) -> PolicyFn<F>
where
    F: Fn(&AllocationRequest) -> Result<Allocation, Rejection> + Send + Sync,
{
    PolicyFn(policy)
}

/// Makes a policy from an async closure, such as one that queries a database. The closure owns its request, so that
/// its future can keep it.
///
/// ```
/// use dps_allocation::{Allocation, AllocationRequest, HubHostname, Rejection, from_async_fn};
///
/// async fn look_up(request: &AllocationRequest) -> Option<HubHostname> {
/// #   request.linked_hubs.first().cloned()
/// }
///
/// let policy = from_async_fn(|request| async move {
///     let hub = look_up(&request).await.ok_or(Rejection::new("this device is not known"))?;
///     Ok(Allocation::to(hub))
/// });
/// # fn is_policy(_: impl dps_allocation::AllocationPolicy) {}
/// # is_policy(policy);
/// ```
pub fn from_async_fn<F, Fut>(policy: F) -> AsyncPolicyFn<F>
where
    F: Fn(AllocationRequest) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Allocation, Rejection>> + Send,
{
    AsyncPolicyFn(policy)
}

/// A closure as a policy: see [`from_fn`].
#[derive(Clone, Copy)]
pub struct PolicyFn<F>(F);

#[async_trait]
impl<F> AllocationPolicy for PolicyFn<F>
where
    F: Fn(&AllocationRequest) -> Result<Allocation, Rejection> + Send + Sync,
{
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for PolicyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFn").finish_non_exhaustive()
    }
}

/// An async closure as a policy: see [`from_async_fn`].
#[derive(Clone, Copy)]
pub struct AsyncPolicyFn<F>(F);

#[async_trait]
impl<F, Fut> AllocationPolicy for AsyncPolicyFn<F>
where
    F: Fn(AllocationRequest) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Allocation, Rejection>> + Send,
{
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        (self.0)(request.clone()).await
    }
}

impl<F> fmt::Debug for AsyncPolicyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncPolicyFn").finish_non_exhaustive()
    }
}
