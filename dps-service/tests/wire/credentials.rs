//! Credentials: bearer tokens on the wire, and the replacement of a token.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::{Action, KEY, Service, answer, answer_with, key};
use async_trait::async_trait;
use dps_service::{
    AccessToken, Error, ErrorKind, QuerySpecification, ServiceClient, TokenProvider,
};

/// Returns numbered tokens with this lifetime.
struct Numbered {
    asked: Arc<AtomicU32>,
    lifetime: Duration,
}

#[async_trait]
impl TokenProvider for Numbered {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let expiry = SystemTime::now() + self.lifetime;
        Ok(AccessToken::new(format!("token-{number}"), expiry))
    }
}

struct None;

#[async_trait]
impl TokenProvider for None {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        Err("the account is locked".into())
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
async fn authorizations(lifetime: Duration) -> Vec<String> {
    let page = |next: &str| answer_with("200 OK", &format!("x-ms-continuation: {next}"), "[]");
    let service = Service::start([page("1"), page("2"), answer("200 OK", "[]")]).await;
    let asked = Arc::new(AtomicU32::new(0));
    let dps = client(&service, Numbered { asked, lifetime });
    let mut query = dps.enrollment_groups().query(QuerySpecification::default());
    assert!(query.try_next().await.expect("pages").is_none());
    let seen = service.seen();
    seen.iter()
        .map(|seen| seen.header("authorization").expect("a token").to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_is_used_until_it_expires() {
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
    assert_eq!(error.source().unwrap().to_string(), "the account is locked");
    assert!(!error.is_retryable());
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_provider_that_does_not_answer_ends_at_the_timeout() {
    let service = Service::start([]).await;
    let dps = client(&service, Silent).with_timeout(Duration::from_millis(50));
    let id = "toasters".parse().unwrap();
    let error = dps.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn a_token_with_a_line_break_is_refused_and_not_shown() {
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
async fn a_key_can_be_used_instead_of_a_connection_string() {
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

const REFUSED: &str = r#"{"errorCode":401002,"trackingId":"8ad0463c","message":"Unauthorized"}"#;
const GROUP: &str = r#"{"enrollmentGroupId":"a","attestation":{"type":"symmetricKey"}}"#;

/// Reads a group with numbered tokens. Returns the result, and the `Authorization` of each request.
async fn get(script: Vec<Action>) -> (Result<(), Error>, Vec<String>) {
    let service = Service::start(script).await;
    let provider = Numbered {
        asked: Arc::new(AtomicU32::new(0)),
        lifetime: Duration::from_secs(3600),
    };
    // A shared provider is a provider.
    let provider: Arc<dyn TokenProvider> = Arc::new(provider);
    let dps = client(&service, provider);
    let result = dps
        .enrollment_groups()
        .get(&"a".parse().expect("an id"))
        .await;
    let seen = service.seen();
    let tokens = seen
        .iter()
        .map(|seen| seen.header("authorization").expect("a token").to_owned());
    (result.map(drop), tokens.collect())
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_replaced_once() {
    let refused = || answer("401 Unauthorized", REFUSED);
    let (result, tokens) = get(vec![refused(), answer("200 OK", GROUP)]).await;
    result.unwrap();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);

    let (result, tokens) = get(vec![refused(), refused(), answer("200 OK", GROUP)]).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);
    let text = error.to_string();
    assert!(
        text.contains("permissions of the shared access policy"),
        "{text}"
    );
    assert!(!format!("{error:#} {error:?}").contains("token-"));
}

#[tokio::test]
async fn a_token_of_a_policy_that_the_service_refuses_is_not_replaced() {
    let script = [answer("401 Unauthorized", REFUSED), answer("200 OK", GROUP)];
    let service = Service::start(script).await;
    let groups = service.client();
    let error = groups.enrollment_groups().get(&"a".parse().unwrap()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthorized);
    service.only_one();
}

/// A file that contains a token often ends with a line break.
#[tokio::test]
async fn white_space_around_a_token_is_ignored() {
    struct FromFile;

    #[async_trait]
    impl TokenProvider for FromFile {
        async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
            let tomorrow = SystemTime::now() + Duration::from_secs(86400);
            Ok(AccessToken::new(" sesame\r\n", tomorrow))
        }
    }

    let service = Service::start([answer("200 OK", GROUP)]).await;
    let dps = client(&service, FromFile);
    dps.enrollment_groups()
        .get(&"a".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        service.only_one().header("authorization"),
        Some("Bearer sesame")
    );
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
    async fn a_credential_gets_the_scope_of_the_service() {
        let page = |next: &str| answer_with("200 OK", &format!("x-ms-continuation: {next}"), "[]");
        let service = Service::start([page("1"), answer("200 OK", "[]")]).await;
        let dps = client(&service, EntraCredential::new(Arc::new(Fixed)));
        dps.enrollment_groups()
            .query(QuerySpecification::default())
            .try_next()
            .await
            .unwrap();
        for seen in service.seen() {
            assert_eq!(
                seen.header("authorization"),
                Some("Bearer for:https://azure-devices-provisioning.net/.default")
            );
        }
    }
}
