//! What bytes are, by their looks: for answers and files that nothing else says it of.

const HTML: &str = "text/html; charset=utf-8";
/// What HTML begins with, after white space and before a space or `>`.
const TAGS: [&str; 16] = [
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
];
/// What other things begin with.
const BEGINNINGS: [(&[u8], &str); 8] = [
    (b"<?xml", "text/xml; charset=utf-8"),
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
];
/// How much is looked at.
pub(crate) const LOOK: usize = 512;

/// The content type of what begins with `bytes`, in the manner of the WHATWG's MIME sniffing.
pub(crate) fn content_type(bytes: &[u8]) -> &'static str {
    let bytes = &bytes[..bytes.len().min(LOOK)];
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"<!--") || TAGS.iter().any(|tag| begins_with_tag(text, tag)) {
        return HTML;
    }
    if let Some((_, name)) = BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning)) {
        return name;
    }
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if bytes.iter().any(is_binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

fn begins_with_tag(text: &[u8], tag: &str) -> bool {
    text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
        && text.get(tag.len()).is_some_and(|byte| matches!(byte, b' ' | b'>'))
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn looks_tell() {
        for (bytes, name) in [
            (&b""[..], "text/plain; charset=utf-8"),
            (b"hello\n", "text/plain; charset=utf-8"),
            ("gr\u{fc}\u{df}e".as_bytes(), "text/plain; charset=utf-8"),
            (b"{\"a\":1}", "text/plain; charset=utf-8"),
            (b"\n  <!DOCTYPE html>\n", "text/html; charset=utf-8"),
            (b"<h1 class=\"a\">", "text/html; charset=utf-8"),
            (b"<article>", "text/plain; charset=utf-8"),
            (b"<p", "text/plain; charset=utf-8"),
            (b"<?xml version=\"1.0\"?>", "text/xml; charset=utf-8"),
            (b"\x89PNG\r\n\x1a\n\0", "image/png"),
            (b"a\0b", "application/octet-stream"),
        ] {
            assert_eq!(content_type(bytes), name, "{bytes:?}");
        }
        let mut late = vec![b' '; 600];
        late.push(0);
        assert_eq!(content_type(&late), "text/plain; charset=utf-8");
    }
}
