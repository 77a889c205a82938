//! Queries: page after page, as streams that can be resumed.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};
use std::vec;

use dps_types::QuerySpecification;
use dps_types::protocol::service::ServiceRoute;
use futures_util::Stream;
use serde::de::DeserializeOwned;

use crate::client::ServiceClient;
use crate::error::{Error, ErrorKind};
use crate::request::Request;
use crate::retry::Repeat;

/// Where a page begins: a text of the service's own, good for the query that it came from.
///
/// Keep it as text to go on later, also in another process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Continuation(String);

impl Continuation {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Continuation {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is empty or does not fit into a header.
    fn from_str(text: &str) -> Result<Self, Error> {
        match !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::new(
                ErrorKind::Invalid,
                "the text is no continuation",
            )),
        }
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The results of a query, one by one: a [`Stream`], whose pages are fetched as they are needed.
///
/// Each page is an operation with a deadline of its own. The stream ends after an error; a new query that begins at
/// [`Pager::continuation`] goes on from there. Results come in no particular order, and what is created or deleted
/// meanwhile may or may not be among them.
///
/// ```no_run
/// # async fn run(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// let mut enrollments = dps.individual_enrollments().query().with_page_size(100);
/// while let Some(enrollment) = enrollments.try_next().await? {
///     println!("{}", enrollment.registration_id);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is asked for before the first result is"]
pub struct Pager<T> {
    pages: Pages<T>,
    /// What is left of the last page.
    items: vec::IntoIter<T>,
    /// Where that page begins.
    page: Option<Continuation>,
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Pager<T> {
    pub(crate) fn new(client: ServiceClient, route: ServiceRoute) -> Self {
        Self {
            pages: Pages {
                client,
                route,
                size: 0,
                next: None,
                asked: None,
                ended: false,
            },
            items: Vec::new().into_iter(),
            page: None,
        }
    }

    /// How many results a page may hold at most. The service may give fewer; 0 leaves the number to it, as is the default.
    pub fn with_page_size(mut self, items: u32) -> Self {
        self.pages.size = items;
        self
    }

    /// Begins at this page, instead of the first.
    pub fn starting_at(mut self, page: Continuation) -> Self {
        self.pages.next = Some(page);
        self
    }

    /// The results page by page, from the next page on.
    pub fn pages(self) -> Pages<T> {
        self.pages
    }

    /// The next result; `None` after the last, and after an error.
    ///
    /// # Errors
    ///
    /// The kinds that have to do with connection, credentials and service; [`ErrorKind::NotFound`] where the query is
    /// for the registrations of a group that does not exist.
    pub async fn try_next(&mut self) -> Result<Option<T>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Where a query has to begin that is to bring everything that this one did not: the page that is being handed out,
    /// some of whose results may come again, or the one after. `None` is the first page.
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
                // A page may be empty and not the last.
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

/// One page of the results of a query. It may be empty and not be the last.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when this is the last.
    pub continuation: Option<Continuation>,
}

type Asked<T> = Pin<Box<dyn Future<Output = Result<Page<T>, Error>> + Send>>;

/// The results of a query, page by page: a [`Stream`]. Made by [`Pager::pages`], and ends as a [`Pager`] does.
#[must_use = "nothing is asked for before the first page is"]
pub struct Pages<T> {
    client: ServiceClient,
    route: ServiceRoute,
    size: u32,
    next: Option<Continuation>,
    asked: Option<Asked<T>>,
    ended: bool,
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    /// The next page; `None` after the last, and after an error.
    ///
    /// # Errors
    ///
    /// Those of [`Pager::try_next`].
    pub async fn try_next(&mut self) -> Result<Option<Page<T>>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Where the page begins that comes next, or that failed; after the last page, where that one began. `None` is the
    /// first page.
    pub fn continuation(&self) -> Option<&Continuation> {
        self.next.as_ref()
    }

    fn ask(&self) -> Asked<T> {
        let (client, route, size) = (self.client.clone(), self.route.clone(), self.size);
        let next = self.next.clone();
        Box::pin(async move {
            let by_group = matches!(route, ServiceRoute::RegistrationQuery(_));
            let request =
                Request::new(route).page(size, next.as_ref().map(Continuation::as_str))?;
            // The group says it all: only enrollments are asked for with a query.
            let request = match by_group {
                true => request,
                false => request.json(&QuerySpecification::default())?,
            };
            let answer = client.send(request, Repeat::Freely, client.deadline());
            let answer = answer.await?;
            let continuation = answer.continuation()?;
            if continuation.is_some() && continuation == next {
                let what = "the page continues with itself: the query would never end";
                return Err(Error::new(ErrorKind::Protocol, what));
            }
            Ok(Page {
                items: answer.json()?,
                continuation,
            })
        })
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for Pages<T> {
    type Item = Result<Page<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut asked = self.asked.take().unwrap_or_else(|| self.ask());
        let Poll::Ready(result) = asked.as_mut().poll(context) else {
            self.asked = Some(asked);
            return Poll::Pending;
        };
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
            .field("size", &self.size)
            .field("next", &self.next)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
