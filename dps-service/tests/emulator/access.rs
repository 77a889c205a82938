//! Permissions of shared access policies and of bearer tokens.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_emulator::{AccessPolicy, Emulator, EntraRole, Permission};
use dps_service::{AccessToken, ErrorKind, QuerySpecification, ServiceClient, TokenProvider};
use dps_types::enrollment::EnrollmentGroup;

use crate::roots;

struct Always(&'static str);

#[async_trait]
impl TokenProvider for Always {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
        Ok(AccessToken::new(self.0, in_an_hour))
    }
}

fn group() -> EnrollmentGroup {
    EnrollmentGroup::symmetric_key("toasters".parse().expect("an id"))
}

#[tokio::test]
async fn a_policy_with_read_permission_cannot_write() {
    let policy = AccessPolicy::new("reader", [Permission::EnrollmentRead]);
    let emulator = Emulator::builder()
        .access_policy(policy)
        .start()
        .await
        .unwrap();
    let text = emulator.connection_string("reader").unwrap();
    let dps = ServiceClient::from_connection_string(&text)
        .unwrap()
        .with_roots(roots(&emulator));
    assert!(
        dps.enrollment_groups()
            .query(QuerySpecification::default())
            .try_next()
            .await
            .unwrap()
            .is_none()
    );
    let error = dps.enrollment_groups().create(&group()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.error_details().unwrap().tracking_id.is_some());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_bearer_token_has_the_permissions_of_its_role() {
    let emulator = Emulator::builder()
        .bearer_token("contributor-token", EntraRole::DataContributor)
        .bearer_token("reader-token", EntraRole::DataReader)
        .start()
        .await
        .unwrap();
    let client = |token| {
        let host = format!("localhost:{}", emulator.https_port());
        ServiceClient::from_token_provider(&host, Always(token))
            .unwrap()
            .with_roots(roots(&emulator))
    };
    client("contributor-token")
        .enrollment_groups()
        .create(&group())
        .await
        .unwrap();
    let id = group().enrollment_group_id;
    client("reader-token")
        .enrollment_groups()
        .get(&id)
        .await
        .unwrap();
    for token in ["reader-token", "stranger-token"] {
        let error = client(token)
            .enrollment_groups()
            .delete(&id)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
    }
    emulator.shutdown().await;
}
