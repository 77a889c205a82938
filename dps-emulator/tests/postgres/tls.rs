//! TLS to the database, with a certificate that the test makes.

use std::path::Path;

use dps_emulator::store::{Expected, PostgresStore, Store, StoreError, StoreErrorKind, Table};
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;

use crate::server::{Server, connect, parse};

/// A server with a certificate for `localhost`, and the folder with `server.pem` and `other.pem`.
fn server_with_tls() -> (Server, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let own = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(path("server.pem"), own.cert.pem()).expect("written");
    std::fs::write(path("server.key"), own.signing_key.serialize_pem()).expect("written");
    std::fs::write(path("other.pem"), other.cert.pem()).expect("written");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let arguments = [
        "--tls",
        &text(&path("server.pem")),
        &text(&path("server.key")),
        "--host",
        "localhost",
    ];
    (Server::start(&arguments), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_used_and_verified_as_the_url_requires() {
    let (server, folder) = server_with_tls();
    let root = |name: &str| format!("sslrootcert={}", folder.path().join(name).display());
    let admin = server.admin().await;
    let verified = format!("sslmode=verify-full&{}", root("server.pem"));
    for (name, parameters, is_encrypted) in [
        ("verified", &*verified, true),
        ("required", "sslmode=require", true),
        ("preferred", "sslmode=prefer", true),
        ("default", "schema=public", true),
        ("disabled", "sslmode=disable", false),
    ] {
        let url = server.url(&format!("{parameters}&application_name={name}"));
        let store = connect(&parse(&url)).await;
        assert!(
            store
                .put(Table::Meta, name, Expected::Absent, vec![])
                .await
                .unwrap()
        );
        let query = "SELECT bool_and(ssl), bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = $1";
        let row = admin.client.query_one(query, &[&name]).await.unwrap();
        assert_eq!(
            (row.get(0), row.get(1)),
            (is_encrypted, is_encrypted),
            "{name}"
        );
    }

    let refused = async |url: String| -> StoreError {
        let error = PostgresStore::connect(&parse(&url)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{error:#}");
        error
    };
    let error = refused(server.url(&format!("sslmode=verify-full&{}", root("other.pem")))).await;
    assert!(
        format!("{error:#}").contains("invalid peer certificate"),
        "{error:#}"
    );
    let by_address = server.url(&verified).replace("@localhost:", "@127.0.0.1:");
    let error = refused(by_address).await;
    assert!(
        format!("{error:#}").contains("not valid for name"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_file_of_roots_that_cannot_be_read_is_refused() {
    let url = "postgres://dps:x@localhost/d?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem";
    let error = PostgresStore::connect(&parse(url)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Configuration);
    assert!(
        format!("{error:#}").contains("/nonexistent/ca.pem"),
        "{error:#}"
    );
}
