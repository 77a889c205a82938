//! The session with a token: it is opened and logged in on first use, used by one caller at a time, and reopened when it is lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::key_place::{KeyPlace, sensitive_key, wipe};
use super::module::{find_token, load};
use super::object::Selector;
use super::pin::Pin;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// Access to a token over any number of sessions, one after the other.
pub(super) struct Link {
    module: Pkcs11,
    uri: Uri,
    pin: Option<Pin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// A PIN that was refused is never tried again, because the next wrong attempt may lock the token.
    pin_was_refused: bool,
}

/// A session that is logged in.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) module: Pkcs11,
    pub(super) slot: Slot,
    /// The handles of keys, which are valid for this session.
    handles: HashMap<KeyPlace, ObjectHandle>,
}

impl Link {
    /// Loads the module. It does not access the token yet.
    pub(super) fn new(uri: &Uri, pin: Option<Pin>) -> Result<Self, Error> {
        Ok(Self {
            module: load(uri)?,
            uri: uri.token_only(),
            pin,
            state: Mutex::default(),
        })
    }

    /// Runs work with exclusive access to the token. It blocks. `doing` completes the sentence "the PKCS#11 token cannot ...".
    ///
    /// If the session turns out to be lost, the work is repeated once in a new session, so it must be repeatable.
    pub(super) fn with<T>(
        &self,
        doing: &str,
        work: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let had_session = state.connection.is_some();
        let done = match self.attempt(&mut state, &work) {
            Err(failure) if failure.session_is_lost() => {
                state.connection = None;
                if had_session {
                    tracing::debug!(
                        "the session with the PKCS#11 token was lost: opening a new one"
                    );
                    self.attempt(&mut state, &work)
                } else {
                    Err(failure)
                }
            }
            done => done,
        };
        done.map_err(|failure| failure.into_error(doing))
    }

    /// Removes a session object from the token. Without a session there is nothing to remove.
    pub(super) fn forget(&self, place: &KeyPlace) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = &mut state.connection else {
            return;
        };
        if let Some(object) = connection.handles.remove(place) {
            // If this fails, the object is removed with the session.
            let _ = connection.session.destroy_object(object);
        }
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        work: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = match &mut state.connection {
            Some(connection) => connection,
            None => {
                let connection = self.connect(state)?;
                state.connection.insert(connection)
            }
        };
        work(connection)
    }

    fn connect(&self, state: &mut State) -> Result<Connection, Failure> {
        if state.pin_was_refused {
            return Err(Error::configuration(
                "the PKCS#11 token has refused the PIN before, so it is not tried again",
            )
            .into());
        }
        let (slot, info) = find_token(&self.module, &self.uri)?;
        let session = self.module.open_ro_session(slot)?;
        match self.log_in(&session, &info) {
            Err(failure) if failure.pin_is_refused() => {
                state.pin_was_refused = true;
                Err(failure.into_error("be opened with this PIN").into())
            }
            Err(failure) => Err(failure),
            Ok(()) => Ok(Connection {
                session,
                module: self.module.clone(),
                slot,
                handles: HashMap::new(),
            }),
        }
    }

    fn log_in(&self, session: &Session, info: &TokenInfo) -> Result<(), Failure> {
        // A login applies to all sessions of the process.
        let state = session.get_session_info()?.session_state();
        if !info.login_required() || matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let outcome = if info.protected_authentication_path() {
            session.login(UserType::User, None)
        } else {
            let Some(pin) = &self.pin else {
                return Err(Error::configuration(format!(
                    "the token {:?} requires a PIN: pass one, or add a pin-source to the URI",
                    info.label()
                ))
                .into());
            };
            // AuthPin wipes itself when it is dropped.
            let pin = AuthPin::from(pin.ask()?.as_str());
            session.login(UserType::User, Some(&pin))
        };
        match outcome {
            Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            outcome => Ok(outcome?),
        }
    }
}

impl Connection {
    /// The handle of a key, which is cached for this session.
    pub(super) fn key(&mut self, place: &KeyPlace) -> Result<ObjectHandle, Failure> {
        if let Some(handle) = self.handles.get(place) {
            return Ok(*handle);
        }
        let handle = self.find(place)?;
        self.handles.insert(place.clone(), handle);
        Ok(handle)
    }

    /// Forgets the handles of objects in the token, because some were removed.
    pub(super) fn forget_stored(&mut self) {
        self.handles
            .retain(|place, _| matches!(place, KeyPlace::Derived { .. }));
    }

    /// Looks up a key without the cache, and returns its place with its full name.
    pub(super) fn look_up(&mut self, selector: &Selector) -> Result<KeyPlace, Failure> {
        let object = selector.one(&self.session)?;
        let place = KeyPlace::Stored(selector.with_full_name(&self.session, object)?);
        self.handles.insert(place.clone(), object);
        Ok(place)
    }

    /// HMAC-SHA256 with a key in the token.
    pub(super) fn hmac(
        &mut self,
        place: &KeyPlace,
        data: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, Failure> {
        let object = self.key(place)?;
        let mac = self.session.sign(&Mechanism::Sha256Hmac, object, data)?;
        let mac = Zeroizing::new(mac);
        let mac = <[u8; 32]>::try_from(mac.as_slice()).map_err(|_| {
            Error::new(
                ErrorKind::Signing,
                format!("the token's HMAC-SHA256 has {} bytes, not 32", mac.len()),
            )
        })?;
        Ok(Zeroizing::new(mac))
    }

    fn find(&mut self, place: &KeyPlace) -> Result<ObjectHandle, Failure> {
        match place {
            KeyPlace::Stored(selector) => selector.one(&self.session),
            KeyPlace::Derived { from, text } => {
                let key = self.hmac(from, text.as_bytes())?;
                let mut template = sensitive_key(&*key, false);
                let object = self.session.create_object(&template);
                wipe(&mut template);
                Ok(object?)
            }
        }
    }

    /// A session for writing. The login of the process applies to it.
    pub(super) fn writing(&self) -> Result<Session, Failure> {
        Ok(self.module.open_rw_session(self.slot)?)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.uri).finish()
    }
}
