//! Kinds of damage to a file.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::common::Result;
use crate::common::random::Random;

/// The size of a page of the stores.
const PAGE: usize = 4096;
/// The length of a huge file. It has no blocks on the disk.
const HUGE: u64 = 2 * 1024 * 1024 * 1024;

/// The damage to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    OneByte,
    FirstPage,
    Half,
    WithoutLastByte,
    WithoutLastPage,
    FlippedFirstByte,
    FlippedInHeader,
    FlippedAtQuarter,
    FlippedInMiddle,
    FlippedAtThreeQuarters,
    FlippedLastByte,
    FlippedAnywhere,
    ManyFlipped,
    OverwrittenInMiddle,
    FirstPageZero,
    MiddlePageZero,
    LastPageZero,
    SecondHalfZero,
    AllZeros,
    AllOnes,
    RandomContent,
    ByteAppended,
    PageOfZerosAppended,
    GarbageAppended,
    Doubled,
    PagesSwapped,
    HalvesSwapped,
    OldCopy,
    CopyOfOtherFile,
    OtherText,
    OtherJson,
    LineEnds,
    ByteOrderMark,
    Huge,
    FolderInPlace,
    LinkToItself,
    LinkToNothing,
    LinkToCopy,
    LinkToZeros,
    NamedPipe,
}

/// Every kind.
pub(super) const KINDS: [Kind; 41] = [
    Kind::Empty,
    Kind::OneByte,
    Kind::FirstPage,
    Kind::Half,
    Kind::WithoutLastByte,
    Kind::WithoutLastPage,
    Kind::FlippedFirstByte,
    Kind::FlippedInHeader,
    Kind::FlippedAtQuarter,
    Kind::FlippedInMiddle,
    Kind::FlippedAtThreeQuarters,
    Kind::FlippedLastByte,
    Kind::FlippedAnywhere,
    Kind::ManyFlipped,
    Kind::OverwrittenInMiddle,
    Kind::FirstPageZero,
    Kind::MiddlePageZero,
    Kind::LastPageZero,
    Kind::SecondHalfZero,
    Kind::AllZeros,
    Kind::AllOnes,
    Kind::RandomContent,
    Kind::ByteAppended,
    Kind::PageOfZerosAppended,
    Kind::GarbageAppended,
    Kind::Doubled,
    Kind::PagesSwapped,
    Kind::HalvesSwapped,
    Kind::OldCopy,
    Kind::CopyOfOtherFile,
    Kind::OtherText,
    Kind::OtherJson,
    Kind::LineEnds,
    Kind::ByteOrderMark,
    Kind::Huge,
    Kind::FolderInPlace,
    Kind::LinkToItself,
    Kind::LinkToNothing,
    Kind::LinkToCopy,
    Kind::LinkToZeros,
    Kind::NamedPipe,
];

/// The other files that a kind of damage uses.
pub(super) struct Sources<'a> {
    /// An earlier copy of the file.
    pub(super) old: &'a [u8],
    /// Another file of the same program.
    pub(super) other: &'a [u8],
}

impl Kind {
    /// True if the file still has, or leads to, what it had.
    pub(super) fn is_harmless(self) -> bool {
        self == Self::LinkToCopy
    }

    /// Damages the file.
    pub(super) fn apply(
        self,
        path: &Path,
        sources: &Sources<'_>,
        random: &mut Random,
    ) -> Result<()> {
        let before = fs::read(path)?;
        if let Some(content) = self.content(&before, sources, random) {
            return Ok(fs::write(path, content)?);
        }
        if self == Self::Huge {
            let mut file = File::options().write(true).open(path)?;
            file.seek(SeekFrom::Start(HUGE))?;
            return Ok(file.write_all(b"\n")?);
        }
        let copy = path.with_extension("copy");
        fs::rename(path, &copy)?;
        let link = |to: &Path| std::os::unix::fs::symlink(to, path);
        match self {
            Self::FolderInPlace => fs::create_dir(path)?,
            Self::LinkToItself => link(path)?,
            Self::LinkToNothing => link(&path.with_extension("missing"))?,
            Self::LinkToCopy => return Ok(link(&copy)?),
            Self::LinkToZeros => link(Path::new("/dev/zero"))?,
            _ => {
                let made = std::process::Command::new("mkfifo").arg(path).status()?;
                if !made.success() {
                    return Err(format!("mkfifo: {made}").into());
                }
            }
        }
        Ok(fs::remove_file(&copy)?)
    }

