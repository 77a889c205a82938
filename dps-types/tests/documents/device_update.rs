//! The documents of Device Update with all their members, typed from `device.json` of api-version 2026-11-02-preview.

use dps_types::device_update::{
    FailureOrigin, ReportStatusRequest, UpdateCheckRequest, UpdateCheckResponse, UpdateOutcome,
};
use serde_json::json;

use crate::{read, write};

#[test]
fn a_request_and_its_answer_have_all_their_members() {
    let request = json!({
        "agentInfo": {"agentSdkVersion": "1.0", "agentProfile": 2, "compatibilityProperties": {"model": "toaster"}},
        "tpm": {"endorsementKey": "AQID", "storageRootKey": "BAUG"},
        "installedUpdateId": {"provider": "contoso", "name": "toaster", "version": "1.2"},
        "agentInfoEtag": "a",
        "serviceConfigEtag": "b",
        "later": true,
    });
    assert_eq!(write(&read::<UpdateCheckRequest>(&request)), request);
    assert_eq!(write(&UpdateCheckRequest::default()), json!({}));

    let answer = json!({
        "serviceConfiguration": {"rootKeyDownloadUrl": "https://contoso.example/keys"},
        "serviceConfigEtag": "b",
        "agentInfoEtag": "a",
        "updateMetadata": {
            "workflowId": "w",
            "updateManifest": "{\"manifestVersion\":\"5\"}",
            "updateManifestSignature": "e30.e30.AA",
            "fileUrls": {"f1": "https://contoso.example/f1"},
        },
    });
    let read_answer: UpdateCheckResponse = read(&answer);
    assert_eq!(
        read_answer
            .update_metadata
            .as_ref()
            .map(|it| it.workflow_id.as_str()),
        Some("w")
    );
    assert_eq!(write(&read_answer), answer);
    let nothing = json!({"serviceConfigEtag": "b", "agentInfoEtag": "a"});
    assert_eq!(write(&read::<UpdateCheckResponse>(&nothing)), nothing);
}

#[test]
fn a_report_keeps_unknown_outcomes_and_origins() {
    let report = json!({
        "workflowId": "w",
        "tpm": {"endorsementKey": "AQID"},
        "installedUpdateId": {"provider": "contoso", "name": "toaster", "version": "1.3"},
        "installResult": {
            "outcome": "POSTPONED",
            "failureOrigin": "BATTERY",
            "resultCode": 9_007_199_254_740_993_i64,
            "extendedResultCodes": "00000000",
            "resultDetails": "on battery",
            "stepResults": {"step_0": {
                "outcome": "SUCCEEDED", "failureOrigin": "NOT_APPLICABLE", "resultCode": 700, "extendedResultCodes": "0",
                "resultDetails": "installed",
            }},
        },
    });
    let read_report: ReportStatusRequest = read(&report);
    assert_eq!(
        read_report.install_result.outcome,
        UpdateOutcome::Unknown("POSTPONED".into())
    );
    assert_eq!(
        read_report.install_result.failure_origin,
        FailureOrigin::Unknown("BATTERY".into())
    );
    assert_eq!(write(&read_report), report);
    for text in ["IN_PROGRESS", "SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"] {
        assert_eq!(write(&read::<UpdateOutcome>(&json!(text))), json!(text));
        assert!(!matches!(read(&json!(text)), UpdateOutcome::Unknown(_)));
    }
    for text in [
        "NOT_APPLICABLE",
        "ADU_CLOUD_SERVICE",
        "ADU_MANAGED_RESOURCE",
        "AGENT_CORE",
        "AGENT_EXTENSION",
        "AGENT_DEPENDENCY",
        "DEVICE",
        "OTHER",
    ] {
        assert!(!matches!(read(&json!(text)), FailureOrigin::Unknown(_)));
    }
}
