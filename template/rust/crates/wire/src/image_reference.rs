//! Image references: `[registry[:port]/]path[:tag][@digest]` (OCI distribution spec).

use std::fmt;
use std::str::FromStr;

/// A checked image reference, its text as given.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageReference {
    text: String,
    /// Where the tag's `:` is, when there is one.
    tag: Option<usize>,
    /// Where the digest's `@` is, when there is one.
    digest: Option<usize>,
}

/// Why text is no image reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("image {given:?} is not a valid reference: {why}; write it like ghcr.io/owner/name:1.0.0")]
pub struct ImageReferenceError {
    given: String,
    why: &'static str,
}

impl ImageReference {
    /// The repository: registry and path, without tag and digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.text[..self.tag.or(self.digest).unwrap_or(self.text.len())]
    }

    /// The tag; `latest` when neither tag nor digest is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match (self.tag, self.digest) {
            (Some(colon), end) => Some(&self.text[colon + 1..end.unwrap_or(self.text.len())]),
            (None, Some(_)) => None,
            (None, None) => Some("latest"),
        }
    }

    /// The digest, `sha256:…`, when given.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.map(|at| &self.text[at + 1..])
    }

    /// The reference with its tag written out.
    #[must_use]
    pub fn canonical(&self) -> String {
        match (self.tag, self.digest) {
            (None, None) => format!("{}:latest", self.text),
            _ => self.text.clone(),
        }
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let refuse = |why| ImageReferenceError { given: text.chars().take(120).collect(), why };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() > 4096 {
            return Err(refuse("it is too long"));
        }
        let digest = text.find('@');
        if let Some(at) = digest {
            check_digest(&text[at + 1..]).map_err(refuse)?;
        }
        let named = &text[..digest.unwrap_or(text.len())];
        let path_start = named.rfind('/').map_or(0, |slash| slash + 1);
        let tag = named[path_start..].find(':').map(|colon| path_start + colon);
        if let Some(colon) = tag {
            check_tag(&named[colon + 1..]).map_err(refuse)?;
        }
        check_repository(&named[..tag.unwrap_or(named.len())]).map_err(refuse)?;
        Ok(Self { text: text.to_owned(), tag, digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn check_digest(digest: &str) -> Result<(), &'static str> {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return Err("the digest after '@' has no algorithm");
    };
    let wanted = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return Err("the digest's algorithm is neither sha256 nor sha512"),
    };
    if hex.len() != wanted || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err("the digest is not the right number of lower-case hexadecimal digits");
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().ok_or("the tag after ':' is empty")?;
    if tag.len() > 128 {
        return Err("the tag is longer than 128 characters");
    }
    if !word(first) || !tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-') {
        return Err("a tag holds letters, digits, '_', '.' and '-', and starts with none of the last two");
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > 255 {
        return Err("the name is longer than 255 characters");
    }
    let path = match repository.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            check_registry(first)?;
            rest
        }
        _ => repository,
    };
    path.split('/').try_for_each(check_component)
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = registry.rsplit_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("the registry's port is no port number");
    }
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte)) {
        return Err("the registry is no host name");
    }
    Ok(())
}

/// A path component: lower-case words joined by `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> Result<(), &'static str> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err("a part of the name is empty");
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return Err("each part of the name starts and ends with a lower-case letter or digit");
    }
    let mut separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !separators.all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-')) {
        return Err("a name holds lower-case letters and digits, joined by '.', '_', '__' or '-'");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_references_apart() {
        let digest = "a".repeat(64);
        for (text, repository, tag) in [
            ("hello", "hello", Some("latest")),
            ("owner/hello:0.1.0", "owner/hello", Some("0.1.0")),
            ("127.0.0.1:5000/fn/hello:v1", "127.0.0.1:5000/fn/hello", Some("v1")),
            ("localhost/a__b-c", "localhost/a__b-c", Some("latest")),
            ("[::1]:5000/a:b", "[::1]:5000/a", Some("b")),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!((reference.repository(), reference.tag()), (repository, tag));
        }
        let pinned: ImageReference = format!("a/b@sha256:{digest}").parse().unwrap();
        assert_eq!((pinned.repository(), pinned.tag()), ("a/b", None));
        assert_eq!(pinned.digest(), Some(format!("sha256:{digest}").as_str()));
    }

    #[test]
    fn refuses_what_faas_cli_sends_outside_a_repository() {
        for bad in [
            "",
            "owner/echo:0.1.0-fatal: not a git repository (or any of the parent directories): .git",
            "Owner/Echo",
            "a//b",
            "a/../b",
            "/a",
            "a:",
            "a@sha256:12",
            "a b",
            "a:b:c",
            "-a",
            "a___b",
            "ä",
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad:?}");
        }
    }
}
