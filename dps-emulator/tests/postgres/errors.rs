//! What is reported when the database cannot be used.

use std::time::{Duration, Instant};

use dps_emulator::store::{Expected, PostgresStore, Store, StoreError, StoreErrorKind, Table};

use crate::server::{connect, new_schema, new_url, parse, shared};

async fn refusal(url: &str) -> StoreError {
    let error = PostgresStore::connect(&parse(url)).await.expect_err(url);
    let shown = format!("{error:#} {error:?}");
    assert!(!shown.contains("password-"), "{shown}");
    error
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let url = shared().url("").replace("dps-password", "password-9");
    let error = refusal(&url).await;
    assert_eq!(error.kind(), StoreErrorKind::Denied);
    let shown = format!("{error:#}");
    assert!(
        shown.starts_with("PostgreSQL refuses the user or its password: "),
        "{shown}"
    );
    assert!(shown.contains("password authentication failed"), "{shown}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_refused_at_once() {
    let url = shared().url("").replace("/postgres?", "/missing?");
    let error = refusal(&url).await;
    assert_eq!(error.kind(), StoreErrorKind::Denied);
    let shown = format!("{error:#}");
    assert!(
        shown.starts_with("the database does not exist in PostgreSQL: "),
        "{shown}"
    );
}

#[tokio::test]
async fn tls_that_is_required_and_not_offered_is_refused_at_once() {
    for mode in ["require", "verify-full"] {
        let error = refusal(&shared().url(&format!("sslmode={mode}"))).await;
        assert_eq!(error.kind(), StoreErrorKind::Denied);
        let shown = format!("{error:#}");
        assert!(shown.contains("does not offer the TLS"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error_at_the_deadline() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = refusal(&format!(
        "postgres://dps:password-1@127.0.0.1:{port}/db?timeout=1"
    ))
    .await;
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let shown = format!("{error:#}");
    assert!(
        shown.starts_with(
            "PostgreSQL did not complete the call within 1 seconds: PostgreSQL cannot be reached: "
        ),
        "{shown}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_at_the_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://dps:password-1@127.0.0.1:{port}/db?timeout=2&connect_timeout=1");
    let error = refusal(&url).await;
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let shown = format!("{error:#}");
    assert!(
        shown.contains("has not accepted a connection within 1 seconds"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_newer_version_of_the_tables_is_refused_and_left_unchanged() {
    let url = new_url("");
    let store = connect(&url).await;
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, b"1".to_vec())
            .await
            .unwrap()
    );
    let admin = shared().admin().await;
    let schema = url.schema();
    admin
        .execute(&format!("INSERT INTO {schema}.dps_schema VALUES (1000)"))
        .await;
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    assert_eq!(
        error.to_string(),
        format!(
            "the tables in the schema {schema} have version 1000, and this release supports version 1: use the release that \
             updated them, or a newer one"
        )
    );
    admin
        .execute(&format!(
            "DELETE FROM {schema}.dps_schema WHERE version = 1000"
        ))
        .await;
    let store = connect(&url).await;
    assert_eq!(
        store.get(Table::Meta, "k").await.unwrap(),
        Some(b"1".to_vec())
    );
}

#[tokio::test]
async fn a_user_who_may_not_create_tables_can_use_those_that_exist() {
    let admin = shared().admin().await;
    let (user, url) = (new_schema(), new_url(""));
    let schema = url.schema();
    admin
        .execute(&format!("CREATE USER {user} PASSWORD 'password-2'"))
        .await;
    let limited = shared()
        .url(&format!("schema={schema}"))
        .replace("dps:dps-password", &format!("{user}:password-2"));
    let error = refusal(&limited).await;
    assert_eq!(error.kind(), StoreErrorKind::Denied);
    let shown = format!("{error:#}");
    assert!(
        shown.contains("must be created or updated, and the user may not do so"),
        "{shown}"
    );

    drop(connect(&url).await);
    admin
        .execute(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO {user};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {user}"
        ))
        .await;
    let store = connect(&parse(&limited)).await;
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, vec![])
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_locked_row_is_an_error_at_the_deadline() {
    let url = new_url("&timeout=1");
    let store = connect(&url).await;
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, b"1".to_vec())
            .await
            .unwrap()
    );
    let admin = shared().admin().await;
    let schema = url.schema();
    admin
        .execute(&format!(
            "BEGIN; SELECT 1 FROM {schema}.dps_record FOR UPDATE"
        ))
        .await;
    let began = Instant::now();
    let put = store.put(Table::Meta, "k", Expected::Exactly(b"1"), b"2".to_vec());
    let error = put.await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(
        store.get(Table::Meta, "k").await.unwrap(),
        Some(b"1".to_vec())
    );
    admin.execute("ROLLBACK").await;
    // PostgreSQL has canceled the statement: it does not run later.
    assert!(
        store
            .put(Table::Meta, "k", Expected::Exactly(b"1"), b"3".to_vec())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_key_that_the_index_cannot_hold_is_an_error() {
    let store = connect(&new_url("")).await;
    // Random letters, so that it cannot be compressed: the numbers of a linear congruential generator.
    let mut state = 1_u32;
    let long: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(33 + (state >> 24) as u8 % 90)
    })
    .take(6000)
    .collect();
    let put = store.put(Table::Meta, &long, Expected::Absent, vec![]);
    let error = put.await.unwrap_err();
    assert!(format!("{error:#}").contains("index row"), "{error:#}");
    assert_eq!(store.count(Table::Meta).await.unwrap(), 0);
}

#[tokio::test]
async fn debug_shows_the_database_without_the_password() {
    let store = connect(&new_url("")).await;
    let shown = format!("{store:?}");
    assert!(shown.contains("postgres://dps:***@127.0.0.1:"), "{shown}");
    assert!(!shown.contains("dps-password"), "{shown}");
}
