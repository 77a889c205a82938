//! Many enrollments: bulk operations, pages, and concurrent changes.

use std::collections::HashSet;

use dps_emulator::CertificateAuthority;
use dps_service::{BulkReport, ErrorKind, QuerySpecification, ServiceClient};
use dps_types::enrollment::{AllocationPolicyKind, EnrollmentGroup, IndividualEnrollment};
use dps_types::{BulkOperationMode, EnrollmentGroupId};
use futures_util::TryStreamExt;

use crate::start;

fn devices(numbers: std::ops::Range<u32>) -> Vec<IndividualEnrollment> {
    let device =
        |n| IndividualEnrollment::symmetric_key(format!("d{n:04}").parse().expect("an id"));
    numbers.map(device).collect()
}

async fn bulk(
    dps: &ServiceClient,
    mode: BulkOperationMode,
    items: Vec<IndividualEnrollment>,
) -> BulkReport<IndividualEnrollment> {
    dps.individual_enrollments()
        .bulk(mode)
        .run(items)
        .finish()
        .await
}

async fn all(dps: &ServiceClient, page_size: u32) -> Vec<IndividualEnrollment> {
    let query = dps
        .individual_enrollments()
        .query(QuerySpecification::default())
        .with_page_size(page_size);
    query.try_collect().await.expect("pages")
}

#[tokio::test]
async fn each_mode_works_and_each_item_fails_independently() {
    let (emulator, dps) = start().await;
    let report = bulk(&dps, BulkOperationMode::Create, devices(0..95)).await;
    assert_eq!((report.succeeded, report.failed.len()), (95, 0));

    // Five exist, five are new.
    let report = bulk(&dps, BulkOperationMode::Create, devices(90..100)).await;
    assert_eq!((report.succeeded, report.failed.len()), (5, 5));
    for failed in &report.failed {
        let error = failed.result.as_ref().unwrap_err();
        assert_eq!(
            (error.kind(), error.is_in_doubt()),
            (ErrorKind::Conflict, false)
        );
        assert!(failed.item.registration_id.as_str() < "d0095");
    }

    let report = bulk(&dps, BulkOperationMode::Update, devices(0..1)).await;
    let error = report.failed[0].result.as_ref().unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Conflict,
        "without an ETag nothing is replaced"
    );

    let stored = all(&dps, 0).await;
    let evenly = |item: IndividualEnrollment| item.allocate_evenly();
    let changed: Vec<_> = stored.iter().cloned().map(evenly).collect();
    let report = bulk(&dps, BulkOperationMode::UpdateIfMatchETag, changed.clone()).await;
    assert_eq!((report.succeeded, report.failed.len()), (100, 0));
    let report = bulk(&dps, BulkOperationMode::UpdateIfMatchETag, changed).await;
    assert_eq!(
        (report.succeeded, report.failed.len()),
        (0, 100),
        "stale ETags"
    );
    let error = report.failed[99].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    let policies: HashSet<_> = all(&dps, 0)
        .await
        .into_iter()
        .map(|e| e.allocation_policy)
        .collect();
    assert_eq!(
        policies,
        HashSet::from([Some(AllocationPolicyKind::Hashed)])
    );

    let report = bulk(&dps, BulkOperationMode::Delete, devices(0..101)).await;
    assert_eq!((report.succeeded, report.failed.len()), (100, 1));
    assert_eq!(report.failed[0].index, 100);
    let error = report.failed[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(all(&dps, 0).await.is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn groups_can_be_created_in_bulk() {
    let (emulator, dps) = start().await;
    let groups: Vec<_> = (0..12)
        .map(|n| EnrollmentGroup::symmetric_key(format!("g{n}").parse().unwrap()))
        .collect();
    let bulk = dps.enrollment_groups().bulk(BulkOperationMode::Create);
    assert!(bulk.run(groups.clone()).finish().await.is_successful());
    let found: Vec<EnrollmentGroup> = dps
        .enrollment_groups()
        .query(QuerySpecification::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found.len(), 12);
    let bulk = dps.enrollment_groups().bulk(BulkOperationMode::Delete);
    assert!(bulk.run(groups).finish().await.is_successful());
    emulator.shutdown().await;
}

#[tokio::test]
async fn every_enrollment_is_on_one_page_and_a_query_continues_where_another_ended() {
    let (emulator, dps) = start().await;
    bulk(&dps, BulkOperationMode::Create, devices(0..120)).await;
    let mut pages = dps
        .individual_enrollments()
        .query(QuerySpecification::default())
        .with_page_size(50)
        .pages();
    let mut found = Vec::new();
    let first = pages.try_next().await.unwrap().unwrap();
    assert_eq!(first.items.len(), 50);
    found.extend(first.items);
    drop(pages);

    let kept = first.continuation.unwrap().to_string();
    let rest = dps
        .individual_enrollments()
        .query(QuerySpecification::default())
        .with_page_size(50);
    let rest = rest.starting_at(kept.parse().unwrap());
    found.extend(rest.try_collect::<Vec<_>>().await.unwrap());
    let ids: HashSet<_> = found
        .iter()
        .map(|e| e.registration_id.to_string())
        .collect();
    assert_eq!((found.len(), ids.len()), (120, 120));

    let wrong = dps
        .individual_enrollments()
        .query(QuerySpecification::default());
    let error = wrong
        .starting_at("nonsense".parse().unwrap())
        .try_next()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    emulator.shutdown().await;
}

#[tokio::test]
async fn concurrent_changes_lose_no_change_and_no_key() {
    let (emulator, dps) = start().await;
    let groups = dps.enrollment_groups();
    let created = groups
        .create(&EnrollmentGroup::symmetric_key("toasters".parse().unwrap()))
        .await
        .unwrap();
    let id = created.enrollment_group_id.clone();
    let add = |name: &'static str| {
        let (groups, id) = (groups, id.clone());
        async move {
            let change = |group: &mut EnrollmentGroup| {
                let twin = group.initial_twin.get_or_insert_default();
                twin.tags
                    .get_or_insert_default()
                    .insert(name.to_owned(), true);
            };
            groups.modify(&id, change).await
        }
    };
    let (a, b, c) = tokio::join!(add("a"), add("b"), add("c"));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let tags = groups
        .get(&id)
        .await
        .unwrap()
        .initial_twin
        .unwrap()
        .tags
        .unwrap();
    assert_eq!(tags.len(), 3);
    let mechanism = groups.attestation_mechanism(&id).await.unwrap();
    assert_eq!(mechanism, created.attestation);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_change_keeps_the_certificates_that_no_read_returns() {
    let (emulator, dps) = start().await;
    let factory = CertificateAuthority::new("Contoso Factory").unwrap();
    let id: EnrollmentGroupId = "heatpumps".parse().unwrap();
    let group = EnrollmentGroup::signing_certificate(id.clone(), factory.certificate_pem());
    let created = dps.enrollment_groups().create(&group).await.unwrap();
    let evenly = |group: &mut EnrollmentGroup| *group = group.clone().allocate_evenly();
    let changed = dps.enrollment_groups().modify(&id, evenly).await.unwrap();
    assert_eq!(
        changed.allocation_policy,
        Some(AllocationPolicyKind::Hashed)
    );
    assert_eq!(changed.attestation, created.attestation);
    emulator.shutdown().await;
}
