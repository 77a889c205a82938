//! Queries: pages and their results as streams that can be resumed.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use dps_types::QuerySpecification;
use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::ServiceRoute;
use futures_util::Stream;
use serde::de::DeserializeOwned;

use crate::client::ServiceClient;
use crate::continuation::Continuation;
use crate::error::{Error, ErrorKind};
use crate::request::Request;

/// The results of a query, one by one: a [`Stream`] that fetches pages as they are needed.
///
/// Each page is an operation with its own timeout. The stream ends after an error; a new query that begins at
/// [`Pager::continuation`] continues from there. The order of the results is not defined. The results may or may not
/// include documents that are created or deleted meanwhile.
///
/// ```no_run
/// # async fn run(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_service::QuerySpecification;
///
/// let mut enrollments = dps.individual_enrollments().query(QuerySpecification::default()).with_page_size(100);
/// while let Some(enrollment) = enrollments.try_next().await? {
///     println!("{}", enrollment.registration_id);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "no request is sent before the first result is requested"]
pub struct Pager<T> {
    pages: Pages<T>,
    /// The remaining results of the current page.
    items: vec::IntoIter<T>,
    /// The start of the current page.
    page: Option<Continuation>,
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Pager<T> {
    /// A list of registration records, which has no query.
    pub(crate) fn new(client: ServiceClient, route: ServiceRoute) -> Self {
        let version = client.chosen_version();
        let version = version.unwrap_or(ServiceClient::DEFAULT_API_VERSION);
        Self::of(client, route, None, Some(version))
    }

    pub(crate) fn with_query(
        client: ServiceClient,
        route: ServiceRoute,
        query: QuerySpecification,
    ) -> Self {
        Self::of(client, route, Some(query), None)
    }

    fn of(
        client: ServiceClient,
        route: ServiceRoute,
        query: Option<QuerySpecification>,
        api_version: Option<ApiVersion>,
    ) -> Self {
        Self {
            pages: Pages {
                client,
                route,
                query,
                api_version,
                size: 0,
                next: None,
                pending: None,
                ended: false,
            },
            items: Vec::new().into_iter(),
            page: None,
        }
    }

    /// Sets the maximum number of results of a page. The service may return fewer. The default, 0, leaves the number to the
    /// service.
    pub fn with_page_size(mut self, items: u32) -> Self {
        self.pages.size = items;
        self
    }

    /// Begins at this page instead of the first one.
    pub fn starting_at(mut self, page: Continuation) -> Self {
        self.pages.next = Some(page);
        self
    }

    /// Returns the results as pages, from the next page on.
    pub fn pages(self) -> Pages<T> {
        self.pages
    }

    /// Returns the next result; `None` after the last one, and after an error.
    ///
    /// # Errors
    ///
    /// The kinds that concern connection, credentials and service; [`ErrorKind::Invalid`] when the service does not support
    /// the query; [`ErrorKind::NotFound`] when the registrations of a group are queried that does not exist.
    pub async fn try_next(&mut self) -> Result<Option<T>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Returns the page at which a new query has to begin to return all remaining results: the current page, some of whose
    /// results will be returned again, or the page after it. `None` means the first page.
    pub fn continuation(&self) -> Option<&Continuation> {
        match self.items.as_slice() {
            [] => self.pages.continuation(),
            _ => self.page.as_ref(),
        }
    }
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Stream for Pager<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            let page = self.pages.next.clone();
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                // An empty page may not be the last one.
                Some(Ok(found)) => {
                    self.items = found.items.into_iter();
                    self.page = page;
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<T> fmt::Debug for Pager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pager")
            .field("pages", &self.pages)
            .finish_non_exhaustive()
    }
}

/// One page of the results of a query. An empty page may not be the last one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// The start of the next page; `None` for the last page.
    pub continuation: Option<Continuation>,
}

/// A page and its api-version.
type PageFuture<T> = Pin<Box<dyn Future<Output = Result<(Page<T>, ApiVersion), Error>> + Send>>;

/// The results of a query, page by page: a [`Stream`]. Created by [`Pager::pages`], and ends like a [`Pager`].
#[must_use = "no request is sent before the first page is requested"]
pub struct Pages<T> {
    client: ServiceClient,
    route: ServiceRoute,
    query: Option<QuerySpecification>,
    /// The api-version of each page; `None` until the first page of enrollments was read.
    api_version: Option<ApiVersion>,
    size: u32,
    next: Option<Continuation>,
    pending: Option<PageFuture<T>>,
    ended: bool,
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    /// Returns the next page; `None` after the last one, and after an error.
    ///
    /// # Errors
    ///
    /// Those of [`Pager::try_next`].
    pub async fn try_next(&mut self) -> Result<Option<Page<T>>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Returns the place where the next page begins, or the page that failed; after the last page, where that page began.
    /// `None` means the first page.
    pub fn continuation(&self) -> Option<&Continuation> {
        self.next.as_ref()
    }

    fn fetch(&self) -> PageFuture<T> {
        let (client, route, size) = (self.client.clone(), self.route.clone(), self.size);
        let (next, query, version) = (self.next.clone(), self.query.clone(), self.api_version);
        Box::pin(async move {
            let request =
                Request::new(route).page(size, next.as_ref().map(Continuation::as_str))?;
            let request = match query {
                Some(query) => request.json(&query)?,
                None => request,
            };
            let deadline = client.deadline();
            let (answer, version) = match version {
                Some(version) => client.read_with(version, request, deadline).await?,
                None => client.read(request, deadline).await?,
            };
            let continuation = answer.continuation()?;
            if continuation.is_some() && continuation == next {
                let message = "the page continues with itself, so the query would never end";
                return Err(Error::new(ErrorKind::Protocol, message));
            }
            let items = answer.json()?;
            Ok((
                Page {
                    items,
                    continuation,
                },
                version,
            ))
        })
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for Pages<T> {
    type Item = Result<Page<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut pending = self.pending.take().unwrap_or_else(|| self.fetch());
        let Poll::Ready(result) = pending.as_mut().poll(context) else {
            self.pending = Some(pending);
            return Poll::Pending;
        };
        let result = result.map(|(page, version)| {
            self.api_version = Some(version);
            page
        });
        match &result {
            Ok(page) if page.continuation.is_some() => self.next.clone_from(&page.continuation),
            _ => self.ended = true,
        }
        Poll::Ready(Some(result))
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("route", &self.route)
            .field("query", &self.query)
            .field("size", &self.size)
            .field("next", &self.next)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
