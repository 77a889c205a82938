//! The options of a key in a TPM (swtpm) that has an authorization value and a policy: `--tpm-key` of the commands of a device.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Ran, World};
use dps_device::certificate::KeyKind;
use dps_device::tpm::{
    Approval, KeyAuth, KeyPairOptions, MeasuredState, PcrPolicy, PolicyAuthority, Tpm, TpmOptions,
};
use dps_hardware::Swtpm;
use serde_json::{Value, json};

const AUTH: &str = "a secret of the device";
const DEVICE: [&str; 4] = ["--certificate", "toaster-1.pem", "--tpm-key", "0x81000101"];

struct Device {
    world: World,
    swtpm: Swtpm,
}

impl Device {
    async fn start() -> Self {
        let authority = "contoso/factory-1/toasters=30".parse().unwrap();
        let world = World::start_with(|builder| builder.certificate_authority(authority));
        let (world, swtpm) = (world.await, Swtpm::start());
        Self { world, swtpm }
    }

    async fn measure(&self, pcrs: &str) -> MeasuredState {
        let tcti = self.swtpm.tcti();
        let measure = ["key", "measure", pcrs, "--tpm", &tcti, "--overwrite"];
        let measured = self.world.json(&measure).await;
        measured["state"].as_str().unwrap().parse().unwrap()
    }

