//! A message queue on disk: segments that are only appended to, in which every record has a checksum.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dps_types::sealed::checksum;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::queue::MessageQueue;
use crate::private_file::regular_file;

/// A segment is closed when it has this many bytes.
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// Messages are smaller. A larger length is a sign of damage.
const MAX_BODY: usize = 1024 * 1024;
const EXTENSION: &str = "queue";

/// Checksum, number, and length with the kind of the record in its highest bit.
const HEADER: usize = 8 + 8 + 4;
const REMOVAL: u32 = 1 << 31;

/// Keeps messages in a directory, over restarts of the program and power failures.
///
/// A message is flushed to the disk before it is accepted. Removals are not flushed: after a power failure, messages that the hub
/// has acknowledged shortly before may be sent again. A record that is damaged is skipped, as are those after it in its segment of
/// one megabyte, and the damage is logged.
///
/// Only the owner can read the files (mode 600). Only one program may use the directory at a time.
///
/// ```no_run
/// use dps_device::{ConnectOptions, FileQueue};
///
/// let options = ConnectOptions::new().with_queue(FileQueue::new("/var/lib/toaster/queue"));
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct FileQueue {
    directory: PathBuf,
    segments: Arc<Mutex<Option<Segments>>>,
}

impl FileQueue {
    /// Uses this directory, which is created if it is missing.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            segments: Arc::default(),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Segments) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (directory, segments) = (self.directory.clone(), Arc::clone(&self.segments));
        let done = spawn_blocking(move || {
            let mut segments = segments.lock().unwrap_or_else(PoisonError::into_inner);
            let segments = match &mut *segments {
                Some(segments) => segments,
                none => none.insert(Segments::open(&directory)?),
            };
            work(segments)
        });
        done.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl MessageQueue for FileQueue {
    async fn load(&self) -> io::Result<Vec<(u64, usize)>> {
        let list = |segments: &mut Segments| {
            let places = segments.places.iter();
            Ok(places
                .map(|(number, place)| (*number, place.length))
                .collect())
        };
        self.blocking(list).await
    }

    async fn push(&self, number: u64, message: Vec<u8>) -> io::Result<()> {
        self.blocking(move |segments| segments.push(number, &message))
            .await
    }

    async fn get(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        self.blocking(move |segments| segments.get(number)).await
    }

    async fn remove(&self, number: u64) -> io::Result<()> {
        self.blocking(move |segments| segments.remove(number)).await
    }
}

/// The files of a queue. A segment is deleted only if all older ones are, because it may record removals of their messages.
#[derive(Debug)]
struct Segments {
    directory: PathBuf,
    /// Every segment, the oldest first: its id, and the number of messages in it.
    all: VecDeque<(u64, usize)>,
    places: BTreeMap<u64, Place>,
    current: Option<(File, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
    length: usize,
}

impl Segments {
    /// Reads the existing segments. Nothing is appended to an old segment, since its end may be damaged.
    fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut segments = Self {
            directory: directory.to_owned(),
            all: VecDeque::new(),
            places: BTreeMap::new(),
            current: None,
        };
        let mut ids = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let id: Option<u64> = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                ids.extend(id);
            }
        }
        ids.sort_unstable();
        for id in ids {
            segments.all.push_back((id, 0));
            segments.read(id)?;
        }
        segments.delete_empty()?;
        Ok(segments)
    }

    fn read(&mut self, id: u64) -> io::Result<()> {
        regular_file(&self.path(id))?;
        let mut file = io::BufReader::new(File::open(self.path(id))?);
        let mut offset = 0;
        loop {
            match read_record(&mut file)? {
                Record::Message(number, length) => {
                    let place = Place {
                        segment: id,
                        offset,
                        length,
                    };
                    self.forget(number);
                    self.places.insert(number, place);
                    self.count(id, 1);
                    offset += (HEADER + length) as u64;
                }
                Record::Removal(number) => {
                    self.forget(number);
                    offset += HEADER as u64;
                }
                Record::End => return Ok(()),
                Record::Damaged => {
                    let path = self.path(id);
                    warn!(path = %path.display(), offset, "the rest of this part of the message queue is damaged and ignored");
                    return Ok(());
                }
            }
        }
    }

    fn push(&mut self, number: u64, message: &[u8]) -> io::Result<()> {
        if message.len() > MAX_BODY {
            let what = format!("a queued message has more than {MAX_BODY} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let (segment, offset) = self.append(&record(number, 0, message))?;
        if let Some((file, _)) = &self.current {
            file.sync_data()?;
        }
        let place = Place {
            segment,
            offset,
            length: message.len(),
        };
        self.forget(number);
        self.places.insert(number, place);
        self.count(segment, 1);
        Ok(())
    }

    fn get(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(place) = self.places.get(&number) else {
            return Ok(None);
        };
        let mut file = File::open(self.path(place.segment))?;
        file.seek(SeekFrom::Start(place.offset))?;
        let length = HEADER + place.length;
        let mut bytes = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut bytes)?;
        let body = bytes.split_off(HEADER.min(bytes.len()));
        let is_whole = record(number, 0, &body).get(..HEADER) == Some(bytes.as_slice());
        Ok(is_whole.then_some(body))
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        if !self.places.contains_key(&number) {
            return Ok(());
        }
        self.append(&record(number, REMOVAL, b""))?;
        self.forget(number);
        self.delete_empty()
    }

    /// Appends to the current segment. After a failure nothing more is appended to it, because its end may be damaged.
    fn append(&mut self, record: &[u8]) -> io::Result<(u64, u64)> {
        let (mut file, length) = match self.current.take() {
            Some((file, length)) if length < SEGMENT_BYTES => (file, length),
            _ => (self.create()?, 0),
        };
        file.write_all(record)?;
        self.current = Some((file, length + record.len() as u64));
        let id = self.all.back().map_or(0, |(id, _)| *id);
        Ok((id, length))
    }

    fn create(&mut self) -> io::Result<File> {
        let id = self.all.back().map_or(1, |(id, _)| id.saturating_add(1));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path(id))?;
        if cfg!(unix) {
            File::open(&self.directory)?.sync_all()?;
        }
        self.all.push_back((id, 0));
        Ok(file)
    }

    /// Deletes the oldest segments while they have no message. The current one stays.
    fn delete_empty(&mut self) -> io::Result<()> {
        while let Some((id, 0)) = self.all.front() {
            if self.current.is_some() && self.all.len() == 1 {
                return Ok(());
            }
            fs::remove_file(self.path(*id))?;
            self.all.pop_front();
        }
        Ok(())
    }

    fn forget(&mut self, number: u64) {
        if let Some(place) = self.places.remove(&number) {
            self.count(place.segment, -1);
        }
    }

    fn count(&mut self, segment: u64, change: isize) {
        if let Some((_, messages)) = self.all.iter_mut().find(|(id, _)| *id == segment) {
            *messages = messages.saturating_add_signed(change);
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:020}.{EXTENSION}"))
    }
}

