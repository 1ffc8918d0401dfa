//! Durations as OpenFaaS writes them: whole seconds (`30`) or Go's notation (`1h30m`, `1.5s`, `200ms`).

use std::time::Duration;

/// Why text is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a duration: give whole seconds (30) or Go's notation (1m30s, 500ms)")]
pub struct DurationError(String);

/// Reads whole seconds or Go's notation. Negative durations are refused: none has a meaning here.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError(text.chars().take(40).collect());
    let trimmed = text.trim();
    if let Ok(seconds) = trimmed.parse::<u32>() {
        return Ok(Duration::from_secs(u64::from(seconds)));
    }
    let mut rest = trimmed.strip_prefix('+').unwrap_or(trimmed);
    if rest.is_empty() {
        return Err(refuse());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        nanos = nanos.checked_add(part(number, unit).ok_or_else(refuse)?).ok_or_else(refuse)?;
        rest = tail;
    }
    // Go's range: 290 years.
    let nanos = i64::try_from(nanos).map_err(|_| refuse())?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// Writes a duration that [`parse`] and Go read back.
#[must_use]
pub fn format(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        (0, nanos) if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        (0, nanos) if nanos % 1_000 == 0 => format!("{}us", nanos / 1_000),
        (0, nanos) => format!("{nanos}ns"),
        (seconds, nanos) => format!("{seconds}.{nanos:09}s"),
    }
}

fn part(number: &str, unit: &str) -> Option<u128> {
    let unit_nanos: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
    let mut nanos = whole.checked_mul(unit_nanos)?;
    let mut weight = unit_nanos;
    for digit in fraction.chars() {
        weight /= 10;
        nanos += u128::from(digit.to_digit(10)?) * weight;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_seconds_and_go_notation() {
        for (text, millis) in [
            ("30", 30_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("500ms", 500),
            ("0", 0),
            ("0s", 0),
            ("1h", 3_600_000),
            (".5s", 500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "1x", "-1s", "1", "1.2.3s", ".s", "1e3s", "99999999999h"] {
            assert_eq!(parse(bad).is_err(), bad != "1", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0..i64::MAX) {
            let duration = Duration::from_nanos(nanos.unsigned_abs());
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(parse(&text));
        }
    }
}
