//! What the platform and the helper say to each other, over a pair of sockets that keep messages apart.
//!
//! The platform sends the [`Spec`] in pieces; the helper answers with [`Reply`]s. The socket closes by itself when
//! the function's program runs: its end is how the platform knows that nothing went wrong.

use crate::Spec;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most bytes in one message: below what a socket takes at once on any kernel.
const PIECE: usize = 32 << 10;
/// The largest spec there is: an environment and arguments that the kernel takes are smaller.
const LARGEST: usize = 16 << 20;
/// The most descriptors in one message (the kernel's own bound is 253).
pub(crate) const MOST_DESCRIPTORS: usize = 64;

/// What the helper answers.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Reply {
    /// The function's process is there. The listening sockets come with it.
    Forked {
        /// Its number, as the platform sees it.
        pid: i32,
    },
    /// The function's process has its mounts. The directory it shares comes with it.
    Shared,
    /// A step failed; nothing runs.
    Failed(Failure),
}

/// A step that failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// What was being done, as in `mount /proc`.
    pub(crate) step: String,
    /// What the kernel answered; 0 where it was not asked.
    pub(crate) errno: i32,
    /// More about it in words.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A step that failed for a reason of our own.
    pub(crate) fn because(step: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { step: step.into(), errno: 0, hint: Some(hint.into()) }
    }
}

/// Names the step that an error belongs to.
pub(crate) trait Step<T> {
    /// Makes a [`Failure`] of the error.
    fn step(self, step: &str) -> Result<T, Failure>;
    /// The same with a name that is made only then.
    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, Failure> {
        self.step_with(|| step.to_owned())
    }

    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let hint = error.raw_os_error().is_none().then(|| error.to_string());
            Failure { step: step(), errno: error.raw_os_error().unwrap_or_default(), hint }
        })
    }
}

/// Two ends: the platform's, which does not block, and the helper's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Whether the platform wants to be asked before the program runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Go {
    /// It runs when it can.
    AtOnce,
    /// It runs when the platform has sent one message more.
    WhenTold,
}

/// The messages that carry a spec: its length, then its pieces.
pub(crate) fn pieces(spec: &Spec, go: Go) -> io::Result<Vec<Vec<u8>>> {
    let bytes = postcard::to_stdvec(&(go, spec)).map_err(io::Error::other)?;
    if bytes.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "arguments and environment are too large"));
    }
    let length = (bytes.len() as u64).to_le_bytes().to_vec();
    Ok(std::iter::once(length).chain(bytes.chunks(PIECE).map(<[u8]>::to_vec)).collect())
}

/// Sends one message, without waiting where the socket does not.
pub(crate) fn send(socket: impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; an empty one is the end.
pub(crate) fn receive(socket: impl AsFd) -> rustix::io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut message = vec![0; PIECE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = descriptors.flatten().collect();
    message.truncate(received.bytes);
    Ok((message, descriptors))
}

/// Waits for the spec in the helper; `None` if the platform has gone without sending one.
pub(crate) fn receive_spec(socket: impl AsFd) -> io::Result<Option<(Go, Spec)>> {
    let (length, _) = receive(&socket)?;
    let Some(length) = length.first_chunk::<8>() else { return Ok(None) };
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX).min(LARGEST);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (piece, _) = receive(&socket)?;
        if piece.is_empty() {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
}

/// Sends an answer of the helper.
pub(crate) fn send_reply(socket: impl AsFd, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = postcard::to_stdvec(reply).map_err(io::Error::other)?;
    Ok(send(socket, &bytes, descriptors)?)
}
