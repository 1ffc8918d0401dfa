//! Whether a temperature is too hot.

use crate::reading::{Fahrenheit, ReadingError};
use std::fmt;

/// The limit where the environment names none.
const DEFAULT_LIMIT: f64 = 95.0;

/// The hottest a fridge may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit(Fahrenheit);

/// The value of `limit_fahrenheit` is none.
#[derive(Debug, thiserror::Error)]
#[error("limit_fahrenheit={value:?} is no temperature in °F; set a number such as 95")]
pub struct LimitError {
    value: String,
    #[source]
    source: Option<ReadingError>,
}

/// What is said of a temperature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Above the limit.
    TooHot,
    /// At the limit or below.
    Fine,
}

impl Limit {
    /// Reads the value of `limit_fahrenheit`; 95 °F when there is none.
    pub fn from_setting(value: Option<&str>) -> Result<Self, LimitError> {
        let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
            return Ok(Self::default());
        };
        let refused = |source| LimitError { value: value.to_owned(), source };
        let degrees: f64 = value.parse().map_err(|_| refused(None))?;
        Fahrenheit::new(degrees).map(Self).map_err(|error| refused(Some(error)))
    }

    /// Judges `temperature`.
    pub fn judge(self, temperature: Fahrenheit) -> Verdict {
        if temperature > self.0 { Verdict::TooHot } else { Verdict::Fine }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(Fahrenheit::new(DEFAULT_LIMIT).expect("the default limit is a temperature"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooHot => "Warning: Too hot!",
            Self::Fine => "Temperature OK",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(limit: Option<&str>, degrees: f64) -> Verdict {
        Limit::from_setting(limit).unwrap().judge(Fahrenheit::new(degrees).unwrap())
    }

    #[test]
    fn only_above_the_limit_is_too_hot() {
        assert_eq!(verdict(None, 95.0), Verdict::Fine);
        assert_eq!(verdict(None, 95.01), Verdict::TooHot);
        assert_eq!(verdict(Some("41"), 41.0), Verdict::Fine);
        assert_eq!(verdict(Some(" 41.5 "), 41.6), Verdict::TooHot);
        assert_eq!(verdict(Some(""), 94.0), Verdict::Fine);
    }

    #[test]
    fn a_limit_that_is_no_temperature_is_refused_by_name() {
        for value in ["hot", "NaN", "inf", "-500", "95F"] {
            let error = Limit::from_setting(Some(value)).unwrap_err().to_string();
            assert!(error.contains("limit_fahrenheit") && error.contains(value), "{error}");
        }
    }
}
