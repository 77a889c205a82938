//! The enrollments and the enrollment groups, page by page, and the forms that create them.

use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use dps_types::protocol::encode;

use super::super::Control;
use super::super::reply::Failure;
use super::super::request::Ask;
use super::html::{Html, html};
use super::{PAGE, next_page};
use crate::state::{Document, Page, Terms};

pub(super) async fn individuals(control: &Control, ask: &Ask) -> Result<Html, Failure> {
    let mut page = Html::new();
    page.raw("<form data-api=\"PUT /enrollments/{registrationId}\" data-attestation><label>Registration id <input name=\"registrationId\" required autocomplete=\"off\"></label><label>Device id <input name=\"deviceId\" autocomplete=\"off\"></label><label>Primary key (base64; generated if empty) <input name=\"primaryKey\" autocomplete=\"off\"></label><button>Create an enrollment</button></form>");
    list::<IndividualEnrollment>(control, ask, &mut page, "/page/enrollments", |one| {
        one.registration_id.to_string()
    })
    .await?;
    Ok(page)
}

pub(super) async fn groups(control: &Control, ask: &Ask) -> Result<Html, Failure> {
    let mut page = Html::new();
    page.raw("<form data-api=\"PUT /enrollmentGroups/{enrollmentGroupId}\" data-attestation><label>Group id <input name=\"enrollmentGroupId\" required autocomplete=\"off\"></label><label>Primary key (base64; generated if empty) <input name=\"primaryKey\" autocomplete=\"off\"></label><button>Create a group</button></form>");
    page.raw("<form data-api=\"POST /deviceKey\" data-show=\"key\"><label>Group id <input name=\"enrollmentGroupId\" required autocomplete=\"off\"></label><label>Registration id <input name=\"registrationId\" required autocomplete=\"off\"></label><button>Derive a device key</button> <output></output></form>");
    list::<EnrollmentGroup>(control, ask, &mut page, "/page/groups", |group| {
        group.enrollment_group_id.to_string()
    })
    .await?;
    Ok(page)
}

async fn list<D: Document>(
    control: &Control,
    ask: &Ask,
    page: &mut Html,
    path: &'static str,
    id: impl Fn(&D) -> String,
) -> Result<(), Failure> {
    let after = ask.parameter("after")?;
    let state = &control.gateway.instance.state;
    let found: Page<D> = state.enrollment_page(after.as_deref(), PAGE).await?;
    if found.items.is_empty() {
        page.raw("<p>There are no enrollments here.</p>");
    } else {
        page.raw("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Enrollments\"><table><thead><tr><th>Id</th><th>Attestation</th><th>Status</th><th>Allocation</th><th>Hubs</th><th></th></tr></thead><tbody>");
        for document in &found.items {
            row(page, &id(document), document.terms(), D::IS_GROUP);
        }
        page.raw("</tbody></table></div>");
    }
    next_page(page, path, found.more_after.as_deref());
    Ok(())
}

fn row(page: &mut Html, id: &str, terms: Terms<'_>, is_group: bool) {
    let root = if is_group {
        "enrollmentGroups"
    } else {
        "enrollments"
    };
    let api = format!("/{root}/{}", encode(id));
    let is_disabled = terms.provisioning_status == Some(&ProvisioningStatus::Disabled);
    let (status, other, action) = match is_disabled {
        true => ("disabled", "enabled", "Enable"),
        false => ("enabled", "disabled", "Disable"),
    };
    let policy = terms.allocation_policy.map(ToString::to_string);
    let hubs: Vec<String> = terms
        .iot_hubs
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    html!(
        page,
        "<tr><td>",
        id,
        "</td><td>",
        terms.attestation.kind,
        "</td><td>",
        status,
        "</td><td>",
        policy.as_deref().unwrap_or("default"),
        "</td><td>",
        hubs.join(", "),
        "</td><td><button data-api=\"PUT ",
        api,
        "\" data-change=\"provisioningStatus\" data-value=\"",
        other,
        "\">",
        action,
        "</button> <button data-api=\"DELETE ",
        api,
        "\" data-confirm=\"Delete ",
        id,
        "?\">Delete</button></td></tr>"
    );
}
