//! Whether a caller knows a secret that the function shares with those who may call it.

use crate::{Context, log};
use subtle::ConstantTimeEq;

/// What is told of a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It knows the secret.
    Allowed,
    /// It does not: 401.
    Denied,
    /// There is no secret to compare with, and the log says why: 503.
    NoSecret,
}

impl Access {
    /// Compares what a caller told with the function's secret `name`, in time that does not depend on where they
    /// differ. The secret is read each time, so that a new one counts at once; white space around either is none of it.
    #[must_use]
    pub fn of(context: &Context, name: &str, told: Option<&str>) -> Self {
        match context.secret_text(name) {
            // An empty secret would let everyone in.
            Ok(secret) if secret.is_empty() => {
                log(format_args!("The secret {name} is empty: calls that need it are refused until it has a value"));
                Self::NoSecret
            }
            Ok(secret) => {
                let told = told.unwrap_or_default().trim();
                if bool::from(told.as_bytes().ct_eq(secret.as_bytes())) { Self::Allowed } else { Self::Denied }
            }
            Err(error) => {
                log(format_args!("Calls that need the secret {name} are refused: {error}"));
                Self::NoSecret
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    #[test]
    fn only_the_secret_itself_opens() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("key"), text).unwrap();
        let context = Context::of([("secret_mount_path", directory.path().to_str().unwrap())], Clock::fixed(0));
        let access = |told| Access::of(&context, "key", told);
        assert_eq!(access(Some("s3cret")), Access::NoSecret);
        write("s3cret\n");
        assert_eq!(access(Some("s3cret")), Access::Allowed);
        for wrong in [None, Some(""), Some("s3cre"), Some("s3crett"), Some("S3CRET")] {
            assert_eq!(access(wrong), Access::Denied, "{wrong:?}");
        }
        write("other");
        assert_eq!(access(Some("s3cret")), Access::Denied);
        write(" \n");
        assert_eq!(access(Some("")), Access::NoSecret);
    }
}
