//! Passwords: argon2id with 19 MiB, two passes, one lane (OWASP's first choice), about 20 ms of one core.
//!
//! The caller passes the memory in. When each hash allocated its own, the freed blocks of 19 MiB raised glibc's
//! threshold for `mmap` and stayed in the arenas of its threads: up to 830 MiB after some hundred failed sign-ins.

use std::borrow::Cow;

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use icu_normalizer::ComposingNormalizerBorrowed;

/// Characters a password must have at least.
pub const MIN_CHARS: usize = 12;
/// Bytes a password may have at most, which bounds the work.
pub const MAX_BYTES: usize = 1024;

/// Limits on the parameters of a stored hash: blocks of 1 KiB, passes, lanes.
const MAX_BLOCKS: usize = 64 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 4;

/// Why a password was refused.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than [`MIN_CHARS`].
    #[error("a password needs at least {MIN_CHARS} characters")]
    TooShort,
    /// Longer than [`MAX_BYTES`].
    #[error("a password may have at most {MAX_BYTES} bytes")]
    TooLong,
    /// The hash could not be computed: no memory, no randomness.
    #[error("the password could not be hashed")]
    Hash,
}

/// The reusable memory of a hash: 19 MiB from its first use on.
#[derive(Default)]
pub(in crate::web) struct Memory(Vec<Block>);

impl Memory {
    /// The blocks for a hash with these parameters; grows the memory if it is too small.
    fn of(&mut self, params: &Params) -> &mut [Block] {
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::new());
        }
        &mut self.0[..blocks]
    }

    /// Frees the blocks beyond those that today's parameters need; only a stored hash with larger parameters used them.
    fn shrink(&mut self) {
        let usual = Params::DEFAULT.block_count();
        if self.0.len() > usual {
            self.0.truncate(usual);
            self.0.shrink_to_fit();
        }
    }
}

/// The result of the verification of a password.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::web) enum Verdict {
    /// The password does not match, or there is no hash to compare with.
    Wrong,
    /// The password matches. Has a new hash if the stored one was made with other parameters, or of the password as
    /// typed instead of its normal form (NFC).
    Right(Option<String>),
}

/// Checks a new password's length and computes the hash of its NFC form, as a PHC string. NFC, because keyboards encode
/// one letter differently. Takes about 20 ms of a core: do not call it on an async thread.
///
/// # Errors
/// [`Error::TooShort`] or [`Error::TooLong`] for the length, [`Error::Hash`] if the hash cannot be computed.
pub fn hash(password: &str) -> Result<String, Error> {
    hash_in(&mut Memory::default(), password)
}

/// [`hash`] with the caller's memory.
pub(in crate::web) fn hash_in(memory: &mut Memory, password: &str) -> Result<String, Error> {
    phc(memory, &of_allowed_length(password)?).ok_or(Error::Hash)
}

/// Checks a new password's length, without computing its hash.
///
/// # Errors
/// [`Error::TooShort`] or [`Error::TooLong`].
pub fn check_length(password: &str) -> Result<(), Error> {
    of_allowed_length(password).map(drop)
}

/// The NFC form of a new password.
fn of_allowed_length(password: &str) -> Result<Cow<'_, str>, Error> {
    if password.len() > MAX_BYTES {
        return Err(Error::TooLong);
    }
    let password = nfc(password);
    match password.chars().count() < MIN_CHARS {
        true => Err(Error::TooShort),
        false => Ok(password),
    }
}

fn phc(memory: &mut Memory, password: &str) -> Option<String> {
    let (params, version) = (Params::DEFAULT, Version::default());
    let salt = Salt::generate();
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, version, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, memory.of(&params))
        .ok()?;
    let phc = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(version.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(salt),
        hash: Some(Output::new(&hash).ok()?),
    };
    Some(phc.to_string())
}

/// Verifies a password in its normal form (NFC) and, where that differs, as it was typed: earlier versions hashed the
/// typed form. Without a stored hash it does the same work, so that the time taken does not tell whether a login
/// exists.
pub(in crate::web) fn verify_in(
    memory: &mut Memory,
    password: &str,
    stored: Option<&str>,
) -> Verdict {
    if password.len() > MAX_BYTES {
        return Verdict::Wrong;
    }
    let stored = stored.and_then(Stored::read);
    let exists = stored.is_some();
    let against = stored.unwrap_or_else(Stored::dummy);
    let normal = nfc(password);
    let as_typed = (normal != password).then_some(password);
    // Both are always computed, so that the time taken does not tell which form matched.
    let is_normal = against.is_of(memory, &normal);
    let is_as_typed = as_typed.is_some_and(|typed| against.is_of(memory, typed));
    let verdict = match exists && (is_normal || is_as_typed) {
        // An old password is hashed again even if it would be too short today.
        true if against.is_old() || !is_normal => Verdict::Right(phc(memory, &normal)),
        true => Verdict::Right(None),
        false => Verdict::Wrong,
    };
    memory.shrink();
    verdict
}

fn nfc(password: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(password)
}

/// A hash that was read from the database.
struct Stored {
    params: Params,
    version: Version,
    algorithm: Algorithm,
    salt: Salt,
    hash: Output,
}

impl Stored {
    /// `None` if it is not argon2, or its parameters exceed the limits.
    fn read(phc: &str) -> Option<Self> {
        let phc = PasswordHash::new(phc).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let is_bounded = params.block_count() <= MAX_BLOCKS
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        is_bounded.then_some(())?;
        Some(Self {
            params,
            version: phc
                .version
                .map_or(Ok(Version::V0x13), Version::try_from)
                .ok()?,
            algorithm: Algorithm::new(phc.algorithm.as_str()).ok()?,
            salt: phc.salt?,
            hash: phc.hash?,
        })
    }

