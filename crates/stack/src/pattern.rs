//! Shell patterns (`*`, `?`) of substitutions.

/// Whether the whole text matches.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // Greedy with one way back: linear in practice, never exponential.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some('?') => (p, t) = (p + 1, t + 1),
            Some(wanted) if *wanted == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (p, t) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|left| *left == '*')
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Tries the lengths in order; what is left when that many characters are taken at the start.
fn without_start(value: &str, pattern: &str, lengths: impl Iterator<Item = usize>) -> Option<String> {
    let (value, pattern) = (chars(value), chars(pattern));
    lengths
        .into_iter()
        .find(|length| matches(&pattern, &value[..*length]))
        .map(|length| value[length..].iter().collect())
}

fn without_end(value: &str, pattern: &str, lengths: impl Iterator<Item = usize>) -> Option<String> {
    let (value, pattern) = (chars(value), chars(pattern));
    let kept = |length: usize| value.len() - length;
    lengths
        .into_iter()
        .find(|length| matches(&pattern, &value[kept(*length)..]))
        .map(|length| value[..kept(length)].iter().collect())
}

fn count(value: &str) -> usize {
    value.chars().count()
}

pub(crate) fn trim_start_shortest(value: &str, pattern: &str) -> String {
    without_start(value, pattern, 0..=count(value)).unwrap_or_else(|| value.to_owned())
}

pub(crate) fn trim_start_longest(value: &str, pattern: &str) -> String {
    without_start(value, pattern, (0..=count(value)).rev()).unwrap_or_else(|| value.to_owned())
}

pub(crate) fn trim_end_shortest(value: &str, pattern: &str) -> String {
    without_end(value, pattern, 0..=count(value)).unwrap_or_else(|| value.to_owned())
}

pub(crate) fn trim_end_longest(value: &str, pattern: &str) -> String {
    without_end(value, pattern, (0..=count(value)).rev()).unwrap_or_else(|| value.to_owned())
}

pub(crate) fn replace_all(value: &str, searched: &str, replacement: &str) -> String {
    if searched.is_empty() { value.to_owned() } else { value.replace(searched, replacement) }
}

pub(crate) fn replace_first(value: &str, searched: &str, replacement: &str) -> String {
    if searched.is_empty() { value.to_owned() } else { value.replacen(searched, replacement, 1) }
}

pub(crate) fn replace_start(value: &str, searched: &str, replacement: &str) -> String {
    value.strip_prefix(searched).map_or_else(|| value.to_owned(), |rest| format!("{replacement}{rest}"))
}

pub(crate) fn replace_end(value: &str, searched: &str, replacement: &str) -> String {
    value.strip_suffix(searched).map_or_else(|| value.to_owned(), |rest| format!("{rest}{replacement}"))
}
