//! PKCS#11 modules: shared libraries that are loaded and initialized once in a process.

use std::collections::HashMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use super::failure::{Failure, name};
use super::refused_pins::RefusedPins;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// The calls of a module that may hang without a caller.
const MAX_STUCK: usize = 8;

const NO_MODULE: &str = "the PKCS#11 URI names no module: add a module-path";

/// Modules stay loaded, because finalizing one would affect all other users in the process.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Arc<Module>>>> = LazyLock::new(Mutex::default);

/// A module of this process.
pub(super) struct Module {
    /// The file, or the names that the loader searches for.
    names: Vec<PathBuf>,
    loaded: Mutex<Option<Pkcs11>>,
    /// The threads that no `Token` owns any more and that wait for the module.
    stuck: Arc<AtomicUsize>,
    /// Shared by all modules, because two of them may lead to one token.
    pub(super) refused: Arc<RefusedPins>,
}

impl Module {
    /// Finds the module of a URI without loading it.
    ///
    /// # Errors
    /// If the URI names no module, or the file does not exist.
    pub(super) fn find(uri: &Uri) -> Result<Arc<Self>, Error> {
        let names = existing(candidates(uri)?)?;
        let Some(key) = names.first().cloned() else {
            return Err(Error::configuration(NO_MODULE));
        };
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let other = modules.values().next();
        let refused = other.map(|module| module.refused.clone());
        let module = modules.entry(key).or_insert_with(|| {
            Arc::new(Self {
                names,
                loaded: Mutex::default(),
                stuck: Arc::default(),
                refused: refused.unwrap_or_default(),
            })
        });
        Ok(module.clone())
    }

    /// Loads and initializes it, unless that was done before, and checks that it matches the URI. It blocks.
    ///
    /// # Errors
    /// If the file is not a PKCS#11 module, cannot be initialized, or is another one than the URI describes.
    pub(super) fn load(&self, uri: &Uri) -> Result<Pkcs11, Failure> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match &*loaded {
            Some(module) => module.clone(),
            None => {
                let module = self.open()?;
                initialize(&module)?;
                // The module stays loaded, even if the URI turns out to describe another one.
                loaded.insert(module).clone()
            }
        };
        drop(loaded);
        check(&module, uri)?;
        Ok(module)
    }

    /// Initializes it again, after other code in the process has finalized it: all sessions have ended.
    pub(super) fn initialize_again(&self) -> Result<(), Error> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map_or(Ok(()), initialize)
    }

    fn open(&self) -> Result<Pkcs11, Error> {
        let mut last = Error::configuration(NO_MODULE);
        for name in &self.names {
            match Pkcs11::new(name) {
                Ok(module) => return Ok(module),
                // The loader has not found this name.
                Err(error @ ModuleError::LibraryLoading(_)) => last = not_a_module(name, error),
                Err(error) => return Err(not_a_module(name, error)),
            }
        }
        Err(last)
    }

    pub(super) fn stuck(&self) -> Arc<AtomicUsize> {
        self.stuck.clone()
    }

    /// Checks that another thread may call the module.
    pub(super) fn check_stuck(&self) -> Result<(), Error> {
        let stuck = self.stuck.load(Ordering::Relaxed);
        if stuck < MAX_STUCK {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Deadline,
            format!(
                "{stuck} calls of the PKCS#11 module {} have not returned: check the token; if it does not answer again, restart the program",
                self.names
                    .first()
                    .map(PathBuf::as_path)
                    .unwrap_or(Path::new(""))
                    .display()
            ),
        ))
    }
}

