//! The part of a file that a `Range` header asks for.

/// A part of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) length: u64,
}

/// What a `Range` header asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Range {
    /// One part.
    Part(Part),
    /// Nothing that the file has.
    Outside,
    /// Several parts, or none that can be read: the whole file is a good answer (RFC 9110 §14.2).
    Ignored,
}

/// Reads the header for a file of `size` bytes.
pub(super) fn read(header: &str, size: u64) -> Range {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Range::Ignored;
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX));
    let (Some(first_number), Some(last_number)) = (number(first), number(last)) else { return Range::Ignored };
    match (first.is_empty(), last.is_empty()) {
        _ if size == 0 => Range::Ignored,
        (true, true) => Range::Ignored,
        (true, false) if last_number == 0 => Range::Outside,
        (true, false) => {
            let length = last_number.min(size);
            Range::Part(Part { from: size - length, length })
        }
        (false, false) if last_number < first_number => Range::Ignored,
        (false, _) if first_number >= size => Range::Outside,
        (false, true) => Range::Part(Part { from: first_number, length: size - first_number }),
        (false, false) => {
            let last = last_number.min(size - 1);
            Range::Part(Part { from: first_number, length: last - first_number + 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file() {
        let part = |from, length| Range::Part(Part { from, length });
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-99999999999999999999999", part(5, 5)),
            ("bytes=10-", Range::Outside),
            ("bytes=99999999999999999999999-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=4-2", Range::Ignored),
            ("bytes=0-1,3-4", Range::Ignored),
            ("bytes=-", Range::Ignored),
            ("bytes=a-b", Range::Ignored),
            ("bytes=+1-2", Range::Ignored),
            ("bytes=1--2", Range::Ignored),
            ("lines=1-2", Range::Ignored),
            ("", Range::Ignored),
        ] {
            assert_eq!(read(header, 10), expected, "{header}");
        }
        assert_eq!(read("bytes=0-", 0), Range::Ignored);
    }
}