    /// Creates the key of the device in the factory, and its certificate.
    async fn create(&self, protect: impl FnOnce(KeyPairOptions) -> KeyPairOptions) {
        let options = TpmOptions::default().with_tcti(self.swtpm.tcti().parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        let key = protect(tpm.key_pair()).create(KeyKind::P256).await.unwrap();
        let request = key.certificate_request(&"toaster-1".parse().unwrap()).await;
        self.world.file("toaster-1.csr", request.unwrap());
        self.world.certify_toaster().await;
    }

    async fn run(&self, command: &[&str], options: &[&str], auth: Option<&str>) -> Ran {
        let arguments = [command, &DEVICE, options, &["-o", "json"]].concat();
        let mut command = self.world.command(&arguments);
        command.env("TPM2TOOLS_TCTI", self.swtpm.tcti());
        command.envs(auth.map(|auth| ("DPS_TPM_KEY_AUTH", auth)));
        Ran::of(command).await
    }

    async fn registers(&self, options: &[&str], auth: Option<&str>) {
        let ran = self.run(&["register"], options, auth).await;
        assert_eq!(ran.code, 0, "{options:?}: {ran:?}");
        let assigned: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(assigned["registrationId"], json!("toaster-1"));
    }

    /// Each command is refused before it sends anything. The doctor reports a problem of the credentials.
    async fn is_refused(&self, options: &[&str], words: &str) {
        let place = ["--new-key", "new.key", "--certificate-out", "new.pem"];
        for command in [
            &["register"][..],
            &["lookup"],
            &["connect", "--once"],
            &[&["renew", "--watch"][..], &place].concat(),
        ] {
            let refused = self.run(command, options, None).await;
            assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
            assert!(refused.stderr.contains(words), "{command:?}: {refused:?}");
        }
        let found = self.run(&["doctor"], options, None).await;
        assert_eq!(found.code, 7, "{found:?}");
        let findings: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
        let refused = findings
            .iter()
            .find(|finding| finding["check"] == "credentials" && finding["result"] == "problem");
        let finding = refused.map_or_else(String::new, Value::to_string);
        assert!(finding.contains(words), "{found:?}");
    }

    /// The wrong authorization values that the TPM has counted.
    fn wrong_values(&self) -> u32 {
        let mut getcap = std::process::Command::new("tpm2_getcap");
        getcap.args(["properties-variable", "--tcti", &self.swtpm.tcti()]);
        let properties = String::from_utf8(getcap.output().unwrap().stdout).unwrap();
        let mut lines = properties.lines();
        let counter = lines.find_map(|line| line.strip_prefix("TPM2_PT_LOCKOUT_COUNTER: 0x"));
        u32::from_str_radix(counter.unwrap(), 16).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_with_its_authorization_value_in_its_measured_state() {
    let device = Device::start().await;
    let state = device.measure("sha256:2,7").await;
    let policy = PcrPolicy::fixed(state);
    let auth = KeyAuth::new(AUTH).unwrap();
    device
        .create(|key| key.with_auth(auth).with_pcr_policy(policy))
        .await;
    device.world.file("auth.txt", format!("{AUTH}\n"));
    let state = ["--tpm-key-state", "state.txt"];
    let both = [&["--tpm-key-auth-file", "auth.txt"][..], &state].concat();
    device.registers(&both, None).await;
    device.registers(&state, Some(AUTH)).await;
    let connect = ["connect", "--hub-host", "localhost", "--once"];
    let connected = device.run(&connect, &both, None).await;
    assert_eq!(connected.code, 0, "{connected:?}");
    let found = device.run(&["doctor"], &both, None).await;
    assert_eq!(found.code, 0, "{found:?}");

    let without_auth = "with or without an authorization value";
    device.is_refused(&state, without_auth).await;
    let auth = ["--tpm-key-auth-file", "auth.txt"];
    device.is_refused(&auth, "be opened with its policy").await;
    device.world.file("empty.txt", "\n");
    let empty = ["--tpm-key-auth-file", "empty.txt"];
    device.is_refused(&empty, "empty.txt is empty").await;
    assert_eq!(device.wrong_values(), 0);

    // Other software was started.
    device.swtpm.extend_pcr(7);
    device
        .is_refused(&both, "PCR 7 of the bank sha256 is ")
        .await;
    assert_eq!(device.wrong_values(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_tries_a_wrong_authorization_value_once() {
    let device = Device::start().await;
    let auth = KeyAuth::new(AUTH).unwrap();
    device.create(|key| key.with_auth(auth)).await;
    let place = ["--new-key", "new.key", "--certificate-out", "new.pem"];
    let renew = [&["renew", "--watch"][..], &place].concat();
    for (tried, (command, code)) in (1..).zip([
        (&["register"][..], 2),
        (&renew, 2),
        (&["doctor", "--register"], 7),
    ]) {
        let refused = device.run(command, &[], Some("a guess")).await;
        assert_eq!(refused.code, code, "{refused:?}");
        let printed = refused.stdout + &refused.stderr;
        assert!(printed.contains("TPM_RC_AUTH_FAIL"), "{printed}");
        assert!(!printed.contains("a guess"), "{printed}");
        assert_eq!(device.wrong_values(), tried, "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_in_the_states_that_an_authority_approves() {
    let device = Device::start().await;
    let authority = rcgen::KeyPair::generate().unwrap();
    let public_key = authority.public_key_pem();
    device.world.file("authority.pem", &public_key);
    let approve = async |file: &str| {
        let state = device.measure("sha256:4").await;
        let signature = rcgen::SigningKey::sign(&authority, &state.message_to_approve()).unwrap();
        let approval = Approval::new(state, &signature).unwrap();
        device.world.file(file, approval.to_string());
    };
    approve("first.txt").await;
    let policy = PcrPolicy::authorized(PolicyAuthority::from_public_key(&public_key).unwrap());
    let approval = device.world.read("first.txt").parse().unwrap();
    device
        .create(|key| key.with_pcr_policy(policy.with_approval(approval)))
        .await;
    let first = [
        "--tpm-key-authority",
        "authority.pem",
        "--tpm-key-approval",
        "first.txt",
    ];
    device.registers(&first, None).await;

    device.swtpm.extend_pcr(4);
    device
        .is_refused(&first, "PCR 4 of the bank sha256 is ")
        .await;
    approve("second.txt").await;
    let both = [&first[..], &["--tpm-key-approval", "second.txt"]].concat();
    device.registers(&both, None).await;

    device.world.file("authority.pem", "no key");
    device.is_refused(&both, "authority.pem: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_device_and_the_new_keys_have_their_own_values() {
    let device = Device::start().await;
    let auth = KeyAuth::new(AUTH).unwrap();
    device.create(|key| key.with_auth(auth)).await;
    let update = ["enrollment-group", "update", "toasters"];
    let authority = ["--certificate-authority", "contoso/factory-1/toasters"];
    device.world.json(&[&update[..], &authority].concat()).await;
    device.world.file("new.txt", "a secret of the new keys");
    let tcti = device.swtpm.tcti();
    let new_key = ["--new-key-tpm", &tcti, "--new-key-auth-file", "new.txt"];
    let exec = ["--now", "--exec", "echo auth:$DPS_TPM_KEY_AUTH."];
    for (command, options) in [("register", &[][..]), ("renew", &exec)] {
        let options = [&new_key[..], options].concat();
        let ran = device.run(&[command], &options, Some(AUTH)).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let place: Value = serde_json::from_str(&ran.stdout).unwrap();
        let key = &place["certificate"]["key"];
        assert!(key.as_str().unwrap().starts_with("tpm:0x8100011"), "{key}");
        // The command of a renewal gets no secrets.
        assert_eq!(ran.stderr.contains("auth:."), command == "renew", "{ran:?}");
    }
    assert_eq!(device.wrong_values(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_of_a_key_require_the_key() {
    let world = World::start().await;
    for option in ["auth-file", "state", "authority", "approval"] {
        let option = format!("--tpm-key-{option}");
        let refused = world
            .run(&["register", "--key-file", "device.key", &option, "file"])
            .await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("--tpm-key <HANDLE>"), "{refused:?}");
    }
}
