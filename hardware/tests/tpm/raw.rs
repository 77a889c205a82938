//! What the TPM itself says, asked without any library. Codes: TCG, *TPM Library*, part 2 and 3.

use dps_hardware::Swtpm;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const GET_CAPABILITY: u32 = 0x0000_017a;
const CLEAR: u32 = 0x0000_0126;
const HIERARCHY_CHANGE_AUTH: u32 = 0x0000_0129;
const CAP_HANDLES: u32 = 1;
const PASSWORD: u32 = 0x4000_0009;

pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
const LOCKOUT: u32 = 0x4000_000a;

/// Objects and sessions that somebody has left in the TPM.
pub(crate) fn left_behind(swtpm: &Swtpm) -> Vec<u32> {
    [0x8000_0000, 0x0200_0000, 0x0300_0000]
        .into_iter()
        .flat_map(|first| handles(swtpm, first))
        .collect()
}

/// What the TPM keeps.
pub(crate) fn persistent(swtpm: &Swtpm) -> Vec<u32> {
    handles(swtpm, 0x8100_0000)
}

/// Gives a hierarchy its first authorization value.
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

/// Makes it forget all keys, as a new owner does.
pub(crate) fn clear(swtpm: &Swtpm) {
    let body = [&LOCKOUT.to_be_bytes()[..], &empty_password()].concat();
    succeed(swtpm, SESSIONS, CLEAR, &body);
}

fn handles(swtpm: &Swtpm, first: u32) -> Vec<u32> {
    let body = [CAP_HANDLES, first, 64].map(u32::to_be_bytes).concat();
    let answer = succeed(swtpm, NO_SESSIONS, GET_CAPABILITY, &body);
    // After the header: whether there is more, the capability, how many.
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
fn what_is_left_behind_is_seen() {
    let swtpm = Swtpm::start();
    assert!(left_behind(&swtpm).is_empty());
    // TPM2_StartAuthSession: no key, no entity, a nonce, no secret, a policy, no encryption, SHA-256.
    let null = 0x4000_0007_u32.to_be_bytes();
    let rest = [
        &[0, 16][..],
        &[0; 16],
        &[0, 0],
        &[1],
        &[0, 0x10],
        &[0, 0x0b],
    ]
    .concat();
    let session = succeed(
        &swtpm,
        NO_SESSIONS,
        0x0000_0176,
        &[&null[..], &null, &rest].concat(),
    );
    assert_eq!(left_behind(&swtpm), [word(&session[10..])]);
}
