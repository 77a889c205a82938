//! A credential store in two files that are replaced atomically.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::warn;
use zeroize::Zeroizing;

use super::credential::Credential;
use super::store::{CredentialStore, StoredCredentials};
use crate::private_file::{Disk, FileSystem, check_writable, replace, too_long, with_suffix};

/// Keeps the credential in a file, and the next one in a second file whose name ends in `.next`. Each holds a key and its chain
/// together, and is replaced atomically: after a power failure there is at least one usable pair.
///
/// Only the owner can read the files (mode 600). They hold the private key if it is in memory, and only the name of a key in
/// hardware. They have a checksum, and a damaged file is logged and left out: without another one, the device requests a new
/// certificate. A file of an earlier program without a checksum is read. Only one program may use the files at a time.
///
/// ```
/// use dps_device::certificate::CredentialFile;
///
/// let store = CredentialFile::new("/var/lib/toaster/credential.json");
/// assert!(store.path().ends_with("credential.json"));
/// ```
#[derive(Debug, Clone)]
pub struct CredentialFile {
    path: PathBuf,
    /// Held during each use of the files, even after the caller's future was dropped, so that reads and writes keep their order.
    turn: Arc<Mutex<()>>,
}

impl CredentialFile {
    /// Uses this file. Its directory must exist, on a disk that survives a restart.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            turn: Arc::default(),
        }
    }

    /// The path of the current credential.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Files<Disk>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let files = Files::new(Disk, &self.path);
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(files)
        });
        done.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl CredentialStore for CredentialFile {
    async fn load(&self) -> io::Result<StoredCredentials> {
        self.blocking(|files| files.load()).await
    }

    async fn check_writable(&self, _: &[&str]) -> io::Result<()> {
        self.blocking(|files| check_writable(&files.system, &files.next, USUAL_BYTES))
            .await
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        let json = credential.to_json().map_err(too_long)?;
        self.blocking(move |files| files.save_next(&json)).await
    }

    async fn confirm_next(&self) -> io::Result<()> {
        self.blocking(|files| files.confirm_next()).await
    }

    async fn clear(&self) -> io::Result<()> {
        self.blocking(|files| files.clear()).await
    }
}

/// The space that a document needs: a chain of three certificates on P-256 and the key.
const USUAL_BYTES: usize = 8 * 1024;

struct Files<F> {
    system: F,
    current: PathBuf,
    next: PathBuf,
}

impl<F: FileSystem> Files<F> {
    fn new(system: F, path: &Path) -> Self {
        Self {
            system,
            current: path.to_owned(),
            next: with_suffix(path, ".next"),
        }
    }

    fn load(&self) -> io::Result<StoredCredentials> {
        let current = self.read(&self.current)?;
        let next = self.read(&self.next)?;
        Ok(StoredCredentials { current, next })
    }

    fn save_next(&self, json: &[u8]) -> io::Result<()> {
        replace(&self.system, &self.next, json)
    }

