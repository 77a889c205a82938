//! PKCS#11 modules: shared libraries that are loaded and initialized once in a process.

use std::collections::HashMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use super::failure::{Failure, name};
use super::uri::Uri;
use crate::error::Error;

/// Modules stay loaded, because finalizing one would affect all other users in the process.
static LOADED: LazyLock<Mutex<HashMap<PathBuf, Pkcs11>>> = LazyLock::new(Mutex::default);

/// Loads the module of a URI.
///
/// # Errors
/// If the URI names no module, the file does not exist, or it is not a PKCS#11 module.
pub(super) fn load(uri: &Uri) -> Result<Pkcs11, Error> {
    let candidates = candidates(uri)?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut missing = None;
    for path in &candidates {
        // A name without a folder is not a file in the current folder: the loader searches for it.
        let bare = path.parent() == Some(Path::new(""));
        let key = match fs::canonicalize(path) {
            Ok(path) if !bare => path,
            Err(error) if !bare => {
                missing = Some(error);
                continue;
            }
            _ => path.clone(),
        };
        if let Some(module) = loaded.get(&key) {
            check(module, uri)?;
            return Ok(module.clone());
        }
        match Pkcs11::new(&key) {
            Err(ModuleError::LibraryLoading(_)) if bare && Some(path) != candidates.last() => {}
            outcome => {
                let module = outcome.map_err(|error| not_a_module(path, error))?;
                initialize(&module)?;
                // The module stays loaded, even if the URI turns out to describe another one.
                loaded.insert(key, module.clone());
                check(&module, uri)?;
                return Ok(module);
            }
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
            Err(no_token(format!(
                "more than one token matches {selector}: {}; add serial or slot-id to the URI",
                which.join(", ")
            )))
        }
    }
}

fn no_token(what: String) -> Failure {
    Error::configuration(what).into()
}

fn candidates(uri: &Uri) -> Result<Vec<PathBuf>, Error> {
    let folder = match (uri.module_path(), uri.module_name()) {
        (None, None) => {
            return Err(Error::configuration(
                "the PKCS#11 URI names no module: add a module-path",
            ));
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
