//! Tests of the URL of a database.

use proptest::prelude::*;
use tokio_postgres::config::Host;

use super::*;

fn parse(text: &str) -> PostgresUrl {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    match text.parse::<PostgresUrl>() {
        Ok(url) => panic!("{text}: {url}"),
        Err(error) => error.reason,
    }
}

#[test]
fn a_url_has_defaults() {
    let url = parse("postgres://dps@db.example.com/emulator");
    assert_eq!(url.config.get_user(), Some("dps"));
    assert_eq!(url.config.get_password(), None);
    assert_eq!(url.config.get_dbname(), Some("emulator"));
    assert_eq!(
        url.config.get_hosts(),
        [Host::Tcp("db.example.com".to_owned())]
    );
    assert_eq!(url.config.get_ports(), [5432]);
    assert_eq!(url.config.get_ssl_mode(), SslMode::Prefer);
    assert_eq!(url.config.get_application_name(), Some("dps-emulator"));
    assert!(url.verification == Verification::None);
    assert_eq!(url.schema.quoted(), "\"public\"");
    assert_eq!(url.max_connections, 16);
    assert_eq!(url.timeout, Duration::from_secs(10));
    assert_eq!(url.connect_timeout, Duration::from_secs(5));
}

#[test]
fn a_url_has_parameters() {
    let url = parse(
        "postgresql://a%40b:p%3Fss%2F%23@[::1]:15432/my%20db?sslmode=verify-full&sslrootcert=/etc/ca%20certs.pem\
         &schema=plant_1&max_connections=3&timeout=20&connect_timeout=2&application_name=x",
    );
    assert_eq!(url.config.get_user(), Some("a@b"));
    assert_eq!(url.config.get_password(), Some(&b"p?ss/#"[..]));
    assert_eq!(url.config.get_dbname(), Some("my db"));
    assert_eq!(url.config.get_hosts(), [Host::Tcp("::1".to_owned())]);
    assert_eq!(url.config.get_ports(), [15432]);
    assert_eq!(url.config.get_ssl_mode(), SslMode::Require);
    assert!(url.verification == Verification::Full(Some("/etc/ca certs.pem".into())));
    assert_eq!(url.schema.to_string(), "plant_1");
    assert_eq!(url.max_connections, 3);
    assert_eq!(url.timeout, Duration::from_secs(20));
    assert_eq!(url.connect_timeout, Duration::from_secs(2));
    assert_eq!(url.config.get_application_name(), Some("x"));
}

#[test]
fn the_host_may_be_the_folder_of_a_unix_socket() {
    for text in [
        "postgres://dps@/db?host=/var/run/postgresql",
        "postgres://dps@%2Fvar%2Frun%2Fpostgresql/db",
    ] {
        assert_eq!(
            parse(text).config.get_hosts(),
            [Host::Unix("/var/run/postgresql".into())]
        );
    }
}

#[test]
fn each_mode_of_tls_is_read() {
    for (mode, expected) in [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
    ] {
        let url = parse(&format!("postgres://u@h/d?sslmode={mode}"));
        assert_eq!(url.config.get_ssl_mode(), expected);
        assert!(url.verification == Verification::None);
    }
    let url = parse("postgres://u@h/d?sslmode=verify-full");
    assert!(url.verification == Verification::Full(None));
}

#[test]
fn a_url_that_is_not_valid_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "it is not a valid URL"),
        ("host=localhost user=dps", "it is not a valid URL"),
        ("postgres://u:secret@h:x/d", "it is not a valid URL"),
        ("postgres://u:secret@h:65536/d", "it is not a valid URL"),
        ("mysql://u:secret@h/d", "it must start with postgres://"),
        ("postgres://u:sec#ret@h/d", "it is not a valid URL"),
        (
            "postgres://u@h/d#secret",
            "it must not have a fragment: encode # as %23",
        ),
        ("postgres://h/d", "it must have a user"),
        ("postgres://u@h", "it must have the name of a database"),
        ("postgres://u@h/", "it must have the name of a database"),
        ("postgres://u@/d", "it must have a host"),
        ("postgres://u@h/%FF", "the database is not valid text"),
        ("postgres://%00@h/d", "the user is not valid text"),
        (
            "postgres://u@h/d?application_name=%00",
            "a parameter is not valid text",
        ),
        (
            "postgres://u@h/d?sslmode=verify-ca",
            "the parameter sslmode must be disable, prefer, require or verify-full",
        ),
        (
            "postgres://u@h/d?sslmode=require&sslrootcert=ca.pem",
            "the parameter sslrootcert requires sslmode=verify-full",
        ),
        (
            "postgres://u@h/d?max_connections=0",
            "the parameter max_connections must be a number from 1 to 1000",
        ),
        (
            "postgres://u@h/d?timeout=1h",
            "the parameter timeout must be a number from 1 to 600",
        ),
        (
            "postgres://u@h/d?timeout=1&timeout=2",
            "the parameter timeout occurs twice",
        ),
        (
            "postgres://u@h/d?host=/tmp",
            "the parameter host must be an absolute path, in a URL without a host",
        ),
        (
            "postgres://u@/d?host=tmp",
            "the parameter host must be an absolute path, in a URL without a host",
        ),
    ] {
        assert_eq!(refusal(text), reason, "{text}");
    }
    for schema in ["", "1a", "A", "a-b", "a\"b", "pg_catalog", &"a".repeat(60)] {
        let reason = refusal(&format!("postgres://u@h/d?schema={schema}"));
        assert!(
            reason.starts_with("the parameter schema must be"),
            "{reason}"
        );
    }
    let reason = refusal("postgres://u:p?secret@h/d");
    assert!(!reason.contains("secret"), "{reason}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_password_is_read_and_never_shown(password in "[^\0]{8,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = parse(&format!("postgres://dps:{encoded}@localhost/emulator"));
        prop_assert_eq!(url.config.get_password(), Some(password.as_bytes()));
        for shown in [format!("{url}"), format!("{url:?}"), format!("{:?}", url.config)] {
            prop_assert!(!shown.contains(&password) && !shown.contains(&encoded), "{}", shown);
        }
        prop_assert_eq!(url.to_string(), "postgres://dps:***@localhost:5432/emulator");
    }

    #[test]
    fn no_error_repeats_the_password(before in ".{0,12}", after in ".{0,12}") {
        for text in [
            format!("{before}postgres://u:hunter2secret@h/d{after}"),
            format!("postgres://u:{before}hunter2secret{after}@h/d"),
            format!("postgres://u:hunter2secret{after}"),
        ] {
            let shown = match text.parse::<PostgresUrl>() {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            // Without a slash or a question mark before it, the text is in the place of the password.
            if !before.contains(['/', '?', '#', '@', '\\']) && !after.contains('@') {
                prop_assert!(!shown.contains("hunter2secret"), "{}", shown);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(postgres://)?.{0,60}") {
        let _ = text.parse::<PostgresUrl>();
    }
}
