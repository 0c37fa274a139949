//! Passwords: argon2id with 19 MiB, two passes, one lane (OWASP's first choice), about 20 ms of one core.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use tokio::sync::Semaphore;

/// Characters a password must have at least.
pub const MIN_CHARS: usize = 12;
/// Bytes a password may have at most, so that nobody makes us chew on megabytes.
pub const MAX_BYTES: usize = 1024;

/// Why a password was not taken.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than [`MIN_CHARS`].
    #[error("a password needs at least {MIN_CHARS} characters")]
    TooShort,
    /// Longer than [`MAX_BYTES`].
    #[error("a password may have at most {MAX_BYTES} bytes")]
    TooLong,
    /// The hash could not be made: no memory, no randomness.
    #[error("the password could not be hashed")]
    Hash,
}

/// Checks a new password's length and makes its PHC string. Takes about 20 ms of a core: not for an async thread.
pub fn hash(password: &str) -> Result<String, Error> {
    if password.chars().count() < MIN_CHARS {
        return Err(Error::TooShort);
    }
    if password.len() > MAX_BYTES {
        return Err(Error::TooLong);
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| Error::Hash)
}

/// True if `password` is the one of `phc`. Without a hash, the same work is done for nothing, so that the time taken
/// does not tell whether a login exists.
fn matches(password: &str, phc: Option<&str>) -> bool {
    static NOBODY: LazyLock<Option<String>> =
        LazyLock::new(|| hash("nobody has this password").ok());
    let Some(against) = phc.or(NOBODY.as_deref()) else {
        return false;
    };
    let same = password.len() <= MAX_BYTES
        && Argon2::default()
            .verify_password(password.as_bytes(), against)
            .is_ok();
    same && phc.is_some()
}

/// Passwords are hashed one at a time, with a short queue: a flood of sign-ins must not take the cores from the door.
pub struct Gate {
    running: Semaphore,
    admitted: Semaphore,
}

/// How many may wait for, or be at, a hash.
const QUEUE: usize = 16;

impl Default for Gate {
    fn default() -> Self {
        Self {
            running: Semaphore::new(1),
            admitted: Semaphore::new(QUEUE),
        }
    }
}

impl Gate {
    /// As [`hash`], in its turn. `None` if too many wait already.
    pub async fn hash(&self, password: String) -> Option<Result<String, Error>> {
        self.run(move || hash(&password)).await
    }

    /// True if `password` is the one of `phc`; `None` if too many wait already. Without a hash it takes as long.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Option<bool> {
        self.run(move || matches(&password, phc.as_deref())).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _admitted = self.admitted.try_acquire().ok()?;
        let _running = self.running.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_says_how_it_was_made_and_matches_its_password_only() {
        let phc = hash("correct horse battery").expect("a hash");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(matches("correct horse battery", Some(&phc)));
        assert!(!matches("correct horse batterx", Some(&phc)));
    }

    #[test]
    fn nobodys_password_matches_nobody() {
        assert!(!matches("nobody has this password", None));
    }

    #[test]
    fn length_is_counted_in_characters_and_bounded_in_bytes() {
        assert_eq!(hash("short"), Err(Error::TooShort));
        assert!(hash("パスワードは長いほど良い").is_ok());
        assert_eq!(hash(&"x".repeat(MAX_BYTES + 1)), Err(Error::TooLong));
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_sent_away() {
        let gate = Gate::default();
        let held = gate.admitted.acquire_many(QUEUE as u32).await;
        assert!(gate.verify(String::new(), None).await.is_none());
        drop(held);
        assert_eq!(gate.verify(String::new(), None).await, Some(false));
    }
}
