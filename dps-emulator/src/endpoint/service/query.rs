//! Queries: pages of enrollments, of enrollment groups, and of the registrations of a group.

use ::http::{HeaderName, StatusCode, header};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::{CONTINUATION, ITEM_TYPE, MAX_ITEM_COUNT};
use dps_types::{DeviceRegistrationState, EnrollmentGroupId, QuerySpecification};
use serde::Serialize;

use super::super::reply::Reply;
use super::Service;
use crate::query::{Continuation, Listing, check, item_count};
use crate::service_error::ServiceError;
use crate::state::{Document, Page, of_version, without_secrets};

impl Service<'_> {
    pub(super) async fn individuals(&self) -> Result<Reply, ServiceError> {
        self.enrollments::<IndividualEnrollment>(Listing::Individuals)
            .await
    }

    pub(super) async fn groups(&self) -> Result<Reply, ServiceError> {
        self.enrollments::<EnrollmentGroup>(Listing::Groups).await
    }

    /// Most SDKs send no body. If there is one, it must be a query.
    pub(super) async fn registrations(
        &self,
        group: &EnrollmentGroupId,
    ) -> Result<Reply, ServiceError> {
        if self.call.has_body() {
            self.check_query()?;
        }
        let request = self.page_request(Listing::Registrations(group))?;
        let page = self
            .state
            .registration_page(group, request.after(), request.count)
            .await?;
        Ok(request.reply(
            page.map(|record| -> DeviceRegistrationState {
                record.result(self.api_version).into()
            }),
        ))
    }

    async fn enrollments<D: Document>(&self, listing: Listing<'_>) -> Result<Reply, ServiceError> {
        self.check_query()?;
        let request = self.page_request(listing)?;
        let page: Page<D> = self
            .state
            .enrollment_page(request.after(), request.count)
            .await?;
        Ok(request
            .reply(page.map(|document| of_version(without_secrets(document), self.api_version))))
    }

    fn check_query(&self) -> Result<(), ServiceError> {
        check(&self.call.json::<QuerySpecification>()?.query)
    }

    fn page_request<'l>(&self, listing: Listing<'l>) -> Result<PageRequest<'l>, ServiceError> {
        let token = self.call.text(HeaderName::from_static(CONTINUATION))?;
        let token = token.filter(|token| !token.trim().is_empty());
        Ok(PageRequest {
            listing,
            continuation: token
                .map(|token| Continuation::parse(token, listing))
                .transpose()?,
            count: item_count(self.call.text(HeaderName::from_static(MAX_ITEM_COUNT))?)?,
        })
    }
}

/// The page that a request asks for.
struct PageRequest<'a> {
    listing: Listing<'a>,
    continuation: Option<Continuation>,
    count: usize,
}

impl PageRequest<'_> {
    /// The key of the last item of the page before.
    fn after(&self) -> Option<&str> {
        self.continuation.as_ref().map(Continuation::key)
    }

    fn reply<T: Serialize>(&self, page: Page<T>) -> Reply {
        let reply = Reply::json(StatusCode::OK, &page.items)
            .with(header::X_CONTENT_TYPE_OPTIONS.as_str(), "nosniff")
            .with(ITEM_TYPE, self.listing.item_type())
            .with(MAX_ITEM_COUNT, self.count.to_string());
        match page.more_after.map(Continuation::after) {
            Some(next) => reply.with(CONTINUATION, next.to_token(self.listing)),
            None => reply,
        }
    }
}
