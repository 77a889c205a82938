//! Sends several statements in one round trip.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{MaybeDone, maybe_done};
use tokio_postgres::Error;

/// A statement that is sent when it is first polled. Its output is the number of rows.
pub(super) type Request<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send + 'a>>;

/// Sends all requests, in this order, before it waits for the first response. The connection queues them all at the first poll, so
/// a caller that is dropped has sent all or none. Returns the first error, because later ones only follow from it.
pub(super) async fn send(requests: Vec<Request<'_>>) -> Result<Vec<u64>, Error> {
    let mut requests: Vec<MaybeDone<Request<'_>>> = requests.into_iter().map(maybe_done).collect();
    poll_fn(|context| {
        for request in &mut requests {
            let _later = Pin::new(request).poll(context);
        }
        Poll::Ready(())
    })
    .await;
    let mut outcomes = Vec::with_capacity(requests.len());
    for mut request in requests {
        Pin::new(&mut request).await;
        outcomes.extend(Pin::new(&mut request).take_output());
    }
    outcomes.into_iter().collect()
}
