//! Who the operator is: bearer tokens on the wire, and when a new one is asked for.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::{Act, KEY, Service, answer, answer_with, key};
use async_trait::async_trait;
use dps_service::{AccessToken, ErrorKind, ServiceClient, TokenProvider};

/// Numbers its tokens, which are good for so long.
struct Numbered {
    asked: Arc<AtomicU32>,
    good_for: Duration,
}

#[async_trait]
impl TokenProvider for Numbered {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let expiry = SystemTime::now() + self.good_for;
        Ok(AccessToken::new(format!("token-{number}"), expiry))
    }
}

struct None;

#[async_trait]
impl TokenProvider for None {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        Err("locked out".into())
    }
}

struct Silent;

#[async_trait]
impl TokenProvider for Silent {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        std::future::pending().await
    }
}

fn client(service: &Service, provider: impl TokenProvider + 'static) -> ServiceClient {
    ServiceClient::from_token_provider(&service.host(), provider)
        .expect("a host")
        .with_roots(service.roots())
}

/// The `Authorization` of each page of a long query.
async fn authorizations(good_for: Duration) -> Vec<String> {
    let page = |next: &str| answer_with("200 OK", &format!("x-ms-continuation: {next}"), "[]");
    let service = Service::start([page("1"), page("2"), answer("200 OK", "[]")]).await;
    let asked = Arc::new(AtomicU32::new(0));
    let dps = client(&service, Numbered { asked, good_for });
    let mut query = dps.enrollment_groups().query();
    assert!(query.try_next().await.expect("pages").is_none());
    let seen = service.seen();
    seen.iter()
        .map(|seen| seen.header("authorization").expect("a token").to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_that_lasts_is_shown_again() {
    let shown = authorizations(Duration::from_secs(3600)).await;
    assert_eq!(shown, ["Bearer token-1"; 3]);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_replaced_in_the_middle_of_a_query() {
    let shown = authorizations(Duration::from_secs(50)).await;
    assert_eq!(
        shown,
        ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
    );
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let service = Service::start([]).await;
    let id = "toasters".parse().unwrap();
    let error = client(&service, None)
        .enrollment_groups()
        .get(&id)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoToken);
    assert_eq!(error.source().unwrap().to_string(), "locked out");
    assert!(!error.is_retryable());
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_provider_that_says_nothing_ends_at_the_deadline() {
    let service = Service::start([]).await;
    let dps = client(&service, Silent).with_timeout(Duration::from_millis(50));
    let id = "toasters".parse().unwrap();
    let error = dps.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_is_no_header_is_refused_and_not_shown() {
    struct Broken;

    #[async_trait]
    impl TokenProvider for Broken {
        async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
            let tomorrow = SystemTime::now() + Duration::from_secs(86400);
            Ok(AccessToken::new("sesame\r\nx: y", tomorrow))
        }
    }

    let service = Service::start([]).await;
    let dps = client(&service, Broken);
    let error = dps
        .enrollment_groups()
        .get(&"a".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(!format!("{error} {error:?} {dps:?}").contains("sesame"));
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_key_is_as_good_as_a_connection_string() {
    let body = r#"{"enrollmentGroupId":"a","attestation":{"type":"symmetricKey"}}"#;
    let service = Service::start([answer("200 OK", body)]).await;
    let dps = ServiceClient::from_key(&service.host(), "reader", key())
        .unwrap()
        .with_roots(service.roots());
    dps.enrollment_groups()
        .get(&"a".parse().unwrap())
        .await
        .unwrap();
    let shown = service
        .only_one()
        .header("authorization")
        .unwrap()
        .to_owned();
    assert!(shown.ends_with("&skn=reader"), "{shown}");

    for (host, policy) in [("a b", "me"), ("", "me"), ("localhost", "a;b")] {
        let error = ServiceClient::from_key(host, policy, key()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(!format!("{error:?}").contains(KEY));
    }
    let error = ServiceClient::from_token_provider("user@localhost", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[tokio::test]
async fn a_token_that_was_refused_is_an_error_and_not_asked_for_twice() {
    let refused = r#"{"errorCode":401002,"trackingId":"8ad0463c","message":"Unauthorized"}"#;
    let service = Service::start([answer("401 Unauthorized", refused), Act::HangUp]).await;
    let good_for = Duration::from_secs(3600);
    let asked = Arc::new(AtomicU32::new(0));
    let dps = client(
        &service,
        Numbered {
            asked: Arc::clone(&asked),
            good_for,
        },
    );
    let error = dps
        .enrollment_groups()
        .get(&"a".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(!format!("{error} {error:?}").contains("token-1"));
}

#[cfg(feature = "entra")]
mod entra {
    use azure_core::credentials::{
        AccessToken as AzureToken, TokenCredential, TokenRequestOptions,
    };
    use azure_core::time::{Duration, OffsetDateTime};
    use dps_service::EntraCredential;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    #[async_trait]
    impl TokenCredential for Fixed {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AzureToken> {
            let in_an_hour = OffsetDateTime::now_utc() + Duration::hours(1);
            Ok(AzureToken::new(
                format!("for:{}", scopes.join(",")),
                in_an_hour,
            ))
        }
    }

    #[tokio::test]
    async fn a_credential_is_asked_for_the_scope_of_the_service() {
        let page = |next: &str| answer_with("200 OK", &format!("x-ms-continuation: {next}"), "[]");
        let service = Service::start([page("1"), answer("200 OK", "[]")]).await;
        let dps = client(&service, EntraCredential::new(Arc::new(Fixed)));
        dps.enrollment_groups().query().try_next().await.unwrap();
        for seen in service.seen() {
            assert_eq!(
                seen.header("authorization"),
                Some("Bearer for:https://azure-devices-provisioning.net/.default")
            );
        }
    }
}