    /// A dummy for a login that does not exist: to verify it takes as long as with a hash of today's parameters.
    fn dummy() -> Self {
        // Both constants have a valid length, so neither is refused.
        let (salt, hash) = (Salt::new(&[0; 16]), Output::new(&[0; 32]));
        match (salt, hash) {
            (Ok(salt), Ok(hash)) => Self {
                params: Params::DEFAULT,
                version: Version::default(),
                algorithm: Algorithm::Argon2id,
                salt,
                hash,
            },
            _ => unreachable!("16 and 32 bytes are within the limits of the PHC format"),
        }
    }

    /// True if this is the hash of `password`. Compares in constant time.
    fn is_of(&self, memory: &mut Memory, password: &str) -> bool {
        let mut hash = vec![0; self.hash.len()];
        Argon2::new(self.algorithm, self.version, self.params.clone())
            .hash_password_into_with_memory(
                password.as_bytes(),
                &self.salt,
                &mut hash,
                memory.of(&self.params),
            )
            .is_ok_and(|()| Output::new(&hash).is_ok_and(|hash| hash == self.hash))
    }

    /// True if the hash was made with parameters other than today's.
    fn is_old(&self) -> bool {
        let (mine, today) = (&self.params, Params::DEFAULT);
        (mine.m_cost(), mine.t_cost(), mine.p_cost())
            != (today.m_cost(), today.t_cost(), today.p_cost())
            || self.version != Version::default()
            || self.algorithm != Algorithm::Argon2id
            || self.hash.len() != Params::DEFAULT_OUTPUT_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(password: &str, stored: Option<&str>) -> Verdict {
        verify_in(&mut Memory::default(), password, stored)
    }

    /// A hash as an earlier version of this program, or another program, makes it.
    fn foreign(password: &str, (m, t, p): (u32, u32, u32)) -> String {
        use argon2::PasswordHasher;
        let params = Params::new(m, t, p, None).expect("parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password_with_salt(password.as_bytes(), &[7; 16]);
        hash.expect("a hash").to_string()
    }

    #[test]
    fn a_hash_says_how_it_was_made_and_matches_its_password_only() {
        let phc = hash("correct horse battery").expect("a hash");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(
            verify("correct horse battery", Some(&phc)),
            Verdict::Right(None)
        );
        assert_eq!(verify("correct horse batterx", Some(&phc)), Verdict::Wrong);
        let theirs = foreign("correct horse battery", (19456, 2, 1));
        assert_eq!(
            verify("correct horse battery", Some(&theirs)),
            Verdict::Right(None),
            "the crate's own function makes the same"
        );
    }

    #[test]
    fn nobodys_password_matches_nobody() {
        assert_eq!(verify("nobody has this password", None), Verdict::Wrong);
        for broken in ["", "x", "$argon2id$", "$scrypt$ln=1$AAAA$AAAA"] {
            assert_eq!(verify("", Some(broken)), Verdict::Wrong, "{broken}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_and_bounded_in_bytes() {
        assert_eq!(hash("short"), Err(Error::TooShort));
        assert!(hash("パスワードは長いほど良い").is_ok());
        assert_eq!(hash(&"x".repeat(MAX_BYTES + 1)), Err(Error::TooLong));
        assert_eq!(
            hash("e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}"),
            Err(Error::TooShort),
            "six letters, in whatever way they are typed"
        );
    }

    #[test]
    fn a_hash_of_other_parameters_verifies_once_and_is_made_anew() {
        let password = "correct horse battery";
        for params in [(4096, 3, 1), (32768, 1, 2), (8192, 1, 1)] {
            let old = foreign(password, params);
            assert_eq!(verify("another password", Some(&old)), Verdict::Wrong);
            let Verdict::Right(Some(new)) = verify(password, Some(&old)) else {
                panic!("it was to be made anew: {params:?}");
            };
            assert_eq!(verify(password, Some(&new)), Verdict::Right(None));
        }
        let mut memory = Memory::default();
        let large = foreign(password, (64 * 1024, 1, 1));
        assert!(matches!(
            verify_in(&mut memory, password, Some(&large)),
            Verdict::Right(Some(_))
        ));
        assert_eq!(memory.0.len(), Params::DEFAULT.block_count());
    }

    #[test]
    fn a_hash_that_asks_for_more_than_the_bounds_is_refused_without_work() {
        let phc = hash("correct horse battery").expect("a hash");
        for more in ["m=65540,t=2,p=1", "m=19456,t=11,p=1", "m=19456,t=2,p=5"] {
            let greedy = phc.replace("m=19456,t=2,p=1", more);
            assert!(Stored::read(&greedy).is_none(), "{more}");
        }
    }

    #[test]
    fn a_password_is_the_same_however_its_letters_are_composed() {
        let (composed, apart) = ("caf\u{e9} caf\u{e9} 12", "cafe\u{301} cafe\u{301} 12");
        let phc = hash(apart).expect("a hash");
        assert_eq!(verify(composed, Some(&phc)), Verdict::Right(None));
        assert_eq!(verify(apart, Some(&phc)), Verdict::Right(None));
        let old = foreign(apart, (19456, 2, 1));
        assert_eq!(verify(composed, Some(&old)), Verdict::Wrong);
        let Verdict::Right(Some(new)) = verify(apart, Some(&old)) else {
            panic!("a hash of an earlier version is of the password as typed");
        };
        assert_eq!(verify(composed, Some(&new)), Verdict::Right(None));
    }
}
