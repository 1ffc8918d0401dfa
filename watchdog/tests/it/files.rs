//! Mode static.

use crate::under_test::{Answer, Watchdog, run};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

fn site() -> (tempfile::TempDir, Watchdog) {
    let outside = tempfile::tempdir().unwrap();
    let public = outside.path().join("public");
    fs::create_dir_all(public.join("docs/empty")).unwrap();
    fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    for (name, text) in [
        ("index.html", "<h1>home</h1>"),
        ("style.css", "a{}"),
        ("app.js", "1"),
        ("data.json", "{}"),
        ("a b.txt", "spaced"),
        ("LICENSE", "free"),
        ("none", ""),
        ("docs/index.html", "docs"),
    ] {
        fs::write(public.join(name), text).unwrap();
    }
    symlink("../secret.txt", public.join("out.txt")).unwrap();
    symlink("style.css", public.join("in.css")).unwrap();
    let watchdog = Watchdog::start(&[("mode", "static"), ("static_path", public.to_str().unwrap())]);
    (outside, watchdog)
}

fn with(watchdog: &Watchdog, method: &str, path: &str, headers: &str) -> Answer {
    watchdog.raw(&format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n"))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn files_are_served_with_their_type_and_length() {
    let (_site, watchdog) = site();
    assert_eq!(watchdog.get("/_/health").status, 200);
    assert_eq!(watchdog.get("/_/ready").status, 200);
    for (path, content_type, body) in [
        ("/", "text/html; charset=utf-8", "<h1>home</h1>"),
        ("/index.html", "text/html; charset=utf-8", "<h1>home</h1>"),
        ("/style.css?v=1", "text/css; charset=utf-8", "a{}"),
        ("/app.js", "text/javascript; charset=utf-8", "1"),
        ("/data.json", "application/json", "{}"),
        ("/a%20b.txt", "text/plain; charset=utf-8", "spaced"),
        ("/LICENSE", "text/plain; charset=utf-8", "free"),
        ("/none", "text/plain; charset=utf-8", ""),
        ("/docs/", "text/html; charset=utf-8", "docs"),
        ("/in.css", "text/css; charset=utf-8", "a{}"),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = with(&watchdog, method, path, "");
            let expected = if method == "HEAD" { "" } else { body };
            assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{method} {path}: {answer:?}");
            assert_eq!(header(&answer, "content-type"), Some(content_type), "{method} {path}");
            assert_eq!(header(&answer, "content-length"), Some(body.len().to_string().as_str()), "{method} {path}");
            assert!(header(&answer, "etag").is_some() && header(&answer, "last-modified").is_some(), "{answer:?}");
        }
    }
    let answer = with(&watchdog, "DELETE", "/style.css", "");
    assert_eq!((answer.status, header(&answer, "allow")), (405, Some("get, head, post")));
}

#[test]
fn nothing_else_is_served() {
    let (_site, watchdog) = site();
    for (path, status) in [
        ("/none.txt", 404),
        ("/style.css/", 404),
        ("/out.txt", 404),
        ("/../secret.txt", 400),
        ("/docs/../../secret.txt", 400),
        ("/%2e%2e/secret.txt", 400),
        ("/..%2fsecret.txt", 400),
        ("/%00", 400),
        ("/%zz", 400),
        // A directory without index.html is not listed.
        ("/docs/empty/", 404),
        ("//etc/passwd", 404),
    ] {
        let answer = watchdog.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.body.contains("secret"), "{path}: {answer:?}");
    }
    let answer = watchdog.get("/docs?x=1");
    assert_eq!((answer.status, header(&answer, "location")), (301, Some("./docs/?x=1")));
}

#[test]
fn what_the_caller_has_is_not_sent_again() {
    let (site, watchdog) = site();
    let date = dated(&site.path().join("public/style.css"));
    let answer = watchdog.get("/style.css");
    let tag = header(&answer, "etag").unwrap().to_owned();
    for headers in [format!("if-none-match: {tag}\r\n"), format!("if-modified-since: {date}\r\n")] {
        for method in ["GET", "HEAD"] {
            let answer = with(&watchdog, method, "/style.css", &headers);
            assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{headers}: {answer:?}");
            assert_eq!(header(&answer, "etag"), Some(tag.as_str()));
            assert_eq!(header(&answer, "content-length"), None);
        }
    }
    fs::write(site.path().join("public/style.css"), "b{ }").unwrap();
    let answer = with(&watchdog, "GET", "/style.css", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "b{ }"));
}

