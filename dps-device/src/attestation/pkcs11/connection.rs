//! The session with a token: logged in when first needed, used by one at a time, and renewed once when it is lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::failure::Failure;
use super::module::{find_token, load};
use super::object::Wanted;
use super::pin::Pin;
use super::secret_key::KeyPlace;
use super::uri::Uri;
use crate::error::Error;

/// A token that can be reached again and again.
pub(super) struct Link {
    module: Pkcs11,
    uri: Uri,
    pin: Option<Pin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Never asked again: the next wrong try may lock the token.
    pin_was_refused: bool,
}

/// A session, logged in.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) module: Pkcs11,
    pub(super) slot: Slot,
    /// Where keys are, as long as this session lasts.
    handles: HashMap<KeyPlace, ObjectHandle>,
}

impl Link {
    /// Loads the module. The token is not reached yet.
    pub(super) fn new(uri: &Uri, pin: Option<Pin>) -> Result<Self, Error> {
        Ok(Self {
            module: load(uri)?,
            uri: uri.of_token(),
            pin,
            state: Mutex::default(),
        })
    }

    /// Works with the token, alone. `doing` goes on after "the PKCS#11 token cannot". It blocks.
    ///
    /// Work that finds its session lost is done once more in a new one, so it must be fit to begin again.
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
                    tracing::debug!("the session with the PKCS#11 token is lost: opening another");
                    self.attempt(&mut state, &work)
                } else {
                    Err(failure)
                }
            }
            done => done,
        };
        done.map_err(|failure| failure.into_error(doing))
    }

    /// Takes a session object out of the token, when there is a session.
    pub(super) fn forget(&self, place: &KeyPlace) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = &mut state.connection else {
            return;
        };
        if let Some(object) = connection.handles.remove(place) {
            // It goes with the session otherwise.
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
                "the PKCS#11 token has refused the PIN before: it is not tried again",
            )
            .into());
        }
        let (slot, info) = find_token(&self.module, &self.uri)?;
        let session = self.module.open_ro_session(slot)?;
        match self.log_in(&session, &info) {
            Err(failure) if failure.pin_is_refused() => {
                state.pin_was_refused = true;
                Err(failure.into_error("be logged in to").into())
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
        // A login counts for all sessions of the process.
        let state = session.get_session_info()?.session_state();
        if !info.login_required() || matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let outcome = if info.protected_authentication_path() {
            session.login(UserType::User, None)
        } else {
            let Some(pin) = &self.pin else {
                return Err(Error::configuration(format!(
                    "the token {:?} wants a PIN: give one, or a pin-source in the URI",
                    info.label()
                ))
                .into());
            };
            // AuthPin wipes itself too.
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
    /// The handle of a key, kept for the next time.
    pub(super) fn key(&mut self, place: &KeyPlace) -> Result<ObjectHandle, Failure> {
        if let Some(handle) = self.handles.get(place) {
            return Ok(*handle);
        }
        let handle = place.find(self)?;
        self.handles.insert(place.clone(), handle);
        Ok(handle)
    }

    /// Looks a key up, whatever was found before, and tells its full name.
    pub(super) fn look_up(&mut self, wanted: &Wanted) -> Result<KeyPlace, Failure> {
        let object = wanted.one(&self.session)?;
        let place = KeyPlace::Stored(wanted.in_full(&self.session, object)?);
        self.handles.insert(place.clone(), object);
        Ok(place)
    }

    /// A session that may write. It has the login of ours.
    pub(super) fn writing(&self) -> Result<Session, Failure> {
        Ok(self.module.open_rw_session(self.slot)?)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.uri).finish()
    }
}
