//! The first page: counts, clock, active faults, and the exchanges as they happen.

use dps_types::{Clock, Timestamp};
use serde_json::Value;

use super::super::Control;
use super::super::faults::show;
use super::super::reply::Failure;
use super::html::{Html, html};
use crate::journal::Exchange;
use crate::service_error::ServiceError;
use crate::state::store::Table;

/// The number of exchanges that the page begins with.
const EXCHANGES: usize = 100;

pub(super) async fn render(control: &Control) -> Result<Html, Failure> {
    let mut page = Html::new();
    counts(control, &mut page).await?;
    clock(control, &mut page);
    faults(control, &mut page);
    exchanges(control, &mut page);
    reset(&mut page);
    Ok(page)
}

async fn counts(control: &Control, page: &mut Html) -> Result<(), Failure> {
    const COUNTED: [(Table, &str, &str); 4] = [
        (Table::Groups, "/page/groups", "enrollment groups"),
        (
            Table::Individuals,
            "/page/enrollments",
            "individual enrollments",
        ),
        (Table::Registrations, "/page/registrations", "registrations"),
        (Table::Hubs, "/page/hubs", "devices in hubs"),
    ];
    page.raw("<ul class=\"counts\">");
    let store = control.gateway.instance.state.store();
    for (table, href, name) in COUNTED {
        let count = store.count(table).await.map_err(ServiceError::from)?;
        html!(
            page,
            "<li><a href=\"",
            href,
            "\"><b>",
            count,
            "</b> ",
            name,
            "</a></li>"
        );
    }
    page.raw("</ul>");
    Ok(())
}

fn clock(control: &Control, page: &mut Html) {
    let now: Timestamp = control.clock.now().into();
    html!(
        page,
        "<section aria-labelledby=\"clock\"><h2 id=\"clock\">Clock</h2><p>It is <time>",
        now,
        "</time>. Tokens and certificates expire by this clock.</p><form data-api=\"POST /clock/advance\"><label>Advance by seconds <input name=\"seconds\" type=\"number\" value=\"3600\" required></label><button>Advance</button></form></section>"
    );
}

fn faults(control: &Control, page: &mut Html) {
    page.raw("<section aria-labelledby=\"faults\"><h2 id=\"faults\">Active faults</h2>");
    let faults = control.gateway.faults.list();
    if faults.is_empty() {
        page.raw("<p>There are no faults.</p>");
    } else {
        page.raw("<table><thead><tr><th>Id</th><th>Step</th><th>Effect</th><th>Device</th><th>Details</th><th></th></tr></thead><tbody>");
        for (id, fault) in faults {
            let shown = show(id, &fault);
            let text = |name: &str| {
                let text = shown.get(name).and_then(Value::as_str);
                text.unwrap_or("any").to_owned()
            };
            let mut details = shown.clone();
            if let Some(details) = details.as_object_mut() {
                details.retain(|name, _| {
                    !matches!(name.as_str(), "id" | "step" | "effect" | "device")
                });
            }
            html!(
                page,
                "<tr><td>",
                id,
                "</td><td>",
                text("step"),
                "</td><td>",
                text("effect"),
                "</td><td>",
                text("device"),
                "</td><td><code>",
                details,
                "</code></td><td><button data-api=\"DELETE /faults/",
                id,
                "\">Remove</button></td></tr>"
            );
        }
        page.raw("</tbody></table>");
    }
    page.raw("<form data-api=\"POST /faults\"><label>Step <select name=\"step\">");
    for step in [
        "register",
        "poll",
        "connect",
        "hubConnect",
        "twinGet",
        "twinReport",
        "telemetry",
        "issueCertificate",
    ] {
        html!(page, "<option>", step, "</option>");
    }
    page.raw("</select></label><label>Effect <select name=\"effect\">");
    for effect in [
        "throttle",
        "fail",
        "drop",
        "dropAfter",
        "delay",
        "malformed",
        "silence",
        "failed",
        "disabled",
        "tlsAlert",
        "answerTwice",
        "wrongRequestId",
        "refuse",
    ] {
        html!(page, "<option>", effect, "</option>");
    }
    page.raw("</select></label><label>Device <input name=\"device\" placeholder=\"dev-*\"></label><label>Times <input name=\"count\" type=\"number\" min=\"1\"></label><label>Probability <input name=\"probability\" type=\"number\" min=\"0\" max=\"1\" step=\"any\"></label><label>Retry-After in seconds <input name=\"retryAfter\" type=\"number\" min=\"0\"></label><label>Error code <input name=\"errorCode\" type=\"number\" min=\"0\"></label><label>Delay in milliseconds <input name=\"milliseconds\" type=\"number\" min=\"0\"></label><button>Add a fault</button></form></section>");
}

fn exchanges(control: &Control, page: &mut Html) {
    page.raw("<section aria-labelledby=\"exchanges\"><h2 id=\"exchanges\">Exchanges</h2><p>The newest first; new ones appear by themselves. <button id=\"pause\" type=\"button\" aria-pressed=\"false\">Pause</button></p><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"exchanges\"><table id=\"live\"><thead><tr><th>Time</th><th>Device</th><th>Request</th><th>Transport</th><th>Status</th><th>Outcome</th><th>Reason</th></tr></thead><tbody>");
    for exchange in control.journal.latest().iter().rev().take(EXCHANGES) {
        row(page, exchange);
    }
    page.raw("</tbody></table></div></section>");
}

/// A row, as the script makes them.
fn row(page: &mut Html, exchange: &Exchange) {
    let status = exchange.status.map(|it| it.to_string());
    html!(
        page,
        "<tr data-outcome=\"",
        exchange.outcome,
        "\"><td><time>",
        exchange.time,
        "</time></td><td>",
        exchange.device.as_deref().unwrap_or_default(),
        "</td><td>",
        exchange.request,
        "</td><td>",
        exchange.transport,
        "</td><td>",
        status.unwrap_or_default(),
        "</td><td>",
        exchange.outcome,
        "</td><td>",
        exchange.reason.as_deref().unwrap_or_default(),
        "</td></tr>"
    );
}

fn reset(page: &mut Html) {
    page.raw("<section aria-labelledby=\"reset\"><h2 id=\"reset\">Reset</h2><p>Removes everything; the enrollments of the configuration exist again afterwards.</p><button data-api=\"POST /reset\" data-confirm=\"Remove everything?\">Reset everything</button> <button data-api=\"POST /reset\" data-body='{\"kinds\":[\"registrations\",\"hubs\"]}' data-confirm=\"Remove all registrations and hub devices?\">Reset registrations and hubs</button></section>");
}
