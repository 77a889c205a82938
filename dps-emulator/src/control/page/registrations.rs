//! The registration records with their reasons, page by page.

use dps_types::protocol::encode;

use super::super::Control;
use super::super::reply::Failure;
use super::super::request::Ask;
use super::html::{Html, html};
use super::{PAGE, next_page};
use crate::attest::{EnrollmentRef, Proof};
use crate::state::{Outcome, Record};

pub(super) async fn render(control: &Control, ask: &Ask) -> Result<Html, Failure> {
    let mut page = Html::new();
    let after = ask.parameter("after")?;
    let state = &control.gateway.instance.state;
    let found = state.all_registrations(after.as_deref(), PAGE).await?;
    if found.items.is_empty() {
        page.raw("<p>There are no registrations here.</p>");
    } else {
        page.raw("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Registrations\"><table><thead><tr><th>Registration</th><th>Status</th><th>Hub</th><th>Device</th><th>Enrollment</th><th>Proof</th><th>Why</th><th>Updated</th><th></th></tr></thead><tbody>");
        for record in &found.items {
            row(&mut page, record);
        }
        page.raw("</tbody></table></div>");
    }
    next_page(
        &mut page,
        "/page/registrations",
        found.more_after.as_deref(),
    );
    Ok(page)
}

fn row(page: &mut Html, record: &Record) {
    let id = &record.registration_id;
    let hub = record
        .hub
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let device = record
        .device_id
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let enrollment = match &record.enrollment {
        EnrollmentRef::Individual => "individual".to_owned(),
        EnrollmentRef::Group(group) => format!("group {group}"),
    };
    let proof = match &record.proof {
        Proof::SymmetricKey | Proof::LowerCaseKey => "symmetric key",
        Proof::X509 { .. } => "X.509",
        Proof::Tpm(_) => "TPM",
    };
    let why = match &record.outcome {
        Some(Outcome::Assigned { substatus, .. }) => substatus.to_string(),
        Some(Outcome::Failed(failure)) => format!("{}: {}", failure.code.get(), failure.message),
        Some(Outcome::Disabled) => "the enrollment is disabled".to_owned(),
        None => String::new(),
    };
    html!(
        page,
        "<tr data-outcome=\"",
        record.status(),
        "\"><td>",
        id,
        "</td><td>",
        record.status(),
        "</td><td>",
        hub,
        "</td><td>"
    );
    if hub.is_empty() {
        html!(page, device);
    } else {
        html!(
            page,
            "<a href=\"/page/hubs/",
            encode(&hub),
            "/",
            encode(&device),
            "\">",
            device,
            "</a>"
        );
    }
    html!(
        page,
        "</td><td>",
        enrollment,
        "</td><td>",
        proof,
        "</td><td>",
        why,
        "</td><td><time>",
        record.last_updated,
        "</time></td><td><button data-api=\"DELETE /registrations/",
        encode(id.as_str()),
        "\" data-confirm=\"Delete the registration of ",
        id,
        "?\">Delete</button></td></tr>"
    );
}
