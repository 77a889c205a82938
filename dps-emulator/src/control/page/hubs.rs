//! The hubs with their devices, and one device with its twin, messages, methods and telemetry.

use dps_types::protocol::encode;
use serde_json::{Value, json};

use super::super::Control;
use super::super::hubs::handle;
use super::super::reply::Failure;
use super::super::request::Ask;
use super::html::{Html, html};
use super::{PAGE, next_page};

/// The number of telemetry messages on the page of a device.
const MESSAGES: usize = 20;

pub(super) fn list(control: &Control) -> Html {
    let mut page = Html::new();
    page.raw("<ul>");
    for hub in control.gateway.instance.allocator.hub_names() {
        html!(
            page,
            "<li><a href=\"/page/hubs/",
            encode(hub.as_str()),
            "\">",
            hub,
            "</a></li>"
        );
    }
    page.raw("</ul>");
    page
}

pub(super) async fn devices(control: &Control, ask: &Ask, hub: &str) -> Result<Html, Failure> {
    let hub = handle(control, hub)?;
    let name = encode(hub.hostname().as_str());
    let after = ask.parameter("after")?;
    let hubs = &control.gateway.instance.hubs;
    let (devices, has_more) = hubs.page(hub.hostname(), after.as_deref(), PAGE).await?;
    let mut page = Html::new();
    html!(page, "<h2>", hub.hostname(), "</h2>");
    if devices.is_empty() {
        page.raw("<p>There are no devices here.</p>");
    } else {
        page.raw("<table><thead><tr><th>Device</th><th>Status</th><th>Connection</th><th>Telemetry</th><th></th></tr></thead><tbody>");
        for device in &devices {
            let id = device.device_id().as_str();
            let (status, other, action) = match device.is_enabled() {
                true => ("enabled", "false", "Disable"),
                false => ("disabled", "true", "Enable"),
            };
            let connection = if hub.is_connected(id) {
                "connected"
            } else {
                "disconnected"
            };
            let api = format!("/hubs/{name}/devices/{}", encode(id));
            html!(
                page,
                "<tr><td><a href=\"/page/hubs/",
                name,
                "/",
                encode(id),
                "\">",
                id,
                "</a></td><td>",
                status,
                "</td><td>",
                connection,
                "</td><td>",
                hub.telemetry_count(id),
                "</td><td><button data-api=\"PATCH ",
                api,
                "\" data-body='{\"enabled\":",
                other,
                "}'>",
                action,
                "</button> <button data-api=\"DELETE ",
                api,
                "\" data-confirm=\"Delete ",
                id,
                "?\">Delete</button></td></tr>"
            );
        }
        page.raw("</tbody></table>");
    }
    let last = devices.last().filter(|_| has_more);
    let path = format!("/page/hubs/{name}");
    next_page(
        &mut page,
        &path,
        last.map(|device| device.device_id().as_str()),
    );
    Ok(page)
}

pub(super) async fn device(control: &Control, hub: &str, id: &str) -> Result<Html, Failure> {
    let hub = handle(control, hub)?;
    let twin = hub.twin(id).await?;
    let api = format!(
        "/hubs/{}/devices/{}",
        encode(hub.hostname().as_str()),
        encode(id)
    );
    let mut page = Html::new();
    html!(
        page,
        "<h2>",
        id,
        " at ",
        hub.hostname(),
        "</h2><p>",
        if hub.is_connected(id) {
            "Connected"
        } else {
            "Disconnected"
        },
        ". ",
        hub.telemetry_count(id),
        " telemetry messages. <button data-api=\"POST ",
        api,
        "/disconnect\">Disconnect</button></p>"
    );
    let patch = json!({ "tags": {}, "properties": { "desired": {} } });
    html!(
        page,
        "<form data-api=\"PATCH ",
        api,
        "/twin\" data-json=\"patch\"><label>Change of the twin; null removes a property <textarea name=\"patch\" rows=\"8\" spellcheck=\"false\">",
        pretty(&patch),
        "</textarea></label><button>Change the twin</button></form><h3>Twin</h3><pre tabindex=\"0\">",
        pretty(&twin),
        "</pre>"
    );
    send_forms(&mut page, &api, hub.queued_messages(id).await?);
    let messages = hub.telemetry(id);
    page.raw("<h3>Telemetry</h3>");
    if messages.is_empty() {
        page.raw("<p>There are no messages.</p>");
    }
    for message in messages.iter().rev().take(MESSAGES) {
        let shown = serde_json::to_value(message).unwrap_or_default();
        html!(page, "<pre tabindex=\"0\">", pretty(&shown), "</pre>");
    }
    Ok(page)
}

/// The forms for a cloud-to-device message and a direct method.
fn send_forms(page: &mut Html, api: &str, queued: usize) {
    let message = json!({ "body": "turn on", "properties": {} });
    html!(
        page,
        "<h3>Cloud-to-device messages</h3><p>Messages in the queue: ",
        queued,
        ".</p><form data-api=\"POST ",
        api,
        "/messages\" data-json=\"message\"><label>Message <textarea name=\"message\" rows=\"5\" spellcheck=\"false\">",
        pretty(&message),
        "</textarea></label><button>Send the message</button></form>"
    );
    let method = json!({ "methodName": "reboot", "payload": null });
    html!(
        page,
        "<h3>Direct methods</h3><form data-api=\"POST ",
        api,
        "/methods\" data-json=\"method\" data-show=\"status\"><label>Method <textarea name=\"method\" rows=\"5\" spellcheck=\"false\">",
        pretty(&method),
        "</textarea></label><button>Invoke the method</button> <output></output></form>"
    );
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
