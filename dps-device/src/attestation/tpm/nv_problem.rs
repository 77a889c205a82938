//! The reasons why data in the memory of a TPM cannot be used.

/// The reason why an NV index cannot be used: [`TpmError::nv_problem`](super::TpmError::nv_problem).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NvProblem {
    /// The attributes of the index do not allow the access, or the index is not for data: a counter or bits.
    Attributes,
    /// The index was defined, but has no content: it was never written, or the writing was interrupted.
    Blank,
    /// The content is not what was expected. It is not changed.
    Content,
    /// The index is locked, until the next restart of the TPM or permanently.
    Locked,
    /// The TPM has no space left: remove an index or a persistent key that is not used.
    NoSpace,
    /// The TPM has no such index.
    NotFound,
    /// The data is larger than an index of this TPM can be.
    TooLarge,
}
