//! Modules: the shared libraries that speak PKCS#11, each loaded and initialized once in a process.

use std::collections::HashMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use super::failure::Failure;
use super::uri::Uri;
use crate::error::Error;

/// They stay loaded: to finalize one would take it from everybody else in the process.
static LOADED: LazyLock<Mutex<HashMap<PathBuf, Pkcs11>>> = LazyLock::new(Mutex::default);

/// The module of a URI.
///
/// # Errors
/// When it names none, there is none, or what is there is none.
pub(super) fn load(uri: &Uri) -> Result<Pkcs11, Error> {
    let candidates = candidates(uri)?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut missing = None;
    for path in &candidates {
        // A bare name is not a file here: the loader looks for it where libraries are.
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
                let module = outcome.map_err(|error| no_module(path, error))?;
                initialize(&module)?;
                check(&module, uri)?;
                loaded.insert(key, module.clone());
                return Ok(module);
            }
        }
    }
    let wanted = candidates.first().map(PathBuf::as_path);
    let error = Error::configuration(format!(
        "there is no PKCS#11 module {}: is its package installed, and is module-path right?",
        wanted.unwrap_or(Path::new("")).display()
    ));
    Err(match missing {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

/// The slot of the one token that the URI names.
pub(super) fn find_token(module: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo), Failure> {
    let mut found = Vec::new();
    let mut matching = Vec::new();
    for slot in module.get_slots_with_token()? {
        let info = module.get_token_info(slot)?;
        let matches = info.token_initialized() && is_meant(module, slot, &info, uri)?;
        if matches {
            matching.push((slot, info));
        } else {
            found.push(describe(slot, &info));
        }
    }
    let wanted = uri.of_token();
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 if found.is_empty() => Err(no_token(format!(
            "no token is {wanted}: the module has none at all"
        ))),
        0 => Err(no_token(format!(
            "no token is {wanted}: there is {}",
            found.join(", ")
        ))),
        _ => {
            let which: Vec<_> = matching
                .iter()
                .map(|(slot, info)| describe(*slot, info))
                .collect();
            Err(no_token(format!(
                "more than one token is {wanted}: {}; add serial or slot-id to the URI",
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
                "the PKCS#11 URI names no module: it needs a module-path",
            ));
        }
        (Some(path), None) if path.is_dir() => {
            return Err(Error::configuration(
                "module-path of the PKCS#11 URI is a folder: then it needs a module-name too",
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

fn no_module(path: &Path, error: ModuleError) -> Error {
    let what = format!("{} is no PKCS#11 module", path.display());
    Error::configuration(what).with_source(error)
}

fn initialize(module: &Pkcs11) -> Result<(), Error> {
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match module.initialize(arguments) {
        // Another part of the process has done it.
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(Failure::from(error).into_error("be used at all")),
    }
}

/// Whether the module is the one that the URI describes.
fn check(module: &Pkcs11, uri: &Uri) -> Result<(), Error> {
    let wanted = &uri.library;
    let info = module
        .get_library_info()
        .map_err(|error| Failure::from(error).into_error("tell its module's name"))?;
    let version = info.library_version();
    let version = (version.major(), version.minor());
    let meant = is(&wanted.description, info.library_description())
        && is(&wanted.manufacturer, info.manufacturer_id())
        && wanted.version.is_none_or(|wanted| wanted == version);
    if meant {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the PKCS#11 module is another than the URI says: {:?} {}.{} by {:?}",
        info.library_description(),
        version.0,
        version.1,
        info.manufacturer_id()
    )))
}

fn is_meant(module: &Pkcs11, slot: Slot, info: &TokenInfo, uri: &Uri) -> Result<bool, Failure> {
    let token = &uri.token;
    let token_is_meant = is(&token.label, info.label())
        && is(&token.manufacturer, info.manufacturer_id())
        && is(&token.model, info.model())
        && is(&token.serial, info.serial_number())
        && uri.slot.id.is_none_or(|id| id == slot.id());
    if !token_is_meant || (uri.slot.description.is_none() && uri.slot.manufacturer.is_none()) {
        return Ok(token_is_meant);
    }
    let info = module.get_slot_info(slot)?;
    Ok(is(&uri.slot.description, info.slot_description())
        && is(&uri.slot.manufacturer, info.manufacturer_id()))
}

/// Modules pad their names with blanks.
fn is(wanted: &Option<String>, actual: &str) -> bool {
    wanted
        .as_ref()
        .is_none_or(|wanted| wanted.trim_end() == actual.trim_end())
}

fn describe(slot: Slot, info: &TokenInfo) -> String {
    if !info.token_initialized() {
        return format!("an empty token in slot {}", slot.id());
    }
    format!(
        "{:?} (serial {:?}, slot {})",
        info.label(),
        info.serial_number(),
        slot.id()
    )
}
