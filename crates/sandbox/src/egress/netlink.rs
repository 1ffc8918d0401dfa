//! The few words of rtnetlink that links need: requests with attributes, and what is listed in answer.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::os::fd::OwnedFd;

/// The length of a message's header.
const HEADER: usize = 16;
/// Larger than any one datagram of a listing.
const BUFFER: usize = 64 << 10;

/// A socket that talks to the kernel about the network of the thread that opened it.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A request under construction, or the attributes of one.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Bytes of a fixed structure.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("attributes are a few bytes");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// An attribute that is a name, which ends with a zero.
    pub(super) fn name(self, kind: u16, name: &str) -> Self {
        self.attribute(kind, &[name.as_bytes(), &[0]].concat())
    }

    /// An attribute made of others.
    pub(super) fn nested(self, kind: u16, inner: Self) -> Self {
        self.attribute(kind, &inner.0)
    }
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        // No protocol: that is the one of routes.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for a change and waits until it is made.
    pub(super) fn request(&mut self, kind: u16, flags: i32, message: Message) -> io::Result<()> {
        self.send(kind, flags | libc::NLM_F_ACK, &message)?;
        self.answers(|_| ())
    }

    /// Asks for a list; `each` is called with the body of each entry.
    pub(super) fn list(&mut self, kind: u16, message: Message, each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(kind, libc::NLM_F_DUMP, &message)?;
        self.answers(each)
    }

    fn send(&mut self, kind: u16, flags: i32, message: &Message) -> io::Result<()> {
        self.sequence += 1;
        let length = (HEADER + message.0.len()) as u32;
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        let request = Message::default()
            .bytes(&length.to_ne_bytes())
            .bytes(&kind.to_ne_bytes())
            .bytes(&flags.to_ne_bytes())
            .bytes(&self.sequence.to_ne_bytes())
            .bytes(&[0; 4])
            .bytes(&message.0);
        send(&self.socket, &request.0, SendFlags::empty())?;
        Ok(())
    }

    /// Reads to the end of the answer: an acknowledgement, an error, or the end of a list.
    fn answers(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let (read, _) = rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))?;
            let mut rest = &buffer[..read];
            while let Some((kind, sequence, body, next)) = message(rest) {
                rest = next;
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let code = body.first_chunk().map_or(-libc::EBADMSG, |code| i32::from_ne_bytes(*code));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => each(body),
                }
            }
            if read == 0 {
                return Err(Errno::BADMSG.into());
            }
        }
    }
}

/// The first message's kind, number and body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, sequence, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The value of the first attribute of this kind.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        if kind & libc::NLA_TYPE_MASK as u16 == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}
