//! The session with a token: it is opened and logged in on first use, used by one caller at a time, and reopened when it is lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::key_place::{KeyPlace, sensitive_key, wipe};
use super::module::{Module, find_token};
use super::object::{Class, Selector, read};
use super::pin::Pin;
use super::uri::Uri;
use super::worker::{NoAnswer, Worker};
use crate::error::{Error, ErrorKind};

/// The limit for the generation of a key, in time limits of other calls.
const GENERATION: u32 = 10;
/// The limit for removing a session object, which the drop of its key waits for.
const REMOVAL: Duration = Duration::from_secs(5);

/// Access to a token over any number of sessions, one after the other.
pub(super) struct Link {
    uri: Uri,
    timeout: Duration,
    worker: Worker<State>,
}

/// The thread of the token owns it.
struct State {
    module: Arc<Module>,
    uri: Uri,
    pin: Option<Pin>,
    connection: Option<Connection>,
    /// A session was open before: the token was there.
    was_connected: bool,
    /// A PIN that was refused is never tried again, because the next wrong attempt may lock the token.
    pin_was_refused: bool,
}

/// A session that is logged in.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) module: Pkcs11,
    pub(super) slot: Slot,
    /// False for a token without a login.
    is_logged_in: bool,
    /// The handles of keys, which are valid for this session.
    handles: HashMap<KeyPlace, ObjectHandle>,
}

impl Link {
    /// Starts the thread of the token. It accesses neither the module nor the token yet.
    pub(super) fn new(uri: &Uri, pin: Option<Pin>, timeout: Duration) -> Result<Self, Error> {
        let module = Module::find(uri)?;
        module.check_stuck()?;
        let stuck = module.stuck();
        let state = State {
            module,
            uri: uri.module_and_token(),
            pin,
            connection: None,
            was_connected: false,
            pin_was_refused: false,
        };
        let worker = Worker::start(state, stuck).map_err(|error| {
            Error::configuration("no thread can be started for the PKCS#11 token")
                .with_source(error)
        })?;
        Ok(Self {
            uri: uri.token_only(),
            timeout,
            worker,
        })
    }

    /// Runs work with exclusive access to the token, and waits for it on this thread. `doing` completes the sentence "the PKCS#11
    /// token cannot ...".
    ///
    /// If the session turns out to be lost, the work is repeated once in a new session, so it must be repeatable. It must not own
    /// this link, because dropping a link waits for the thread that runs the work.
    pub(super) fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let limit = self.timeout;
        let done = self
            .worker
            .call(limit, move |state| state.with(doing, work));
        done.unwrap_or_else(|reason| Err(no_answer(reason, doing, limit)))
    }

    /// As [`with`](Self::with), without blocking this thread.
    pub(super) async fn with_async<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.with_limit(self.timeout, doing, work).await
    }

    /// As [`with_async`](Self::with_async), with the longer time limit of work that generates a key.
    pub(super) async fn generate<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.with_limit(self.timeout.saturating_mul(GENERATION), doing, work)
            .await
    }

    async fn with_limit<T: Send + 'static>(
        &self,
        limit: Duration,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self
            .worker
            .call_async(limit, move |state| state.with(doing, work))
            .await;
        done.unwrap_or_else(|reason| Err(no_answer(reason, doing, limit)))
    }

    /// Removes a session object from the token. Without a session there is nothing to remove.
    pub(super) fn forget(&self, place: &KeyPlace) {
        let place = place.clone();
        // If this fails, the object is removed with the session.
        let _ = self.worker.call(REMOVAL.min(self.timeout), move |state| {
            let connection = state.connection.as_mut()?;
            let object = connection.handles.remove(&place)?;
            let session = &connection.session;
            // Some modules give a session object the handle of an object in the token.
            match read(session, object, AttributeType::Token) {
                Ok(Some(Attribute::Token(false))) => Selector::every(Class::SecretKey)
                    .destroy(session, object)
                    .ok(),
                _ => None,
            }
        });
    }
}

impl State {
    fn with<T>(
        &mut self,
        doing: &str,
        work: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let had_session = self.connection.is_some();
        let mut done = self.attempt(&work);
        if let Err(failure) = &done
            && (failure.module_is_finalized()
                || had_session && (failure.session_is_lost() || self.is_logged_out(failure)))
        {
            tracing::debug!("the session with the PKCS#11 token was lost: opening a new one");
            let is_finalized = failure.module_is_finalized();
            self.connection = None;
            if is_finalized {
                self.module.initialize_again()?;
            }
            done = self.attempt(&work);
        }
        done.map_err(|failure| {
            if failure.session_is_lost() || failure.session_is_doubtful() {
                // The next call opens a new one.
                self.connection = None;
            }
            failure.into_error(doing)
        })
    }