    /// The new content, for the kinds that change the content only.
    fn content(self, before: &[u8], sources: &Sources<'_>, random: &mut Random) -> Option<Vec<u8>> {
        let len = before.len();
        let mut after = before.to_vec();
        let flip = |after: &mut Vec<u8>, at: usize, bit: u64| {
            let at = at.min(len.saturating_sub(1));
            if let Some(byte) = after.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        };
        let fill = |after: &mut Vec<u8>, from: usize, to: usize, byte: u8| {
            after[from.min(len)..to.min(len)].fill(byte);
        };
        let bit = random.next();
        match self {
            Self::Empty => after.clear(),
            Self::OneByte => after.truncate(1),
            Self::FirstPage => after.truncate(PAGE.min(len / 4)),
            Self::Half => after.truncate(len / 2),
            Self::WithoutLastByte => after.truncate(len - 1),
            Self::WithoutLastPage => after.truncate(len.saturating_sub(PAGE.min(len / 4))),
            Self::FlippedFirstByte => flip(&mut after, 0, bit),
            Self::FlippedInHeader => flip(&mut after, 1 + random.below(60) as usize, bit),
            Self::FlippedAtQuarter => flip(&mut after, len / 4, bit),
            Self::FlippedInMiddle => flip(&mut after, len / 2, bit),
            Self::FlippedAtThreeQuarters => flip(&mut after, len / 4 * 3, bit),
            Self::FlippedLastByte => flip(&mut after, len, bit),
            Self::FlippedAnywhere => flip(&mut after, random.below(len as u64) as usize, bit),
            Self::ManyFlipped => {
                for _ in 0..100 {
                    flip(&mut after, random.below(len as u64) as usize, random.next());
                }
            }
            Self::OverwrittenInMiddle => {
                for byte in after.iter_mut().skip(len / 2).take(16) {
                    *byte = random.next() as u8;
                }
            }
            Self::FirstPageZero => fill(&mut after, 0, PAGE.min(len / 2), 0),
            Self::MiddlePageZero => fill(&mut after, len / 2, len / 2 + PAGE, 0),
            Self::LastPageZero => fill(&mut after, len.saturating_sub(PAGE.min(len / 2)), len, 0),
            Self::SecondHalfZero => fill(&mut after, len / 2, len, 0),
            Self::AllZeros => after.fill(0),
            Self::AllOnes => after.fill(0xFF),
            Self::RandomContent => after.fill_with(|| random.next() as u8),
            Self::ByteAppended => after.push(bit as u8),
            Self::PageOfZerosAppended => after.resize(len + PAGE, 0),
            Self::GarbageAppended => after.extend((0..PAGE).map(|_| random.next() as u8)),
            Self::Doubled => after.extend_from_slice(before),
            Self::PagesSwapped => {
                let page = PAGE.min(len / 4);
                let second = after.split_off(page);
                after.splice(0..0, second[..page].to_vec());
                after.extend_from_slice(&second[page..]);
            }
            Self::HalvesSwapped => after.rotate_left(len / 2),
            Self::OldCopy => after = sources.old.to_vec(),
            Self::CopyOfOtherFile => after = sources.other.to_vec(),
            Self::OtherText => after = b"# a file of another program\n".to_vec(),
            Self::OtherJson => after = br#"{"name":"another","version":7}"#.to_vec(),
            Self::LineEnds => {
                after = before
                    .iter()
                    .flat_map(|byte| match byte {
                        b'\n' => vec![b'\r', b'\n'],
                        other => vec![*other],
                    })
                    .collect();
            }
            Self::ByteOrderMark => {
                after.splice(0..0, *b"\xEF\xBB\xBF");
            }
            _ => return None,
        }
        Some(after)
    }
}
