//! Reads tar archives of strangers: compressed or not, one entry at a time, with nothing held in memory and nothing
//! believed.

use crate::error::ImageError;
use crate::metered::Budget;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use tar::EntryType;

/// One entry, as the archive has it.
pub(crate) struct Item<'a> {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) mtime: u64,
    pub(crate) contents: &'a mut dyn Read,
}

impl Item<'_> {
    /// Refuses this entry, by name.
    pub(crate) fn refuse(&self, of: &str, why: impl Into<String>) -> ImageError {
        ImageError::Entry { entry: shown(&self.path), of: of.to_owned(), why: why.into() }
    }
}

/// How many files may still come, shared with whoever makes some that no entry names.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    left: Rc<Cell<u64>>,
    limit: u64,
}

impl Entries {
    /// Takes one; the limit when there is none left.
    pub(crate) fn take(&self) -> Result<(), u64> {
        self.left.set(self.left.get().checked_sub(1).ok_or(self.limit)?);
        Ok(())
    }
}

/// What is left of the limits while the parts of one image are read.
pub(crate) struct Allowance {
    pub(crate) bytes: Budget,
    pub(crate) entries: Entries,
    /// Of bytes.
    limit: u64,
}

impl Allowance {
    pub(crate) fn new(bytes: u64, entries: u64) -> Self {
        let entries = Entries { left: Rc::new(Cell::new(entries)), limit: entries };
        Self { bytes: Budget::new(bytes), entries, limit: bytes }
    }

    fn take_entry(&self, of: &str) -> Result<(), ImageError> {
        self.entries
            .take()
            .map_err(|limit| ImageError::TooLarge { what: of.to_owned(), limit: format!("{limit} entries") })
    }

    /// What a failed read means.
    pub(crate) fn error(&self, of: &str, error: &io::Error) -> ImageError {
        if self.bytes.is_spent() {
            return ImageError::TooLarge { what: of.to_owned(), limit: format!("{} bytes unpacked", self.limit) };
        }
        let text = error.to_string();
        // tar gives its errors no kinds.
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
            _ if text.contains("entire block") => "it is cut short".to_owned(),
            _ if text.contains("checksum") || text.contains("numeric field") => "it is no tar".to_owned(),
            _ => text,
        };
        ImageError::Damaged { what: of.to_owned(), why }
    }
}

/// Takes gzip away where it is; other compressions are refused by name.
pub(crate) fn decompressed<'a>(of: &str, mut reader: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    const REFUSED: [(&[u8], &str); 3] =
        [(&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (b"BZh", "bzip2")];
    let start =
        reader.fill_buf().map_err(|error| ImageError::Damaged { what: of.to_owned(), why: error.to_string() })?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(reader)));
    }
    match REFUSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, compression)) => Err(ImageError::Damaged {
            what: of.to_owned(),
            why: format!(
                "it is compressed with {compression}, and only gzip or none is understood \
                 (skopeo copy --dest-compress-format gzip converts it)"
            ),
        }),
        None => Ok(Box::new(reader)),
    }
}

/// Calls `each` for every entry, in order. What `each` leaves unread is skipped.
pub(crate) fn for_each(
    of: &str,
    reader: impl Read,
    allowance: &mut Allowance,
    mut each: impl FnMut(&mut Item<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let budget = allowance.bytes.clone();
    let mut archive = tar::Archive::new(budget.reader(reader));
    let mut entries = archive.entries().map_err(|error| allowance.error(of, &error))?;
    loop {
        budget.headers();
        let next = entries.next();
        budget.contents();
        let Some(entry) = next else { return Ok(()) };
        allowance.take_entry(of)?;
        let mut entry = entry.map_err(|error| allowance.error(of, &error))?;
        let (size, header) = (entry.size(), entry.header());
        let number = |value: io::Result<u64>| value.map_err(|error| allowance.error(of, &error));
        let (mode, mtime) = (number(header.mode().map(u64::from))?, number(header.mtime())?);
        let (kind, path) = (header.entry_type(), entry.path_bytes().into_owned());
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let mode = u32::try_from(mode).expect("it came from a u32");
        let mut counted = Counted { inner: &mut entry, read: 0 };
        each(&mut Item { path: path.clone(), kind, link, mode, mtime, contents: &mut counted })?;
        io::copy(&mut counted, &mut io::sink()).map_err(|error| allowance.error(of, &error))?;
        if kind != EntryType::GNUSparse && counted.read != size {
            let why = format!("it ends in the middle of {:?}", shown(&path));
            return Err(ImageError::Damaged { what: of.to_owned(), why });
        }
    }
}

/// A path for people: short, and text.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
