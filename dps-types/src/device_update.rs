//! Device Update through DPS: the documents of api-version 2026-11-02-preview.
//!
//! Three POST operations below `/{idScope}/registrations/{registrationId}/`, which authenticate as a registration does:
//! `requestOnboardingUpdates` before the device is provisioned and `requestSoftwareUpdates` after it, with [`UpdateCheckRequest`] and
//! [`UpdateCheckResponse`], and `reportUpdateStatus` with [`ReportStatusRequest`]. No client of this project sends them.
//!
//! Source: `device.json` of api-version 2026-11-02-preview.

use std::collections::BTreeMap;

use crate::enrollment::TpmAttestation;

open_enum! {
    /// The result of an update, or of one of its steps.
    pub enum UpdateOutcome {
        /// It is not finished.
        InProgress = "IN_PROGRESS",
        /// It was installed.
        Succeeded = "SUCCEEDED",
        /// It failed: [`InstallResult::failure_origin`] names the component.
        Failed = "FAILED",
        /// It was canceled.
        Canceled = "CANCELED",
        /// It was not necessary.
        Skipped = "SKIPPED",
    }
}

open_enum! {
    /// The component that failed.
    pub enum FailureOrigin {
        /// Nothing failed.
        NotApplicable = "NOT_APPLICABLE",
        /// The update service.
        AduCloudService = "ADU_CLOUD_SERVICE",
        /// A resource that the update service manages.
        AduManagedResource = "ADU_MANAGED_RESOURCE",
        /// The agent.
        AgentCore = "AGENT_CORE",
        /// An extension of the agent.
        AgentExtension = "AGENT_EXTENSION",
        /// A dependency of the agent.
        AgentDependency = "AGENT_DEPENDENCY",
        /// The device.
        Device = "DEVICE",
        /// Another component.
        Other = "OTHER",
    }
}

lossless! {
    /// A request for an update.
    #[derive(Default)]
    pub struct UpdateCheckRequest {
        /// The agent. An onboarding request requires it, with 1 to 5 properties.
        agent_info: Option<AgentInfo> = "agentInfo",
        /// The keys of the TPM, for a device that authenticates with one.
        tpm: Option<TpmAttestation> = "tpm",
        /// The update that is installed.
        installed_update_id: Option<InstalledUpdateId> = "installedUpdateId",
        /// The ETag of the agent information that the service has; 1 to 128 characters.
        agent_info_etag: Option<String> = "agentInfoEtag",
        /// The ETag of the service configuration that the device has; 1 to 128 characters.
        service_config_etag: Option<String> = "serviceConfigEtag",
    }
}

lossless! {
    /// The update agent of the device.
    #[derive(Default)]
    pub struct AgentInfo {
        /// The version of the agent's SDK.
        agent_sdk_version: Option<String> = "agentSdkVersion",
        /// The profile of the agent.
        agent_profile: Option<i32> = "agentProfile",
        /// The properties by which the service selects updates.
        compatibility_properties: Option<BTreeMap<String, String>> = "compatibilityProperties",
    }
}

lossless! {
    /// An update by its names.
    pub struct InstalledUpdateId {
        /// The publisher of the update.
        provider: String = "provider",
        /// The name of the update.
        name: String = "name",
        /// The version of the update.
        version: String = "version",
    }
}

lossless! {
    /// The answer to a request for an update.
    pub struct UpdateCheckResponse {
        /// The configuration of the service. Absent if the device's ETag of it is the current one.
        service_configuration: Option<ServiceConfiguration> = "serviceConfiguration",
        /// The ETag of the service configuration.
        service_config_etag: String = "serviceConfigEtag",
        /// The ETag of the agent information.
        agent_info_etag: String = "agentInfoEtag",
        /// The update. Absent if there is no update for the device.
        update_metadata: Option<UpdateMetadata> = "updateMetadata",
    }
}

lossless! {
    /// The configuration of the update service.
    pub struct ServiceConfiguration {
        /// The address of the root keys.
        root_key_download_url: String = "rootKeyDownloadUrl",
    }
}

lossless! {
    /// An update to install.
    pub struct UpdateMetadata {
        /// Identifies the deployment in reports; 1 to 128 characters.
        workflow_id: String = "workflowId",
        /// The manifest: JSON as text.
        update_manifest: String = "updateManifest",
        /// The signature of the manifest, in the compact form of JWS.
        update_manifest_signature: String = "updateManifestSignature",
        /// The address of each file of the update.
        file_urls: BTreeMap<String, String> = "fileUrls",
    }
}

lossless! {
    /// A report about an update. The service accepts the same report more than once.
    pub struct ReportStatusRequest {
        /// The deployment, as [`UpdateMetadata::workflow_id`] has it.
        workflow_id: String = "workflowId",
        /// The keys of the TPM, for a device that authenticates with one.
        tpm: Option<TpmAttestation> = "tpm",
        /// The update that is installed now.
        installed_update_id: Option<InstalledUpdateId> = "installedUpdateId",
        /// The result.
        install_result: InstallResult = "installResult",
    }
}

lossless! {
    /// The result of an update.
    pub struct InstallResult {
        /// The result.
        outcome: UpdateOutcome = "outcome",
        /// The component that failed.
        failure_origin: FailureOrigin = "failureOrigin",
        /// The code of the result; greater than 0 for a success.
        result_code: i64 = "resultCode",
        /// Further codes; at most 1,024 characters.
        extended_result_codes: String = "extendedResultCodes",
        /// A text about the result; at most 1,024 characters.
        result_details: Option<String> = "resultDetails",
        /// The result of each step, by names such as `step_0`.
        step_results: Option<BTreeMap<String, StepResult>> = "stepResults",
    }
}

lossless! {
    /// The result of one step of an update.
    pub struct StepResult {
        /// The result.
        outcome: UpdateOutcome = "outcome",
        /// The component that failed.
        failure_origin: FailureOrigin = "failureOrigin",
        /// The code of the result; greater than 0 for a success.
        result_code: i64 = "resultCode",
        /// Further codes; at most 1,024 characters.
        extended_result_codes: String = "extendedResultCodes",
        /// A text about the result; at most 1,024 characters.
        result_details: Option<String> = "resultDetails",
    }
}
