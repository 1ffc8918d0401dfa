//! The path of a request, as one beneath the directory.

use hyper::Uri;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What a request asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Asked {
    /// Relative, without `.` and `..`; empty for the directory itself.
    pub(super) path: PathBuf,
    /// Whether it ends with a slash.
    pub(super) is_directory: bool,
    /// The last name as it was sent, and the query.
    last: String,
    query: Option<String>,
}

impl Asked {
    /// `None`: it is no file's path.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let path = uri.path();
        let bytes = decode(path.as_bytes())?;
        let names = || bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
        if bytes.contains(&0) || names().any(|name| name == b"..") {
            return None;
        }
        Some(Self {
            path: names().map(|name| OsString::from_vec(name.to_vec())).collect(),
            is_directory: bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes.is_empty(),
            last: path.rsplit('/').next().unwrap_or_default().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// The same with a slash behind it, relative to itself: the gateway has another path before it. The dot keeps a
    /// name with a colon from being a scheme.
    pub(super) fn with_slash(&self) -> String {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("./{}/{query}", self.last)
    }
}

/// Decodes `%41`; `None` when a `%` is not followed by two digits.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(if *byte == b'%' { digit(*rest.next()?)? * 16 + digit(*rest.next()?)? } else { *byte });
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_beneath() {
        for (asked, path, is_directory) in [
            ("/", "", true),
            ("/a.txt", "a.txt", false),
            ("/a/b%20c/", "a/b c", true),
            ("//a/./b", "a/b", false),
            ("/a%2Fb", "a/b", false),
            ("/a/.", "a", true),
            ("/...", "...", false),
            ("/%c3%bc", "\u{fc}", false),
        ] {
            let asked = Asked::of(&asked.parse().unwrap()).unwrap();
            assert_eq!((asked.path.to_str().unwrap(), asked.is_directory), (path, is_directory));
        }
        for bad in
            ["/..", "/a/../b", "/%2e%2e/etc/passwd", "/.%2e", "/a/%2E%2E%2fb", "/a%00", "/%", "/%4", "/%zz", "/%2"]
        {
            assert_eq!(Asked::of(&bad.parse().unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn a_slash_is_added_to_the_name_as_it_was_sent() {
        let with_slash = |path: &str| Asked::of(&path.parse().unwrap()).unwrap().with_slash();
        assert_eq!(with_slash("/a/b%20c?x=1"), "./b%20c/?x=1");
        assert_eq!(with_slash("/javascript:x"), "./javascript:x/");
    }
}
