//! Runs `allocate_from_database` with a database that answers, hangs, stops and starts again.

mod postgres;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use tokio_postgres::NoTls;

use super::command;
use postgres::Postgres;

#[tokio::test]
async fn allocate_from_database_uses_the_table_and_works_without_it() {
    let database = Postgres::start();
    let mut example = Conversation::start("allocate_from_database", database.url());
    assert_eq!(example.ask("toaster-1"), "toaster-1 is assigned to contoso-east, from the table");
    assert_eq!(example.ask("Toaster-2"), "Toaster-2 is assigned to contoso-west, from the table");
    let new = example.ask("toaster-3");
    assert!(new.ends_with(", without the table"), "{new}");

    // The operator moves a device. Then the table is locked, and the query times out.
    let (mut client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client
        .execute("UPDATE device_hub SET hub = 'contoso-west' WHERE registration_id = 'toaster-1'", &[])
        .await
        .unwrap();
    assert_eq!(example.ask("toaster-1"), "toaster-1 is assigned to contoso-west, from the table");
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE device_hub").await.unwrap();
    example.expect_no_answer("toaster-1");
    assert_eq!(example.line(), "toaster-1 is assigned to contoso-west, without the table");
    lock.rollback().await.unwrap();
    assert_eq!(example.ask("toaster-1"), "toaster-1 is assigned to contoso-west, from the table");
    drop(client);
    connection.await.unwrap().unwrap();

    // The database stops and starts again.
    database.stop();
    example.expect_no_answer("toaster-2");
    // DPS keeps the case of the first registration.
    assert_eq!(example.line(), "Toaster-2 is assigned to contoso-west, without the table");
    example.expect_no_answer("toaster-4");
    let new = example.line();
    assert!(new.starts_with("toaster-4 is assigned to ") && new.ends_with(", without the table"), "{new}");
    database.run();
    assert_eq!(example.ask("toaster-1"), "toaster-1 is assigned to contoso-west, from the table");
    example.end();
}

/// The example, which registers a device for each line of its input.
struct Conversation(Child, BufReader<ChildStdout>);

impl Conversation {
    fn start(example: &str, database: &str) -> Self {
        let mut command = command(example);
        command.env("DATABASE_URL", database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    fn ask(&mut self, device: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{device}").unwrap();
        self.line()
    }

    fn expect_no_answer(&mut self, device: &str) {
        let line = self.ask(device);
        let expected = format!("  webhook: no answer from the database for {device}: ");
        assert!(line.starts_with(&expected), "{line}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "the example has ended");
        line.trim_end().to_owned()
    }

    /// Ends the example by ending its input.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
