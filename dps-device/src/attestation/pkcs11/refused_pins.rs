//! The PINs that tokens have refused in this process: a wrong PIN is tried once, also by other `Token`s, because tokens lock after
//! a few wrong attempts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::slot::TokenInfo;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Limits the memory. A token locks long before. When it is reached, no other PIN is tried, because its refusal could not be
/// remembered.
const MAX: usize = 256;

const FULL: &str = "PKCS#11 tokens have refused too many PINs in this process, so no other PIN is tried: correct the PIN, and restart the program";

/// Salted hashes of tokens and PINs.
#[derive(Default)]
pub(super) struct RefusedPins(Mutex<State>);

#[derive(Default)]
struct State {
    salt: Option<[u8; 32]>,
    refused: HashSet<[u8; 32]>,
    /// One lock for each token.
    logins: HashMap<[u8; 32], Arc<Mutex<()>>>,
}

impl RefusedPins {
    /// Returns true if this token has refused this PIN.
    ///
    /// # Errors
    /// If another refused PIN could not be remembered: this one must not be tried.
    pub(super) fn contains(&self, token: &TokenInfo, pin: &str) -> Result<bool, Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = state.hash(names(token), pin)?;
        state.contains(&hash)
    }

    /// The lock that a login to this token holds, so that two threads do not try the same wrong PIN at once.
    pub(super) fn logins(&self, token: &TokenInfo) -> Result<Arc<Mutex<()>>, Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = state.hash(names(token), "")?;
        if state.logins.len() >= MAX {
            state.logins.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Ok(state.logins.entry(hash).or_default().clone())
    }

    pub(super) fn insert(&self, token: &TokenInfo, pin: &str) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = state.hash(names(token), pin)?;
        // The check before each login leaves space for the logins that it admits.
        state.refused.insert(hash);
        Ok(())
    }
}

/// The texts that a token is recognized by.
fn names(token: &TokenInfo) -> [&str; 3] {
    [
        token.manufacturer_id(),
        token.serial_number(),
        token.label(),
    ]
}

impl State {
    fn contains(&self, hash: &[u8; 32]) -> Result<bool, Error> {
        match self.refused.contains(hash) {
            false if self.refused.len() >= MAX => Err(Error::configuration(FULL)),
            contained => Ok(contained),
        }
    }

    fn hash(&mut self, token: [&str; 3], pin: &str) -> Result<[u8; 32], Error> {
        let salt = match self.salt {
            Some(salt) => salt,
            None => {
                let mut salt = [0; 32];
                getrandom::fill(&mut salt).map_err(|error| {
                    Error::configuration("the operating system has no random number generator")
                        .with_source(error)
                })?;
                *self.salt.insert(salt)
            }
        };
        let mut hash = Sha256::new();
        hash.update(salt);
        // A PIN has no zero byte, and neither has a text of a token.
        for text in token.into_iter().chain([pin]) {
            hash.update(text);
            hash.update([0]);
        }
        Ok(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [&str; 3] = ["Contoso", "0815", "device"];

    #[test]
    fn a_refused_pin_is_remembered_for_its_token() {
        let mut state = State::default();
        let hash = state.hash(TOKEN, "1234").unwrap();
        assert!(!state.contains(&hash).unwrap());
        state.refused.insert(hash);
        assert!(state.contains(&hash).unwrap());
        for (token, pin) in [(TOKEN, "12345"), (["Contoso", "0816", "device"], "1234")] {
            let other = state.hash(token, pin).unwrap();
            assert!(!state.contains(&other).unwrap());
        }
    }

    #[test]
    fn no_pin_is_tried_when_its_refusal_could_not_be_remembered() {
        let mut state = State::default();
        for number in 0..MAX {
            let hash = state.hash(TOKEN, &number.to_string()).unwrap();
            assert!(!state.contains(&hash).unwrap(), "{number}");
            state.refused.insert(hash);
        }
        let known = state.hash(TOKEN, "0").unwrap();
        assert!(state.contains(&known).unwrap());
        let other = state.hash(TOKEN, "another").unwrap();
        let error = state.contains(&other).unwrap_err();
        assert!(
            error.to_string().contains("no other PIN is tried"),
            "{error}"
        );
    }
}
