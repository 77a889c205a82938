//! The image as Testcontainers starts it, compared with the container file.

use dps_testcontainers::DpsEmulatorImage;
use testcontainers::core::{ContainerPort, ContainerRequest};
use testcontainers::{Image, ImageExt};

const CONTAINERFILE: &str = include_str!("../../packaging/Containerfile");

fn environment(request: &ContainerRequest<DpsEmulatorImage>) -> Vec<(String, String)> {
    let variables = request.env_vars();
    variables
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn value<'e>(environment: &'e [(String, String)], name: &str) -> Option<&'e str> {
    let mut found = environment.iter().filter(|(other, _)| other == name);
    found.next().map(|(_, value)| value.as_str())
}

#[test]
fn the_ports_are_those_of_the_container_file() {
    let image = DpsEmulatorImage::default();
    let expose = CONTAINERFILE
        .lines()
        .find_map(|line| line.strip_prefix("EXPOSE "))
        .expect("EXPOSE");
    let expected: Vec<ContainerPort> = expose
        .split(' ')
        .map(|port| ContainerPort::Tcp(port.parse().expect("a port")))
        .collect();
    assert_eq!(image.expose_ports(), expected);
}

#[test]
fn the_image_has_a_name_and_a_tag() {
    let image = DpsEmulatorImage::default();
    assert_eq!((image.name(), image.tag()), ("dps-emulator", "latest"));
    let image = image
        .with_image_name("ghcr.io/contoso/dps-emulator")
        .with_image_tag("0.1.0");
    let request = ContainerRequest::from(image);
    assert_eq!(request.descriptor(), "ghcr.io/contoso/dps-emulator:0.1.0");
    assert_eq!(request.cmd().count(), 0);
    assert_eq!(request.entrypoint(), None);
}

#[test]
fn it_is_ready_when_it_has_printed_its_line() {
    let conditions = DpsEmulatorImage::default().ready_conditions();
    let [condition] = conditions.as_slice() else {
        panic!("one condition: {conditions:?}");
    };
    let shown = format!("{condition:?}");
    assert!(shown.contains("StdOut"), "{shown}");
    assert!(shown.contains(r#"{\"ready\":true,"#), "{shown}");
}

#[test]
fn the_control_endpoint_has_a_random_token() {
    let image = DpsEmulatorImage::default();
    let shown = format!("{image:?}");
    let one = environment(&image.into());
    let other = environment(&DpsEmulatorImage::default().into());
    assert_eq!(value(&one, "DPS_EMULATOR_CONTROL_BIND"), Some("0.0.0.0"));
    let token = value(&one, "DPS_EMULATOR_CONTROL_TOKEN").expect("a token");
    assert_eq!(token.len(), 32);
    assert_ne!(Some(token), value(&other, "DPS_EMULATOR_CONTROL_TOKEN"));
    assert!(!shown.contains(token), "{shown}");
    assert_eq!(value(&one, "DPS_EMULATOR_HOST"), None);
}

#[test]
fn options_are_environment_variables() {
    let image = DpsEmulatorImage::default().with_host_name("build-host");
    let environment = environment(&image.with_env_var("DPS_EMULATOR_RETRY_AFTER", "0"));
    assert_eq!(value(&environment, "DPS_EMULATOR_HOST"), Some("build-host"));
    assert_eq!(value(&environment, "DPS_EMULATOR_RETRY_AFTER"), Some("0"));
}