/// Finds the only token that matches the URI, and its slot.
pub(super) fn find_token(module: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo), Failure> {
    let mut found = Vec::new();
    let mut matching = Vec::new();
    for slot in module.get_slots_with_token()? {
        let info = match module.get_token_info(slot) {
            Ok(info) => info,
            // A card that the module does not support must not hide the token in the next slot.
            Err(ModuleError::Pkcs11(code, _)) => {
                let (slot, code) = (slot.id(), name(code));
                found.push(format!(
                    "a token in slot {slot} that cannot be read ({code})"
                ));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let matches = info.token_initialized() && matches_token(module, slot, &info, uri)?;
        if matches {
            matching.push((slot, info));
        } else {
            found.push(describe(slot, &info));
        }
    }
    let selector = uri.token_only();
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 if found.is_empty() => Err(no_token(format!(
            "no token matches {selector}: the module has no token"
        ))),
        0 => Err(no_token(format!(
            "no token matches {selector}: there is {}",
            found.join(", ")
        ))),
        _ => {
            let which: Vec<_> = matching
                .iter()
                .map(|(slot, info)| describe(*slot, info))
                .collect();
            Err(Error::configuration(format!(
                "more than one token matches {selector}: {}; add serial or slot-id to the URI",
                which.join(", ")
            ))
            .into())
        }
    }
}

fn no_token(what: String) -> Failure {
    Failure::NoToken(Error::configuration(what))
}

fn candidates(uri: &Uri) -> Result<Vec<PathBuf>, Error> {
    let folder = match (uri.module_path(), uri.module_name()) {
        (None, None) => {
            return Err(Error::configuration(NO_MODULE));
        }
        (Some(path), None) if path.is_dir() => {
            return Err(Error::configuration(
                "module-path of the PKCS#11 URI is a folder: add a module-name",
            ));
        }
        (Some(path), _) if !path.is_dir() => return Ok(vec![path.to_owned()]),
        (path, _) => path.unwrap_or(Path::new("")),
    };
    let name = uri.module_name().unwrap_or_default();
    Ok(vec![
        folder.join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}")),
        folder.join(format!("{name}{DLL_SUFFIX}")),
    ])
}

/// The file in the file system. A name without a folder is not a file in the current folder: the loader searches for it.
fn existing(candidates: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let is_bare = |path: &PathBuf| path.parent() == Some(Path::new(""));
    if candidates.iter().any(is_bare) {
        return Ok(candidates);
    }
    let mut missing = None;
    for path in &candidates {
        match fs::canonicalize(path) {
            Ok(path) => return Ok(vec![path]),
            Err(error) => missing = Some(error),
        }
    }
    let expected = candidates.first().map(PathBuf::as_path);
    let error = Error::configuration(format!(
        "there is no PKCS#11 module {}: check module-path, and that its package is installed",
        expected.unwrap_or(Path::new("")).display()
    ));
    Err(match missing {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

fn not_a_module(path: &Path, error: ModuleError) -> Error {
    let what = format!("{} is not a PKCS#11 module", path.display());
    Error::configuration(what).with_source(error)
}

fn initialize(module: &Pkcs11) -> Result<(), Error> {
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match module.initialize(arguments) {
        // Other code in the process has initialized it.
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(Failure::from(error).into_error("be initialized")),
    }
}

/// Checks that the module matches the URI.
fn check(module: &Pkcs11, uri: &Uri) -> Result<(), Error> {
    let expected = &uri.library;
    let info = module
        .get_library_info()
        .map_err(|error| Failure::from(error).into_error("describe its module"))?;
    let version = info.library_version();
    let version = (version.major(), version.minor());
    let matches = is(&expected.description, info.library_description())
        && is(&expected.manufacturer, info.manufacturer_id())
        && expected.version.is_none_or(|expected| expected == version);
    if matches {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the PKCS#11 module does not match the URI: it is {:?} {}.{} by {:?}",
        info.library_description(),
        version.0,
        version.1,
        info.manufacturer_id()
    )))
}

fn matches_token(
    module: &Pkcs11,
    slot: Slot,
    info: &TokenInfo,
    uri: &Uri,
) -> Result<bool, Failure> {
    let token = &uri.token;
    let token_matches = is(&token.label, info.label())
        && is(&token.manufacturer, info.manufacturer_id())
        && is(&token.model, info.model())
        && is(&token.serial, info.serial_number())
        && uri.slot.id.is_none_or(|id| id == slot.id());
    if !token_matches || (uri.slot.description.is_none() && uri.slot.manufacturer.is_none()) {
        return Ok(token_matches);
    }
    let info = module.get_slot_info(slot)?;
    Ok(is(&uri.slot.description, info.slot_description())
        && is(&uri.slot.manufacturer, info.manufacturer_id()))
}

/// Compares names without the spaces at the end, with which modules pad them.
fn is(expected: &Option<String>, actual: &str) -> bool {
    expected
        .as_ref()
        .is_none_or(|expected| expected.trim_end() == actual.trim_end())
}

fn describe(slot: Slot, info: &TokenInfo) -> String {
    if !info.token_initialized() {
        return format!("an uninitialized token in slot {}", slot.id());
    }
    format!(
        "{:?} (serial {:?}, slot {})",
        info.label(),
        info.serial_number(),
        slot.id()
    )
}
