//! Simulated fleets: plans in virtual time, and devices that register with the emulator.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Ran, World, dps};
use serde_json::{Value, json};

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_reports_when_every_device_is_connected_and_what_it_costs() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (html, text, document) = (file("plan.html"), file("plan.txt"), file("plan.json"));
    let arguments = [
        "simulate",
        "--plan",
        "--devices",
        "10000",
        "--compare",
        "-o",
        "json",
        "--report",
        &html,
        "--report",
        &text,
        "--report",
        &document,
    ];
    let ran = Ran::of(dps(&arguments)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let seconds = plan["seconds"].as_f64().unwrap();
    // 1,000 registrations a minute: the tenth minute begins after 540 seconds.
    assert!((540.0..660.0).contains(&seconds), "{seconds}");
    assert_eq!(
        plan["registrationRequests"].as_u64().unwrap() - plan["refusedRequests"].as_u64().unwrap(),
        10_000
    );
    let refused = |index: usize| plan["backoffs"][index]["refused"].as_u64().unwrap();
    assert!(
        refused(2) > 3 * refused(0),
        "five seconds without Retry-After cost more: {}",
        plan["backoffs"]
    );
    assert!(std::fs::read_to_string(html).unwrap().contains("<polyline"));
    assert!(
        std::fs::read_to_string(text)
            .unwrap()
            .contains("100 % connected after")
    );
    assert_eq!(
        serde_json::from_str::<Value>(&std::fs::read_to_string(document).unwrap()).unwrap(),
        plan
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_and_hubs_for_a_given_time_are_found() {
    let arguments = [
        "simulate",
        "--plan",
        "--devices",
        "60000",
        "--within",
        "30m",
        "--tier",
        "s3",
        "-o",
        "json",
    ];
    let ran = Ran::of(dps(&arguments)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(plan["seconds"].as_f64().unwrap() <= 1800.0, "{plan}");
    // 60 windows with one instance, 30 with two; the last devices are connected some seconds later.
    assert!(
        [2, 3].contains(&plan["instances"].as_u64().unwrap()),
        "{plan}"
    );
    assert_eq!(plan["hubs"], 1);
    let impossible = ["simulate", "--plan", "--devices", "1000", "--within", "1s"];
    assert_eq!(Ran::of(dps(&impossible)).await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_keys_and_certificates_registers_over_every_transport() {
    let world = World::start().await;
    world.file("group.key", GROUP_KEY);
    let (primary, secondary) = (world.path("group.key"), world.path("group.key"));
    for arguments in [
        &["certificate", "create-ca", "Contoso Root"][..],
        &[
            "enrollment-group",
            "create",
            "x509",
            "--certificate",
            "ca.pem",
        ],
        &[
            "enrollment-group",
            "create",
            "keys",
            "--primary-key-file",
            &primary,
            "--secondary-key-file",
            &secondary,
        ],
    ] {
        let ran = world.run(arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let ran = world
        .json(&[
            "simulate",
            "--devices",
            "40",
            "--unlimited",
            "--group-key-file",
            "group.key",
            "--ca",
            "ca.pem",
            "--ca-key",
            "ca.key",
            "--transport",
            "http",
            "--transport",
            "mqtt",
            "--transport",
            "mqtt-ws",
            "--transport",
            "amqp",
            "--transport",
            "amqp-ws",
            "--report",
            "fleet.html",
        ])
        .await;
    assert_eq!(
        (&ran["assigned"], &ran["failed"]),
        (&json!(40), &json!(0)),
        "{ran}"
    );
    assert_eq!(
        ran["transports"],
        json!({"amqp": 8, "amqp-ws": 8, "http": 8, "mqtt": 8, "mqtt-ws": 8})
    );
    assert!(ran["latencySeconds"]["p50"].as_f64().unwrap() > 0.0);
    assert!(world.read("fleet.html").contains("<polyline"));
    let records = world
        .json(&["registration", "list", "--group", "x509"])
        .await;
    assert_eq!(records.as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_and_failures_are_counted() {
    let world = World::start().await;
    world.file("group.key", GROUP_KEY);
    // No enrollment group: every device is refused. 120 a minute are two a second.
    let began = std::time::Instant::now();
    let ran = world
        .run(&[
            "simulate",
            "--devices",
            "4",
            "--rate",
            "120",
            "--group-key-file",
            "group.key",
            "-o",
            "json",
        ])
        .await;
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(
        began.elapsed().as_secs_f64() >= 1.5,
        "four devices, half a second apart"
    );
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["failed"], 4, "{report}");
    assert!(
        report["failures"].to_string().contains("Unauthorized"),
        "{report}"
    );
}
