//! A reader with a budget, against archives that unpack to more than the disk or the memory holds.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// How many bytes may still be read, shared with whoever sets it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    total: Rc<Cell<u64>>,
    /// A tighter bound for now, while a header is read.
    headers: Rc<Cell<Option<u64>>>,
}

/// What one entry's headers (long names, PAX records) may take: they are held in memory.
const HEADERS: u64 = 1024 * 1024;

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { total: Rc::new(Cell::new(bytes)), headers: Rc::new(Cell::new(None)) }
    }

    /// The next reads are of headers, until [`Budget::contents`].
    pub(crate) fn headers(&self) {
        self.headers.set(Some(HEADERS));
    }

    /// The next reads are of an entry's contents.
    pub(crate) fn contents(&self) {
        self.headers.set(None);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.total.get() == 0
    }

    fn spend(&self, bytes: u64) {
        self.total.set(self.total.get().saturating_sub(bytes));
        self.headers.set(self.headers.get().map(|left| left.saturating_sub(bytes)));
    }

    pub(crate) fn reader<R: Read>(&self, inner: R) -> Metered<R> {
        Metered { inner, budget: self.clone() }
    }
}

pub(crate) struct Metered<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.headers.get().unwrap_or(u64::MAX).min(self.budget.total.get());
        if left == 0 && !buffer.is_empty() {
            let mut probe = [0];
            return match self.inner.read(&mut probe)? {
                0 => Ok(0),
                _ if self.budget.is_spent() => Err(io::Error::other("it is larger than the limit")),
                _ => Err(io::Error::other("its headers are larger than 1 MiB")),
            };
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.budget.spend(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_budget_is_read_and_one_more_byte_fails() {
        let mut out = Vec::new();
        assert_eq!(Budget::new(4).reader(&b"four"[..]).read_to_end(&mut out).unwrap(), 4);
        assert!(Budget::new(3).reader(&b"four"[..]).read_to_end(&mut out).is_err());
    }

    #[test]
    fn headers_have_a_budget_of_their_own() {
        let budget = Budget::new(u64::MAX);
        let mut reader = budget.reader(io::repeat(0));
        budget.headers();
        let mut out = Vec::new();
        assert!(reader.read_to_end(&mut out).is_err());
        budget.contents();
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 10);
    }
}
