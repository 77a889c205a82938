//! Asks the TPM without a library. The codes are those of TCG, *TPM Library*, parts 2 and 3.

use dps_hardware::Swtpm;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const GET_CAPABILITY: u32 = 0x0000_017a;
const START_AUTH_SESSION: u32 = 0x0000_0176;
const CREATE_PRIMARY: u32 = 0x0000_0131;
const EVICT_CONTROL: u32 = 0x0000_0120;
const NV_DEFINE_SPACE: u32 = 0x0000_012a;
const NV_WRITE: u32 = 0x0000_0137;
const NV_WRITE_LOCK: u32 = 0x0000_0138;
const NV_READ_LOCK: u32 = 0x0000_014f;
const NV_SPACE: u32 = 0x14b;
const CLEAR: u32 = 0x0000_0126;
const FLUSH_CONTEXT: u32 = 0x0000_0165;
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

/// Removes the objects and sessions that are loaded, as a resource manager does when a program ends.
pub(crate) fn flush(swtpm: &Swtpm) {
    for handle in left_behind(swtpm) {
        succeed(swtpm, NO_SESSIONS, FLUSH_CONTEXT, &handle.to_be_bytes());
    }
}

/// Defines an NV index of the owner. Returns false if the TPM has no space.
pub(crate) fn define(swtpm: &Swtpm, index: u32, attributes: u32, size: u16) -> bool {
    let public = [
        &index.to_be_bytes()[..],
        // SHA-256.
        &[0, 0x0b],
        &attributes.to_be_bytes(),
        // No policy.
        &[0, 0],
        &size.to_be_bytes(),
    ]
    .concat();
    let body = [
        &OWNER.to_be_bytes()[..],
        &empty_password(),
        // No authorization value.
        &[0, 0],
        &sized(&public),
    ]
    .concat();
    let answer = transmit(swtpm, SESSIONS, NV_DEFINE_SPACE, &body);
    match word(&answer[6..]) {
        0 => true,
        NV_SPACE => false,
        code => panic!("response code of TPM2_NV_DefineSpace: {code:#x}"),
    }
}

/// Leaves no space for another object or NV index.
pub(crate) fn fill_memory(swtpm: &Swtpm) {
    // A TPM keeps space for some objects free of indices, so the objects come first.
    let key = signing_key(swtpm);
    let mut handle = 0x8100_0300_u32;
    while persist(swtpm, key, handle) {
        handle += 1;
    }
    succeed(swtpm, NO_SESSIONS, FLUSH_CONTEXT, &key.to_be_bytes());
    let mut index = 0x0181_0000;
    for size in [2048, 512, 128, 32, 8, 1] {
        while define(swtpm, index, 0x0206_0002, size) {
            index += 1;
        }
    }
}

/// Creates a signing key in the owner hierarchy and returns its handle.
fn signing_key(swtpm: &Swtpm) -> u32 {
    // ECC, SHA-256, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign, no policy, no scheme, P-256, a new point.
    let public = [
        0, 0x23, 0, 0x0b, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0, 0,
    ];
    let body = [
        &OWNER.to_be_bytes()[..],
        &empty_password(),
        // An empty authorization value and no data.
        &sized(&[0; 4]),
        &sized(&public),
        // No data from outside, and no PCR.
        &[0; 6],
    ]
    .concat();
    let answer = succeed(swtpm, SESSIONS, CREATE_PRIMARY, &body);
    word(&answer[10..])
}

/// Stores a loaded object. Returns false if the TPM has no space.
fn persist(swtpm: &Swtpm, object: u32, handle: u32) -> bool {
    let handles = [OWNER.to_be_bytes(), object.to_be_bytes()].concat();
    let body = [&handles[..], &empty_password(), &handle.to_be_bytes()].concat();
    let answer = transmit(swtpm, SESSIONS, EVICT_CONTROL, &body);
    match word(&answer[6..]) {
        0 => true,
        NV_SPACE => false,
        code => panic!("response code of TPM2_EvictControl: {code:#x}"),
    }
}

/// Writes to an NV index as the owner.
pub(crate) fn write(swtpm: &Swtpm, index: u32, offset: u16, data: &[u8]) {
    let data = [&sized(data)[..], &offset.to_be_bytes()].concat();
    on_index(swtpm, NV_WRITE, index, &data);
}

/// Locks an NV index against writing, as the owner.
pub(crate) fn lock_writing(swtpm: &Swtpm, index: u32) {
    on_index(swtpm, NV_WRITE_LOCK, index, &[]);
}

/// Locks an NV index against reading until the next restart, as the owner.
pub(crate) fn lock_reading(swtpm: &Swtpm, index: u32) {
    on_index(swtpm, NV_READ_LOCK, index, &[]);
}

/// The NV indices of the TPM.
pub(crate) fn indices(swtpm: &Swtpm) -> Vec<u32> {
    handles(swtpm, 0x0100_0000)
}

fn on_index(swtpm: &Swtpm, command: u32, index: u32, parameters: &[u8]) {
    let handles = [OWNER.to_be_bytes(), index.to_be_bytes()].concat();
    let body = [&handles[..], &empty_password(), parameters].concat();
    succeed(swtpm, SESSIONS, command, &body);
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
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
    let answer = transmit(swtpm, tag, command, body);
    assert_eq!(word(&answer[6..]), 0, "response code of {command:#x}");
    answer
}

fn transmit(swtpm: &Swtpm, tag: u16, command: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + body.len()).unwrap();
    let bytes = [
        &tag.to_be_bytes()[..],
        &length.to_be_bytes(),
        &command.to_be_bytes(),
        body,
    ];
    swtpm.transmit(&bytes.concat())
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
    flush(&swtpm);
    assert!(left_behind(&swtpm).is_empty());
}