/// Gives a file a time, and says it.
fn dated(path: &Path) -> &'static str {
    let time = UNIX_EPOCH + Duration::from_secs(1_795_395_723);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    "Mon, 23 Nov 2026 01:02:03 GMT"
}

#[test]
fn a_part_is_served() {
    let (_site, watchdog) = site();
    let answer = with(&watchdog, "GET", "/", "range: bytes=4-7\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (206, "home"));
    assert_eq!(header(&answer, "content-range"), Some("bytes 4-7/13"));
    assert_eq!(header(&answer, "content-length"), Some("4"));
    let answer = with(&watchdog, "GET", "/", "range: bytes=13-\r\n");
    assert_eq!((answer.status, header(&answer, "content-range")), (416, Some("bytes */13")));
    assert_eq!(with(&watchdog, "GET", "/", "range: bytes=0-1,3-4\r\n").status, 200);
}

/// The most memory that a process has had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_file_is_not_held_in_memory_also_when_the_caller_reads_slowly() {
    const SIZE: u64 = 500 * 1024 * 1024;
    let (site, watchdog) = site();
    let path = site.path().join("public/large.bin");
    let file = fs::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    (&file).write_all(b"begins").unwrap();
    let before = peak(watchdog.pid());
    let mut slow = watchdog.connect();
    slow.write_all(b"GET /large.bin HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut stream = watchdog.connect();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut buffer = vec![0; 1024 * 1024];
    let mut seen = 0;
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        seen += read as u64;
    }
    assert!(seen > SIZE && seen < SIZE + 1000, "{seen}");
    let read = slow.read(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..read]).contains(&format!("content-length: {SIZE}")));
    let more = peak(watchdog.pid()) - before;
    assert!(more < 16 * 1024 * 1024, "{more} bytes");
    // A part from its middle is read from there.
    let answer = with(&watchdog, "GET", "/large.bin", "range: bytes=-5\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (206, "\0\0\0\0\0"));
}

#[test]
fn a_file_that_becomes_shorter_breaks_the_answer_off() {
    let (site, watchdog) = site();
    let path = site.path().join("public/large.bin");
    let file = fs::File::create(&path).unwrap();
    file.set_len(50 * 1024 * 1024).unwrap();
    let mut stream = watchdog.connect();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut buffer = vec![0; 1024];
    stream.read_exact(&mut buffer).unwrap();
    file.set_len(1024).unwrap();
    let mut rest = Vec::new();
    // Ends, however it does.
    stream.read_to_end(&mut rest).map(drop).unwrap_or_default();
    assert!(rest.len() < 40 * 1024 * 1024, "{}", rest.len());
    assert_eq!(watchdog.get("/").status, 200);
}

#[test]
fn a_directory_that_is_replaced_is_the_new_one() {
    let outside = tempfile::tempdir().unwrap();
    for version in ["1", "2"] {
        fs::create_dir(outside.path().join(version)).unwrap();
        fs::write(outside.path().join(version).join("version"), version).unwrap();
    }
    let current = outside.path().join("current");
    symlink("1", &current).unwrap();
    let watchdog = Watchdog::start(&[("mode", "static"), ("static_path", current.to_str().unwrap())]);
    assert_eq!(watchdog.get("/version").body, "1");
    symlink("2", outside.path().join("next")).unwrap();
    fs::rename(outside.path().join("next"), &current).unwrap();
    assert_eq!(watchdog.get("/version").body, "2");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let output = run(&[], &[("mode", "static"), ("static_path", "/no/such/place"), ("CREMA_SOCKET", "/tmp/none.s")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && text.contains("/no/such/place") && text.contains("static_path"),
        "{text}"
    );
}
