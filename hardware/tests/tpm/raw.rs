//! Asks the TPM without a library. The codes are those of TCG, *TPM Library*, parts 2 and 3.

use dps_hardware::Swtpm;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const GET_CAPABILITY: u32 = 0x0000_017a;
const START_AUTH_SESSION: u32 = 0x0000_0176;
const CLEAR: u32 = 0x0000_0126;
const HIERARCHY_CHANGE_AUTH: u32 = 0x0000_0129;
const CAP_HANDLES: u32 = 1;
const PASSWORD: u32 = 0x4000_0009;

pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
const LOCKOUT: u32 = 0x4000_000a;

/// The objects and sessions that are loaded in the TPM.
pub(crate) fn left_behind(swtpm: &Swtpm) -> Vec<u32> {
    [0x8000_0000, 0x0200_0000, 0x0300_0000]
        .into_iter()
        .flat_map(|first| handles(swtpm, first))
        .collect()
}

/// The persistent objects of the TPM.
pub(crate) fn persistent(swtpm: &Swtpm) -> Vec<u32> {
    handles(swtpm, 0x8100_0000)
}

/// Sets the first authorization value of a hierarchy.
pub(crate) fn set_auth(swtpm: &Swtpm, hierarchy: u32, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap();
    let body = [
        &hierarchy.to_be_bytes()[..],
        &empty_password(),
        &length.to_be_bytes(),
        value,
    ]
    .concat();
    succeed(swtpm, SESSIONS, HIERARCHY_CHANGE_AUTH, &body);
}

/// Clears the TPM, as a new owner does: all keys are removed.
pub(crate) fn clear(swtpm: &Swtpm) {
    let body = [&LOCKOUT.to_be_bytes()[..], &empty_password()].concat();
    succeed(swtpm, SESSIONS, CLEAR, &body);
}

/// Starts a session and does not end it, like a program that crashes without a resource manager.
pub(crate) fn leave_session(swtpm: &Swtpm) -> u32 {
    let null = 0x4000_0007_u32.to_be_bytes();
    let body = [
        // No key, no entity.
        &null[..],
        &null,
        // A nonce, no secret, a policy, no encryption, SHA-256.
        &[0, 16],
        &[0; 16],
        &[0, 0],
        &[1],
        &[0, 0x10],
        &[0, 0x0b],
    ];
    let answer = succeed(swtpm, NO_SESSIONS, START_AUTH_SESSION, &body.concat());
    word(&answer[10..])
}

fn handles(swtpm: &Swtpm, first: u32) -> Vec<u32> {
    let body = [CAP_HANDLES, first, 64].map(u32::to_be_bytes).concat();
    let answer = succeed(swtpm, NO_SESSIONS, GET_CAPABILITY, &body);
    // After the header: a flag for more data, the capability, the count.
    let count = word(&answer[15..]);
    let listed = answer[19..].chunks(4).map(word).collect::<Vec<_>>();
    assert_eq!(u32::try_from(listed.len()), Ok(count));
    listed
}

fn empty_password() -> Vec<u8> {
    [&9_u32.to_be_bytes()[..], &PASSWORD.to_be_bytes(), &[0; 5]].concat()
}

fn succeed(swtpm: &Swtpm, tag: u16, command: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + body.len()).unwrap();
    let bytes = [
        &tag.to_be_bytes()[..],
        &length.to_be_bytes(),
        &command.to_be_bytes(),
        body,
    ];
    let answer = swtpm.transmit(&bytes.concat());
    assert_eq!(word(&answer[6..]), 0, "response code of {command:#x}");
    answer
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().unwrap())
}

#[test]
fn a_session_that_was_not_ended_is_listed() {
    let swtpm = Swtpm::start();
    assert!(left_behind(&swtpm).is_empty());
    let session = leave_session(&swtpm);
    assert_eq!(left_behind(&swtpm), [session]);
}