enum Record {
    Message(u64, usize),
    Removal(u64),
    End,
    Damaged,
}

fn record(number: u64, kind: u32, body: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    let length = (body.len() as u32 | kind).to_be_bytes();
    let checksum = checksum(&[&number, &length, body]);
    [&checksum, &number, &length[..], body].concat()
}

fn read_record(file: &mut impl Read) -> io::Result<Record> {
    let mut header = Vec::with_capacity(HEADER);
    file.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
    let Ok(header) = <[u8; HEADER]>::try_from(header.as_slice()) else {
        return Ok(if header.is_empty() {
            Record::End
        } else {
            Record::Damaged
        });
    };
    let (mut number, mut length) = ([0; 8], [0; 4]);
    number.copy_from_slice(&header[8..16]);
    length.copy_from_slice(&header[16..]);
    let (number, length) = (u64::from_be_bytes(number), u32::from_be_bytes(length));
    let (kind, length) = (length & REMOVAL, (length & !REMOVAL) as usize);
    if length > MAX_BODY {
        return Ok(Record::Damaged);
    }
    let mut body = Vec::with_capacity(length);
    file.by_ref().take(length as u64).read_to_end(&mut body)?;
    if body.len() < length || !record(number, kind, &body).starts_with(&header) {
        return Ok(Record::Damaged);
    }
    Ok(match kind {
        REMOVAL => Record::Removal(number),
        _ => Record::Message(number, length),
    })
}
