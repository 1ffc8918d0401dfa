//! Password files as `mosquitto_passwd` writes them: `user:$7$ITERATIONS$SALT$HASH`, PBKDF2 over SHA-512, and the
//! older `user:$6$SALT$HASH`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// Bytes of a SHA-512.
const HASH_BYTES: usize = 64;
/// More rounds than this would only keep the broker busy: a second for each connection.
const MAX_ITERATIONS: u32 = 1_000_000;

/// A password that can be checked but not read.
#[derive(Clone)]
pub(crate) struct PasswordHash {
    /// None is the older format: one round.
    iterations: Option<u32>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    /// Reads what follows the user's name; None when it is neither format.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let iterations = match parts.next()? {
            "6" => None,
            "7" => Some(parts.next()?.parse().ok().filter(|count| (1..=MAX_ITERATIONS).contains(count))?),
            _ => return None,
        };
        let salt = STANDARD.decode(parts.next()?).ok()?;
        let hash = STANDARD.decode(parts.next()?).ok()?;
        (parts.next().is_none() && hash.len() == HASH_BYTES).then_some(Self { iterations, salt, hash })
    }

    /// A hash no password has, to spend as much time on users that do not exist as on the slowest of those who do.
    pub(crate) fn of_nobody<'a>(users: impl IntoIterator<Item = &'a Self>) -> Self {
        let iterations = users.into_iter().filter_map(|user| user.iterations).max();
        Self { iterations, salt: vec![0; 12], hash: vec![0; HASH_BYTES] }
    }

    /// Whether this is the password; takes as long as the hash's rounds do.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        let mut hash = [0; HASH_BYTES];
        match self.iterations {
            Some(iterations) => pbkdf2::pbkdf2_hmac::<Sha512>(password, &self.salt, iterations, &mut hash),
            None => hash.copy_from_slice(&Sha512::new().chain_update(password).chain_update(&self.salt).finalize()),
        }
        hash.ct_eq(self.hash.as_slice()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_mosquitto_passwd_wrote_is_known() {
        let line = "$7$101$r+HnQI2t2j63gbBK$i/L713VGxluB3zIAqOdBbHSRkMz45yyZqGW+r0gkcTyfx8I6LuBY5fzm3KsqB5t5Q1b281lRJaJp1JbcRkuYkQ==";
        let hash = PasswordHash::parse(line).unwrap();
        assert!(hash.verify(b"secret"));
        assert!(!hash.verify(b"Secret"));
        let older = PasswordHash { iterations: None, ..hash.clone() };
        let nobody = PasswordHash::of_nobody([&older, &hash]);
        assert_eq!(nobody.iterations, Some(101));
        assert!(!nobody.verify(b""));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for bad in ["", "secret", "$7$101$AAAA$AAAA", "$7$0$AAAA$", "$7$99999999$AAAA$AAAA", "$9$x$y", "$6$AAAA"] {
            assert!(PasswordHash::parse(bad).is_none(), "{bad}");
        }
    }
}
