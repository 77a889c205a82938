//! Data in the memory of a TPM: NV indices are read, defined, written and removed.

use tss_esapi::attributes::{NvIndexAttributes, NvIndexAttributesBuilder};
use tss_esapi::constants::{CapabilityType, NvIndexType, PropertyTag};
use tss_esapi::handles::{NvIndexHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{CapabilityData, MaxNvBuffer, NvPublic, NvPublicBuilder};

use super::connection::Connection;
use super::error::TpmError;
use super::nv_index::NvIndex;
use super::nv_problem::NvProblem;

/// The part that is read and written at once, where the TPM does not report its own limit. Every TPM supports it.
const SMALLEST_PART: usize = 512;

/// An NV index that exists.
pub(super) struct Nv {
    index: NvIndex,
    handle: NvIndexHandle,
    public: NvPublic,
}

impl Nv {
    /// True for an index that the owner has defined for data and can replace, and that no one has locked.
    pub(super) fn check_replaceable(&self) -> Result<(), TpmError> {
        let attributes = self.public.attributes();
        self.check_data()?;
        if attributes.write_locked() {
            return Err(self.problem(NvProblem::Locked, "is locked against writing"));
        }
        if !attributes.owner_write() || attributes.platform_create() || attributes.policy_delete() {
            return Err(self.problem(
                NvProblem::Attributes,
                "belongs to another program or to the platform, and is not replaced",
            ));
        }
        Ok(())
    }

    fn check_data(&self) -> Result<(), TpmError> {
        match self.public.attributes().index_type() {
            Ok(NvIndexType::Ordinary) => Ok(()),
            _ => Err(self.problem(NvProblem::Attributes, "is not an index for data")),
        }
    }

    /// The authorization for reading: the index's own value, which is expected to be empty, or the owner's.
    fn reader(&self) -> Result<NvAuth, TpmError> {
        let attributes: NvIndexAttributes = self.public.attributes();
        match () {
            () if attributes.auth_read() && attributes.no_da() => Ok(NvAuth::NvIndex(self.handle)),
            () if attributes.owner_read() => Ok(NvAuth::Owner),
            // A value that is not empty makes this a wrong attempt, which the TPM counts.
            () if attributes.auth_read() => Ok(NvAuth::NvIndex(self.handle)),
            () => Err(self.problem(
                NvProblem::Attributes,
                "can be read with a policy or by the platform only",
            )),
        }
    }

    fn problem(&self, problem: NvProblem, what: &str) -> TpmError {
        TpmError::nv(problem, format!("the NV index {} {what}", self.index))
    }
}

impl Connection<'_> {
    /// The index with this number. `None` if the TPM has none.
    ///
    /// Asks for the list of handles first, because the TSS logs an error for reading an index that does not exist.
    pub(super) fn nv(&mut self, index: NvIndex) -> Result<Option<Nv>, TpmError> {
        let (handles, _) = self.plain("TPM2_GetCapability", |context| {
            context.get_capability(CapabilityType::Handles, index.value(), 1)
        })?;
        let exists = match handles {
            CapabilityData::Handles(handles) => {
                handles.first().map(|first| u32::from(*first)) == Some(index.value())
            }
            _ => false,
        };
        if !exists {
            return Ok(None);
        }
        let handle: NvIndexHandle = self
            .plain("TPM2_NV_ReadPublic", |context| {
                context.tr_from_tpm_public(TpmHandle::NvIndex(index.to_tss()?))
            })?
            .into();
        let (public, _) = self.plain("TPM2_NV_ReadPublic", |context| {
            context.nv_read_public(handle)
        })?;
        Ok(Some(Nv {
            index,
            handle,
            public,
        }))
    }

    /// The whole content of an index, in as many parts as the TPM requires.
    pub(super) fn nv_read(&mut self, nv: &Nv) -> Result<Vec<u8>, TpmError> {
        nv.check_data()?;
        let attributes = nv.public.attributes();
        if !attributes.written() {
            return Err(nv.problem(NvProblem::Blank, "was never written"));
        }
        if attributes.read_locked() {
            return Err(nv.problem(NvProblem::Locked, "is locked against reading"));
        }
        let (reader, part) = (nv.reader()?, self.part()?);
        let size = nv.public.data_size();
        let mut content = Vec::with_capacity(size);
        while content.len() < size {
            let (expected, offset) = (part.min(size - content.len()), content.len());
            let (length, offset) = (short(expected)?, short(offset)?);
            let read = self.authorized("TPM2_NV_Read", |context| {
                context.nv_read(reader, nv.handle, length, offset)
            })?;
            if read.len() != expected {
                return Err(TpmError::refused(format!(
                    "the TPM returned {} bytes of the NV index {}, not {expected}",
                    read.len(),
                    nv.index
                )));
            }
            content.extend_from_slice(read.value());
        }
        // The first part is written last: see `nv_create`. A part that was not written is 0xff.
        if content.iter().take(part).all(|byte| *byte == 0xff) {
            return Err(nv.problem(NvProblem::Blank, "is blank: its writing was not completed"));
        }
        Ok(content)
    }

    /// Defines an index of the owner that everyone may read, and writes its content.
    ///
    /// The first part is written last: as long as the content is incomplete, it begins with 0xff.
    pub(super) fn nv_create(&mut self, index: NvIndex, content: &[u8]) -> Result<(), TpmError> {
        let part = self.part()?;
        let handle = self.nv_define(index, content.len())?;
        for (number, bytes) in content.chunks(part).enumerate().rev() {
            let offset = short(number * part)?;
            self.authorized("TPM2_NV_Write", |context| {
                let data = MaxNvBuffer::try_from(bytes)?;
                context.nv_write(NvAuth::Owner, handle, data, offset)
            })?;
        }
        Ok(())
    }

    /// Checks that an index of this size can be defined: it is defined and removed again.
    pub(super) fn nv_check_space(&mut self, index: NvIndex, size: usize) -> Result<(), TpmError> {
        let handle = self.nv_define(index, size)?;
        self.nv_undefine(handle)
    }

    fn nv_define(&mut self, index: NvIndex, size: usize) -> Result<NvIndexHandle, TpmError> {
        self.authorized("TPM2_NV_DefineSpace", |context| {
            let public = NvPublicBuilder::new()
                .with_nv_index(index.to_tss()?)
                .with_index_name_algorithm(HashingAlgorithm::Sha256)
                .with_index_attributes(owners_data()?)
                .with_data_area_size(size)
                .build()?;
            context.nv_define_space(Provision::Owner, None, public)
        })
    }

    /// Removes an index with its content.
    pub(super) fn nv_remove(&mut self, nv: Nv) -> Result<(), TpmError> {
        self.nv_undefine(nv.handle)
    }

    fn nv_undefine(&mut self, handle: NvIndexHandle) -> Result<(), TpmError> {
        self.authorized("TPM2_NV_UndefineSpace", |context| {
            context.nv_undefine_space(Provision::Owner, handle)
        })
    }

    pub(super) fn nv_check_size(&mut self, size: usize) -> Result<(), TpmError> {
        let largest = self.property(PropertyTag::NvIndexMax)?;
        let largest = largest.map_or(usize::from(u16::MAX), |largest| {
            largest.min(u16::MAX.into()) as usize
        });
        match size <= largest {
            true => Ok(()),
            false => Err(TpmError::nv(
                NvProblem::TooLarge,
                format!(
                    "the data has {size} bytes, and an NV index of this TPM has at most {largest}"
                ),
            )),
        }
    }

    /// The number of bytes that are read or written at once.
    fn part(&mut self) -> Result<usize, TpmError> {
        let largest = self.property(PropertyTag::NvBufferMax)?;
        Ok(
            match largest.and_then(|largest| usize::try_from(largest).ok()) {
                Some(0) | None => SMALLEST_PART,
                Some(largest) => largest.min(MaxNvBuffer::MAX_SIZE),
            },
        )
    }

    fn property(&mut self, tag: PropertyTag) -> Result<Option<u32>, TpmError> {
        self.plain("TPM2_GetCapability", |context| {
            context.get_tpm_property(tag)
        })
    }
}

/// Only the owner writes; the owner and everyone else read. Wrong authorization values do not lock the TPM.
fn owners_data() -> tss_esapi::Result<NvIndexAttributes> {
    NvIndexAttributesBuilder::new()
        .with_owner_write(true)
        .with_owner_read(true)
        .with_auth_read(true)
        .with_no_da(true)
        .build()
}

/// Sizes and offsets within an index have 16 bits, as the size of the index has.
fn short(number: usize) -> Result<u16, TpmError> {
    u16::try_from(number).map_err(|_| TpmError::refused("an NV index has at most 65,535 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_a_new_index_are_those_of_data() {
        // TPMA_NV: OWNERWRITE, OWNERREAD, AUTHREAD, NO_DA. Source: TCG, *TPM Library*, part 2 chapter 13.4.
        let attributes = u32::try_from(owners_data().unwrap()).unwrap();
        assert_eq!(attributes, 0x0206_0002);
    }
}
