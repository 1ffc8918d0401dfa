//! The door to the environment.

use std::collections::HashMap;
use std::time::Duration;
use wire::duration;

/// Where settings come from: the process's environment, or a map in tests.
pub trait Env {
    /// The variable's value; `None` when it is unset or empty.
    fn get(&self, name: &str) -> Option<String>;

    /// A duration, or `default` when unset.
    fn duration(&self, name: &'static str, default: Duration) -> Result<Duration, EnvError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        duration::parse(&value).map_err(|error| EnvError::new(name, &value, error))
    }

    /// A value that can be read from text, or `default` when unset.
    fn parse<T>(&self, name: &'static str, default: T) -> Result<T, EnvError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
        Self: Sized,
    {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.parse().map_err(|error| EnvError::new(name, &value, error))
    }

    /// `true`/`1` or `false`/`0`, or `default` when unset.
    fn flag(&self, name: &'static str, default: bool) -> Result<bool, EnvError> {
        match self.get(name).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(EnvError::new(name, other, "give true or false")),
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name}={value}: {why}")]
pub struct EnvError {
    name: &'static str,
    value: String,
    why: String,
}

impl EnvError {
    /// Says which variable, its value and why it is refused.
    pub fn new(name: &'static str, value: &str, why: impl std::fmt::Display) -> Self {
        Self { name, value: value.chars().take(120).collect(), why: why.to_string() }
    }
}

/// The process's environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Env for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        Self::get(self, name).filter(|value| !value.is_empty()).cloned()
    }
}

impl<const N: usize> Env for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<String> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
            .filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_names_its_variable() {
        let env = [("read_timeout", "soon"), ("on", "yes")];
        let error = env.duration("read_timeout", Duration::ZERO).unwrap_err();
        assert!(error.to_string().starts_with("read_timeout=soon: "), "{error}");
        assert!(env.flag("on", false).is_err());
        assert_eq!(env.parse::<u16>("port", 8080), Ok(8080));
    }
}
