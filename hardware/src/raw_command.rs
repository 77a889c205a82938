//! Commands of a TPM without a library: what firmware and the owner of a device do. Source: TCG, *TPM Library*, part 3.

use crate::swtpm::Swtpm;

const SESSIONS: u16 = 0x8002;
const HIERARCHY_CHANGE_AUTH: u32 = 0x0000_0129;
const PCR_EXTEND: u32 = 0x0000_0182;
const PASSWORD: u32 = 0x4000_0009;

impl Swtpm {
    /// Extends a PCR of the SHA-256 and SHA-384 banks, as the start of other software does.
    ///
    /// # Panics
    /// If the TPM refuses it.
    pub fn extend_pcr(&self, pcr: u32) {
        self.succeed(&Self::pcr_extension(pcr));
    }

    /// The command of [`extend_pcr`](Self::extend_pcr).
    pub fn pcr_extension(pcr: u32) -> Vec<u8> {
        // Two digests, each with its algorithm.
        let digests = [
            &[0, 0, 0, 2, 0, 0x0b][..],
            &[0x77; 32],
            &[0, 0x0c],
            &[0x77; 48],
        ];
        authorized(PCR_EXTEND, pcr, &digests.concat())
    }

    /// Sets the first authorization value of a hierarchy.
    ///
    /// # Panics
    /// If the TPM refuses it.
    pub fn set_auth(&self, hierarchy: u32, value: &[u8]) {
        let length = u16::try_from(value.len()).expect("a short value");
        let value = [&length.to_be_bytes(), value].concat();
        self.succeed(&authorized(HIERARCHY_CHANGE_AUTH, hierarchy, &value));
    }

    fn succeed(&self, command: &[u8]) {
        let answer = self.transmit(command);
        assert_eq!(&answer[6..10], [0; 4], "the response code is not success");
    }
}

/// A command on this handle, whose authorization value is empty.
fn authorized(command: u32, handle: u32, parameters: &[u8]) -> Vec<u8> {
    let body = [
        &command.to_be_bytes()[..],
        &handle.to_be_bytes(),
        // One password session: an empty nonce, no attributes, an empty value.
        &9_u32.to_be_bytes(),
        &PASSWORD.to_be_bytes(),
        &[0; 5],
        parameters,
    ]
    .concat();
    let length = u32::try_from(6 + body.len()).expect("a short command");
    let header = [&SESSIONS.to_be_bytes()[..], &length.to_be_bytes()].concat();
    [header, body].concat()
}
