//! What a sensor sent: a bare number, which is °F, or an object with `temp` and perhaps a `unit`.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// What a body has to look like; said in every refusal.
pub const EXPECTED: &str = r#"a number in °F such as 38.2, or {"temp": 3.5, "unit": "C"} with unit "F" or "C""#;

/// Nothing is colder; a sensor that says so is broken.
const ABSOLUTE_ZERO_FAHRENHEIT: f64 = -459.67;

/// A temperature, finite and above absolute zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Fahrenheit(f64);

/// Why a body is no temperature.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadingError {
    /// Nothing was sent.
    #[error("the body is empty; expected {EXPECTED}")]
    Empty,
    /// Neither a number nor an object with a number in `temp`.
    #[error("the body is no temperature ({0}); expected {EXPECTED}")]
    NotATemperature(String),
    /// A unit other than F and C.
    #[error("unit {0:?} is neither \"F\" nor \"C\"; expected {EXPECTED}")]
    UnknownUnit(String),
    /// Not a temperature anything can have.
    #[error("{0} °F cannot be: it is below absolute zero or not finite; expected {EXPECTED}")]
    Impossible(f64),
}

/// The object form. What else a sensor tells (its battery, say) is none of our business.
#[derive(Deserialize)]
struct Sensor {
    temp: f64,
    unit: Option<String>,
}

impl Fahrenheit {
    /// A temperature of `degrees` °F.
    pub fn new(degrees: f64) -> Result<Self, ReadingError> {
        if degrees.is_finite() && degrees >= ABSOLUTE_ZERO_FAHRENHEIT {
            Ok(Self(degrees))
        } else {
            Err(ReadingError::Impossible(degrees))
        }
    }

    /// Reads a request body.
    pub fn from_body(body: &[u8]) -> Result<Self, ReadingError> {
        let body = body.trim_ascii();
        if body.is_empty() {
            return Err(ReadingError::Empty);
        }
        let wrong = |error: serde_json::Error| ReadingError::NotATemperature(error.to_string());
        // The value first, so that a twice-named or missing key is told apart from what is no JSON at all.
        match serde_json::from_slice(body).map_err(wrong)? {
            Value::Number(number) => Self::new(number.as_f64().unwrap_or(f64::NAN)),
            Value::Object(_) => {
                let sensor: Sensor = serde_json::from_slice(body).map_err(wrong)?;
                match sensor.unit.as_deref() {
                    None | Some("F" | "f") => Self::new(sensor.temp),
                    Some("C" | "c") => Self::new(sensor.temp * 9.0 / 5.0 + 32.0),
                    Some(other) => Err(ReadingError::UnknownUnit(other.chars().take(40).collect())),
                }
            }
            Value::Null => Err(ReadingError::NotATemperature("it is null".into())),
            Value::Bool(_) => Err(ReadingError::NotATemperature("it is a truth value".into())),
            Value::String(_) => Err(ReadingError::NotATemperature("it is a text".into())),
            Value::Array(_) => Err(ReadingError::NotATemperature("it is a list".into())),
        }
    }
}

impl fmt::Display for Fahrenheit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 100.0).round() / 100.0;
        write!(formatter, "{rounded} °F")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Fahrenheit, ReadingError> {
        Fahrenheit::from_body(body.as_bytes())
    }

    #[test]
    fn a_bare_number_is_fahrenheit() {
        for (body, degrees) in [("38.2", 38.2), (" 97\n", 97.0), ("-4", -4.0), ("9.5e1", 95.0), ("0", 0.0)] {
            assert_eq!(read(body), Ok(Fahrenheit(degrees)), "{body}");
        }
    }

    #[test]
    fn an_object_names_its_unit_in_either_case_and_means_fahrenheit_without_one() {
        assert_eq!(read(r#"{"temp":97.4,"unit":"F"}"#), Ok(Fahrenheit(97.4)));
        assert_eq!(read(r#"{"temp":97.4,"unit":"f"}"#), Ok(Fahrenheit(97.4)));
        assert_eq!(read(r#"{"unit":"C","temp":35}"#), Ok(Fahrenheit(95.0)));
        assert_eq!(read(r#"{"temp":-40,"unit":"c"}"#), Ok(Fahrenheit(-40.0)));
        assert_eq!(read(r#"{"temp":41.5}"#), Ok(Fahrenheit(41.5)));
        assert_eq!(read(r#"{"temp":41.5,"unit":null}"#), Ok(Fahrenheit(41.5)));
        assert_eq!(read(r#"{"temp":41.5,"battery":{"volts":2.9}}"#), Ok(Fahrenheit(41.5)));
    }

    #[test]
    fn garbage_is_refused_with_what_was_expected() {
        for body in [
            "",
            "  \n",
            "warm",
            "NaN",
            "nan",
            "inf",
            "-Infinity",
            "1e999",
            "-1e999",
            "true",
            "null",
            "[1]",
            "\"38\"",
            "38,2",
            "38 F",
            "+38",
            "0x20",
            "--1",
            "{",
            "{}",
            r#"{"temp":"97"}"#,
            r#"{"temp":null}"#,
            r#"{"temp":1e999}"#,
            r#"{"temp":1,"temp":2}"#,
            r#"{"temp":1,"unit":"K"}"#,
            r#"{"temp":1,"unit":""}"#,
            r#"{"temp":1,"unit":7}"#,
            r#"{"unit":"F"}"#,
            "-500",
            r#"{"temp":-274,"unit":"C"}"#,
            r#"{"temp":1.7e308,"unit":"C"}"#,
            "1 2",
        ] {
            let error = read(body).expect_err(body).to_string();
            assert!(error.contains(EXPECTED), "{body}: {error}");
        }
        assert!(Fahrenheit::from_body(&[0xff, 0xfe, 0x00]).is_err());
    }

    #[test]
    fn it_prints_without_the_noise_of_binary_fractions() {
        assert_eq!(read("38.2").unwrap().to_string(), "38.2 °F");
        assert_eq!(read(r#"{"temp":36.7,"unit":"C"}"#).unwrap().to_string(), "98.06 °F");
    }
}
