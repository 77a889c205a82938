//! The ready line over HTTP: as JSON, as lines for a shell, and as an environment file.

use std::fmt::Write;

use serde_json::Value;

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::Ask;

/// `GET /connection`, with `format` json (the default), shell or env.
pub(super) fn answer(control: &Control, ask: &Ask) -> Answer {
    let format = ask.parameter("format")?;
    match format.as_deref().unwrap_or("json") {
        "json" => reply::ok(&control.connection),
        "shell" => reply::text("text/plain; charset=utf-8", lines(control, "export ", '\'')),
        "env" => reply::text("text/plain; charset=utf-8", lines(control, "", '"')),
        other => Err(Failure::invalid(format!(
            "'{other}' is not a valid format: json, shell or env"
        ))),
    }
}

/// One line for each value that is a text. The values hold no quotes and no line ends: they are URLs and connection strings.
fn lines(control: &Control, before: &str, quote: char) -> String {
    const NAMES: [(&str, &str); 8] = [
        ("idScope", "DPS_ID_SCOPE"),
        ("https", "DPS_HTTPS_URL"),
        ("mqtt", "DPS_MQTT_HOST"),
        ("amqp", "DPS_AMQP_HOST"),
        ("insecureHttp", "DPS_INSECURE_HTTP_URL"),
        ("control", "DPS_CONTROL_URL"),
        ("serviceConnectionString", "DPS_CONNECTION_STRING"),
        ("certificateAuthority", "DPS_CERTIFICATE_AUTHORITY"),
    ];
    let mut text = String::new();
    for (field, name) in NAMES {
        if let Some(Value::String(value)) = control.connection.get(field)
            && !value.contains(['\'', '"', '\n', '$', '`', '\\'])
        {
            let _ = writeln!(text, "{before}{name}={quote}{value}{quote}");
        }
    }
    // As `dps emulator exec` sets them.
    let named = [
        ("https", "DPS_HTTPS_PORT"),
        ("mqtt", "DPS_MQTT_PORT"),
        ("amqp", "DPS_AMQP_PORT"),
    ];
    for (field, name) in named {
        let address = control.connection.get(field).and_then(Value::as_str);
        let address = address.map(|address| address.trim_start_matches("https://"));
        if let Some((host, port)) = address.and_then(|address| address.rsplit_once(':')) {
            if field == "https" {
                let _ = writeln!(text, "{before}DPS_HOST={quote}{host}{quote}");
            }
            let _ = writeln!(text, "{before}{name}={quote}{port}{quote}");
        }
    }
    text
}
