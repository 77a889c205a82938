//! Access to the control endpoint: no web page of another origin, and on other addresses only with the token.

use dps_emulator::{ControlEndpoint, Emulator};
use serde_json::json;

use crate::common::{Answer, Control, Dps, Program, with_control};

#[tokio::test]
async fn a_web_page_of_another_origin_is_refused() {
    let dps = Dps::start_with(with_control).await;
    let control = Control::of(&dps);
    for (name, value, status) in [
        ("host", "evil.example", 421),
        ("origin", "http://evil.example", 403),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        for (method, path) in [("GET", "/state"), ("POST", "/reset"), ("GET", "/health")] {
            let request = control.request(method, path).header(name, value);
            let refused = Answer::to(request).await;
            assert_eq!(refused.status, status, "{name} {path}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    let preflight = control
        .request("OPTIONS", "/reset")
        .header("origin", "http://evil.example");
    assert_eq!(Answer::to(preflight).await.status, 403);
    let own = control
        .request("POST", "/reset")
        .header("origin", &control.url);
    assert_eq!(Answer::to(own).await.status, 204);
}

/// Two readers could use different ones.
#[tokio::test]
async fn a_header_that_occurs_twice_is_refused() {
    let endpoint = ControlEndpoint::default().token("s3cret-token");
    let dps = Dps::start_with(|builder| builder.control(endpoint)).await;
    let control = Control::of(&dps);
    let right = "Bearer s3cret-token";
    for (name, values) in [
        ("host", ["127.0.0.1", "evil.example"]),
        ("host", ["evil.example", "127.0.0.1"]),
        ("authorization", [right, "Bearer wrong"]),
        ("authorization", [right, right]),
    ] {
        for path in ["/state", "/health", "/?token=s3cret-token"] {
            let request = control.request("GET", path);
            let request = request.header(name, values[0]).header(name, values[1]);
            let refused = Answer::to(request).await;
            assert_eq!(refused.status, 400, "{name} {path}");
            assert_eq!(
                refused.json()["error"],
                format!("The request has more than one {name} header.")
            );
        }
    }
}

#[tokio::test]
async fn every_response_has_the_headers_that_protect_a_browser() {
    let dps = Dps::start_with(with_control).await;
    let control = Control::of(&dps);
    for path in [
        "/health",
        "/connection",
        "/nothing",
        "/enrollments/none",
        "/exchanges/stream",
    ] {
        let answer = control
            .request("GET", path)
            .send()
            .await
            .expect("an answer");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert!(
            header("content-security-policy").starts_with("default-src 'none';"),
            "{path}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
}

#[tokio::test]
async fn another_address_requires_a_token() {
    let any = "0.0.0.0".parse().expect("an address");
    let refused = Emulator::builder()
        .control(ControlEndpoint::default().bind(any))
        .start()
        .await;
    let error = refused.expect_err("no token").to_string();
    assert!(error.contains("requires a token"), "{error}");

    let endpoint = ControlEndpoint::default().bind(any).token("s3cret-token");
    assert!(!format!("{endpoint:?}").contains("s3cret"));
    let dps = Dps::start_with(|builder| builder.control(endpoint)).await;
    let url = dps.emulator.control_url().expect("a URL");
    let port = url.rsplit(':').next().expect("a port");
    let control = Control::at(&format!("http://127.0.0.1:{port}"), &dps);
    assert_eq!(control.get("/health").await.status, 200);
    assert_eq!(control.get("/ready").await.status, 200);
    assert_eq!(control.get("/connection").await.status, 401);
    let request = control
        .request("GET", "/connection")
        .bearer_auth("s3cret-token");
    assert_eq!(Answer::to(request).await.status, 200);
    let opened = control.get("/?token=s3cret-token").await;
    assert_eq!(opened.status, 303);
    let cookie = opened.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a value");
    let request = control
        .request("GET", "/connection")
        .header("cookie", cookie);
    assert_eq!(Answer::to(request).await.status, 200);
    for query in ["token=wrong", "token=s3cret-token&token=wrong"] {
        assert_eq!(control.get(&format!("/?{query}")).await.status, 401);
    }
}

#[tokio::test]
async fn the_program_checks_the_health_of_another() {
    let program = Program::start(&["--ephemeral", "--control-port", "0"]).await;
    let url = program.ready["control"].as_str().expect("text");
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let control = Control::at(url, &program.wire);
    assert_eq!(control.get("/ready").await.json(), json!({ "ready": true }));
    assert_eq!(Program::output(&["--health", url]).await, "");
    let (status, stderr) = Program::refuse(&["--health", &format!("{url}/nothing")]).await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("404"), "{stderr}");
    let (status, stderr) = Program::refuse(&["--health", "http://127.0.0.1:1"]).await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("cannot be reached"), "{stderr}");
}
