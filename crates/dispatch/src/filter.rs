//! Topic filters by MQTT's rules: what is one, and how two of them lie to each other.

/// The most levels a filter may have. No one has this many; it bounds the tree's depth.
pub(crate) const MAX_LEVELS: usize = 128;
/// The longest topic or filter MQTT can carry, in bytes.
const MAX_BYTES: usize = 65_535;

/// Why text is no topic filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// `#` elsewhere than alone at the end.
    #[error("# stands alone, as the last level")]
    Rest,
    /// `+` with other text in its level.
    #[error("+ stands alone in its level")]
    Any,
    /// More levels than are kept.
    #[error("it has more than {MAX_LEVELS} levels")]
    Levels,
    /// Empty, too long, or with a NUL.
    #[error("it is empty, longer than {MAX_BYTES} bytes, or holds a NUL")]
    Text,
}

/// Checks a topic filter by MQTT's rules.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() || filter.len() > MAX_BYTES || filter.contains('\0') {
        return Err(FilterError::Text);
    }
    let count = filter.split('/').count();
    if count > MAX_LEVELS {
        return Err(FilterError::Levels);
    }
    for (index, level) in filter.split('/').enumerate() {
        if level.contains('#') && (level != "#" || index + 1 != count) {
            return Err(FilterError::Rest);
        }
        if level.contains('+') && level != "+" {
            return Err(FilterError::Any);
        }
    }
    Ok(())
}

/// Whether every topic of `wanted`, a topic or filter, is one of `filter`.
#[must_use]
pub fn covers(filter: &str, wanted: &str) -> bool {
    if wanted.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut wanted) = (filter.split('/'), wanted.split('/'));
    loop {
        match (filter.next(), wanted.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Whether two filters have a topic in common.
#[must_use]
pub fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_it_holds_all_of_and_overlaps_what_it_shares() {
        for (one, other, covered, shared) in [
            ("#", "a/b", true, true),
            ("#", "$SYS/a", false, true),
            ("a/#", "a/+/c", true, true),
            ("a/#", "a", true, true),
            ("a/+", "a/#", false, true),
            ("a/+", "a/b", true, true),
            ("a/b", "a/+", false, true),
            ("a/+/c", "+/b/c", false, true),
            ("a/b", "a/c", false, false),
            ("a", "a/b", false, false),
        ] {
            assert_eq!(covers(one, other), covered, "{one} covers {other}");
            assert_eq!(overlaps(one, other), shared, "{one} overlaps {other}");
        }
    }
}