    /// Returns true if the session has lost its login. Some modules report another error then, for example that a key is unsuitable.
    fn is_logged_out(&self, failure: &Failure) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        failure.code().is_some()
            && connection.is_logged_in
            && !matches!(connection.session.get_session_info(), Ok(info) if is_user(info.session_state()))
    }

    fn attempt<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let connection = self.connect()?;
                self.connection.insert(connection)
            }
        };
        work(connection)
    }

    fn connect(&mut self) -> Result<Connection, Failure> {
        if self.pin_was_refused {
            return Err(refused_before());
        }
        let module = self.module.load(&self.uri)?;
        let (slot, info) = self.token(&module)?;
        let session = module.open_ro_session(slot)?;
        self.log_in(&session, &module, slot, &info)?;
        self.was_connected = true;
        Ok(Connection {
            is_logged_in: is_user(session.get_session_info()?.session_state()),
            session,
            module,
            slot,
            handles: HashMap::new(),
        })
    }

    fn token(&self, module: &Pkcs11) -> Result<(Slot, TokenInfo), Failure> {
        match find_token(module, &self.uri) {
            Err(Failure::NoToken(error)) if self.was_connected => {
                let what =
                    "the PKCS#11 token is not in its slot, where it was before: insert it again";
                Err(Error::new(ErrorKind::Signing, what)
                    .with_source(error)
                    .into())
            }
            found => found,
        }
    }

    fn log_in(
        &mut self,
        session: &Session,
        module: &Pkcs11,
        slot: Slot,
        info: &TokenInfo,
    ) -> Result<(), Failure> {
        // A login applies to all sessions of the process.
        let state = session.get_session_info()?.session_state();
        if !info.login_required() || is_user(state) {
            return Ok(());
        }
        check_attempts(info)?;
        if info.protected_authentication_path() {
            return match session.login(UserType::User, None) {
                Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
                outcome => Ok(outcome?),
            };
        }
        let Some(pin) = &self.pin else {
            return Err(Error::configuration(format!(
                "the token {:?} requires a PIN: pass one, or add a pin-source to the URI",
                info.label()
            ))
            .into());
        };
        let pin = pin.ask()?;
        let logins = self.module.refused.logins(info)?;
        let _turn = logins.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have used an attempt in the meantime.
        check_attempts(&module.get_token_info(slot)?)?;
        if self.module.refused.contains(info, &pin)? {
            self.pin_was_refused = true;
            return Err(refused_before());
        }
        // AuthPin wipes itself when it is dropped.
        match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
            Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                let failure = Failure::from(error);
                if !failure.pin_is_refused() {
                    return Err(failure);
                }
                self.pin_was_refused = true;
                self.module.refused.insert(info, &pin)?;
                Err(failure.into_error("be opened with this PIN").into())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn is_user(state: SessionState) -> bool {
    matches!(state, SessionState::RoUser | SessionState::RwUser)
}

/// Checks that a wrong PIN would not lock the token.
fn check_attempts(info: &TokenInfo) -> Result<(), Error> {
    if info.user_pin_locked() {
        return Err(Error::configuration(
            "the PIN of the PKCS#11 token is locked after too many wrong attempts: its security officer must set a new one",
        ));
    }
    if info.user_pin_final_try() {
        return Err(Error::configuration(
            "a wrong PIN would lock the PKCS#11 token, because one attempt is left: log in with another program to reset \
             the count (pkcs11-tool --login --list-objects)",
        ));
    }
    Ok(())
}

fn refused_before() -> Failure {
    Error::configuration(
        "the PKCS#11 token has refused the PIN before, so it is not tried again: correct the PIN, and open the token again; if the token \
         was given this PIN since then, restart the program",
    )
    .into()
}

fn no_answer(reason: NoAnswer, doing: &str, limit: Duration) -> Error {
    let limit = limit.as_secs_f32();
    let (kind, why) = match reason {
        NoAnswer::Late => (
            ErrorKind::Deadline,
            format!("its module has not answered within {limit} s"),
        ),
        NoAnswer::Blocked => (
            ErrorKind::Deadline,
            "its module has not answered an earlier call yet".to_owned(),
        ),
        NoAnswer::Full => (ErrorKind::Deadline, "too many calls wait for it".to_owned()),
        NoAnswer::Ended => (ErrorKind::Signing, "its thread has ended".to_owned()),
    };
    Error::new(kind, format!("the PKCS#11 token cannot {doing}: {why}"))
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