    fn confirm_next(&self) -> io::Result<()> {
        match self.system.rename(&self.next, &self.current) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.system.sync_directory(&self.current),
        }
    }

    fn clear(&self) -> io::Result<()> {
        self.system.remove(&with_suffix(&self.next, ".new"))?;
        self.system.remove(&self.next)?;
        self.system.remove(&self.current)?;
        self.system.sync_directory(&self.current)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Credential>> {
        let limit = Credential::MAX_BYTES as u64 + 1;
        let Some(json) = self.system.read(path, limit)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        match Credential::from_json(&json) {
            Ok(credential) => Ok(Some(credential)),
            Err(error) => {
                warn!(path = %path.display(), %error, "the file is ignored");
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn credential(name: &str) -> Credential {
        let json = format!(r#"{{"version":1,"key":"{name}","certificates":["AQID"]}}"#);
        Credential::from_json(json.as_bytes()).unwrap()
    }

    /// The names of the keys: the current one and the next one.
    fn names(stored: &StoredCredentials) -> (Option<&'static str>, Option<&'static str>) {
        let all = ["first", "second", "third", "later", "a", "b", "c", "d"];
        let name = |one: &Option<Credential>| {
            let key = one.as_ref()?.key();
            all.into_iter().find(|name| *name == key)
        };
        (name(&stored.current), name(&stored.next))
    }

    #[tokio::test]
    async fn the_next_credential_becomes_the_current_one_when_it_is_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let file = CredentialFile::new(directory.path().join("credential.json"));
        assert_eq!(file.load().await.unwrap(), StoredCredentials::default());
        file.confirm_next().await.unwrap();

        file.save_next(&credential("a")).await.unwrap();
        assert_eq!(names(&file.load().await.unwrap()), (None, Some("a")));
        file.confirm_next().await.unwrap();
        file.save_next(&credential("b")).await.unwrap();
        file.save_next(&credential("c")).await.unwrap();
        assert_eq!(names(&file.load().await.unwrap()), (Some("a"), Some("c")));
        file.confirm_next().await.unwrap();
        assert_eq!(names(&file.load().await.unwrap()), (Some("c"), None));

        file.save_next(&credential("d")).await.unwrap();
        file.clear().await.unwrap();
        assert_eq!(file.load().await.unwrap(), StoredCredentials::default());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_damaged_file_does_not_hide_the_other_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential.json");
        let file = CredentialFile::new(&path);
        file.save_next(&credential("a")).await.unwrap();
        file.confirm_next().await.unwrap();
        std::fs::write(with_suffix(&path, ".next"), b"{").unwrap();
        assert_eq!(names(&file.load().await.unwrap()), (Some("a"), None));
        file.save_next(&credential("b")).await.unwrap();
        std::fs::write(&path, vec![b' '; Credential::MAX_BYTES + 1]).unwrap();
        assert_eq!(names(&file.load().await.unwrap()), (None, Some("b")));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential.json");
        let file = CredentialFile::new(&path);
        file.save_next(&credential("a")).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&with_suffix(&path, ".next")), 0o600);
        file.confirm_next().await.unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    /// A disk that loses power: contents and names that were not flushed may be lost.
    #[derive(Clone, Default)]
    struct Model {
        /// The names as a program sees them, and those that survive for certain.
        names: BTreeMap<PathBuf, usize>,
        durable_names: BTreeMap<PathBuf, usize>,
        /// Content, and whether it was flushed.
        contents: Vec<(Vec<u8>, bool)>,
    }

    /// The changes that survive although they were not flushed.
    #[derive(Clone, Copy, Debug)]
    enum Survives {
        Everything,
        Nothing,
        /// Renames, but not the contents of the files.
        NamesOnly,
    }

    impl Model {
        fn after_power_failure(mut self, survives: Survives) -> Self {
            if !matches!(survives, Survives::Everything) {
                for (content, flushed) in &mut self.contents {
                    if !*flushed {
                        content.truncate(content.len() / 2);
                    }
                }
            }
            if matches!(survives, Survives::Nothing) {
                self.names = self.durable_names.clone();
            }
            self.durable_names = self.names.clone();
            self
        }
    }

    /// The power fails after a number of steps.
    struct FailingDisk {
        model: RefCell<Model>,
        steps_left: Cell<usize>,
    }

    impl FailingDisk {
        fn new(model: Model, steps: usize) -> Self {
            Self {
                model: RefCell::new(model),
                steps_left: Cell::new(steps),
            }
        }

        fn step<T>(&self, work: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
            match self.steps_left.get().checked_sub(1) {
                Some(left) => self.steps_left.set(left),
                None => return Err(io::Error::other("the power failed")),
            }
            work(&mut self.model.borrow_mut())
        }
    }

    impl FileSystem for &FailingDisk {
        fn read(&self, path: &Path, _: u64) -> io::Result<Option<Vec<u8>>> {
            let model = self.model.borrow();
            Ok(model
                .names
                .get(path)
                .map(|index| model.contents[*index].0.clone()))
        }

        fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
            self.step(|model| {
                assert!(!model.names.contains_key(path));
                model.names.insert(path.to_owned(), model.contents.len());
                model.contents.push((content.to_vec(), false));
                Ok(())
            })
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            self.step(|model| {
                let index = model.names[path];
                model.contents[index].1 = true;
                Ok(())
            })
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step(|model| {
                let index = model.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
                model.names.insert(to.to_owned(), index);
                Ok(())
            })
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step(|model| {
                model.names.remove(path);
                Ok(())
            })
        }

        fn sync_directory(&self, _: &Path) -> io::Result<()> {
            self.step(|model| {
                model.durable_names = model.names.clone();
                Ok(())
            })
        }
    }

    /// A device renews its certificate twice. Returns what is on the disk when the power fails after this many steps, and whether
    /// it failed.
    fn life(steps: usize) -> (Model, bool) {
        let mut disk = FailingDisk::new(Model::default(), usize::MAX);
        let path = Path::new("credential.json");
        let files = Files::new(&disk, path);
        files
            .save_next(&credential("first").to_json().unwrap())
            .unwrap();
        files.confirm_next().unwrap();

        disk.steps_left = Cell::new(steps);
        let files = Files::new(&disk, path);
        let done = (|| {
            files.save_next(&credential("second").to_json().unwrap())?;
            files.confirm_next()?;
            files.save_next(&credential("third").to_json().unwrap())?;
            files.confirm_next()
        })();
        (disk.model.into_inner(), done.is_err())
    }

    #[test]
    fn a_power_failure_after_any_step_leaves_a_usable_pair() {
        let mut steps = 0;
        let mut seen = Vec::new();
        loop {
            let (model, failed) = life(steps);
            for survives in [Survives::Everything, Survives::Nothing, Survives::NamesOnly] {
                let disk = FailingDisk::new(model.clone().after_power_failure(survives), 100);
                let files = Files::new(&disk, Path::new("credential.json"));
                let stored = files.load().unwrap();
                let (current, next) = names(&stored);
                assert!(
                    matches!(
                        (current, next),
                        (Some("first"), None | Some("second"))
                            | (Some("second"), None | Some("third"))
                            | (Some("third"), None)
                    ),
                    "{steps} {survives:?}: {stored:?}"
                );
                seen.push((current, next));
                // The device continues: it stores another credential and uses it.
                files
                    .save_next(&credential("later").to_json().unwrap())
                    .unwrap();
                files.confirm_next().unwrap();
                assert_eq!(names(&files.load().unwrap()), (Some("later"), None));
            }
            if !failed {
                break;
            }
            steps += 1;
        }
        assert_eq!(steps, 14, "five steps to save and two to confirm, twice");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    const ABORT_AT: &str = "DPS_TEST_ABORT_AT";
    const FILE: &str = "DPS_TEST_FILE";

    /// The real disk, and an end of the process after a number of steps.
    struct AbortingDisk(Cell<usize>);

    impl AbortingDisk {
        fn step(&self) {
            match self.0.get().checked_sub(1) {
                Some(left) => self.0.set(left),
                None => std::process::abort(),
            }
        }
    }

    impl FileSystem for AbortingDisk {
        fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
            Disk.read(path, limit)
        }

        fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
            self.step();
            // Half of the content first: the process may end during the write.
            Disk.create(path, &content[..content.len() / 2])?;
            self.step();
            Disk.remove(path)?;
            Disk.create(path, content)
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            self.step();
            Disk.sync(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step();
            Disk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step();
            Disk.remove(path)
        }

        fn sync_directory(&self, path: &Path) -> io::Result<()> {
            self.step();
            Disk.sync_directory(path)
        }
    }

    /// The process of [`a_process_that_ends_at_any_step_leaves_a_usable_pair`].
    #[test]
    #[ignore = "it aborts: another test runs it"]
    fn aborts_while_it_renews() {
        let steps = std::env::var(ABORT_AT).unwrap().parse().unwrap();
        let path = PathBuf::from(std::env::var_os(FILE).unwrap());
        let files = Files::new(AbortingDisk(Cell::new(steps)), &path);
        files
            .save_next(&credential("second").to_json().unwrap())
            .unwrap();
        files.confirm_next().unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ends_at_any_step_leaves_a_usable_pair() {
        let test = "certificate::credential_file::tests::aborts_while_it_renews";
        let mut aborted = 0;
        for steps in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("credential.json");
            let file = CredentialFile::new(&path);
            file.save_next(&credential("first")).await.unwrap();
            file.confirm_next().await.unwrap();

            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--ignored"])
                .env(ABORT_AT, steps.to_string())
                .env(FILE, &path)
                .output()
                .unwrap()
                .status;
            let stored = file.load().await.unwrap();
            let (current, next) = names(&stored);
            if status.success() {
                assert_eq!((current, next), (Some("second"), None));
                break;
            }
            aborted += 1;
            let expected = [
                (Some("first"), None),
                (Some("first"), Some("second")),
                (Some("second"), None),
            ];
            assert!(expected.contains(&(current, next)), "{steps}: {stored:?}");
            file.save_next(&credential("third")).await.unwrap();
        }
        assert_eq!(
            aborted, 8,
            "one for each operation on the files, and one within the write"
        );
    }
}
