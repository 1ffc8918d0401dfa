//! Kubernetes resource quantities: `128Mi`, `0.5`, `200m`, `1e3`.

/// Why text is no quantity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{given:?} is not a quantity of {what}: give a number with an optional unit, like {example}")]
pub struct QuantityError {
    given: String,
    what: &'static str,
    example: &'static str,
}

/// Reads memory, in bytes, rounded up.
pub fn memory(text: &str) -> Result<u64, QuantityError> {
    read(text, 1).ok_or_else(|| QuantityError {
        given: text.chars().take(40).collect(),
        what: "memory",
        example: "128Mi",
    })
}

/// Reads CPU, in thousandths of a core, rounded up.
pub fn cpu(text: &str) -> Result<u64, QuantityError> {
    read(text, 1_000).ok_or_else(|| QuantityError {
        given: text.chars().take(40).collect(),
        what: "CPU",
        example: "200m",
    })
}

/// `text` times `scale`, rounded up; exact in integers.
fn read(text: &str, scale: u128) -> Option<u64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || fraction.len() > 15 || fraction.contains('.') {
        return None;
    }
    let (times, divide) = unit(suffix)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divide)?;
    let value = digits.checked_mul(times)?.checked_mul(scale)?.div_ceil(divisor);
    u64::try_from(value).ok()
}

/// What a suffix multiplies and divides by.
fn unit(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let ten = 10u128.checked_pow(power.unsigned_abs().min(30))?;
            if power < 0 { (1, ten) } else { (ten, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kubernetes_quantities() {
        for (text, bytes) in [
            ("128Mi", 128 << 20),
            ("1e3", 1000),
            ("0.5Ki", 512),
            ("1M", 1_000_000),
            ("42", 42),
            ("0", 0),
            ("1500m", 2),
            ("1E3", 1000),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for (text, millis) in [("200m", 200), ("1", 1000), ("0.5", 500), (".1", 100), ("100u", 1)] {
            assert_eq!(cpu(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for bad in ["", "12XB", "Mi", "-1", "1.2.3", "1 Mi", "99999999999999999999Ei", "٣", "1e", "e3", "."] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }
}
