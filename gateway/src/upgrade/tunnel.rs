//! Bytes both ways, until both sides have ended.

use bytes::Bytes;
use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::Instant;

/// How much is on its way in each direction.
const BUFFER: usize = 16 * 1024;
/// How long a function may say nothing once its client has ended.
const THINKS: Duration = Duration::from_secs(60);
/// The same for a client whose function has ended: nobody is left to answer it.
const LEAVES: Duration = Duration::from_secs(5);

/// Joins a client and a function. `early` is what the client has said already. The end of what one side says is passed
/// on to the other one, which may go on; an error ends both.
pub(super) async fn join<C, F>(client: C, early: Bytes, function: F) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let ((client_says, client_hears), (function_says, function_hears)) = (split(client), split(function));
    let moved = Cell::new(Instant::now());
    let mut up = pin!(pass_on(early.chain(client_says), function_hears, &moved));
    let mut down = pin!(pass_on(function_says, client_hears, &moved));
    tokio::select! {
        up = &mut up => { up?; outlast(down, THINKS, &moved).await }
        down = &mut down => { down?; outlast(up, LEAVES, &moved).await }
    }
}

/// Copies until the end and passes that on too.
async fn pass_on(from: impl AsyncRead, to: impl AsyncWrite, moved: &Cell<Instant>) -> io::Result<()> {
    let (mut from, mut to) = (pin!(from), pin!(to));
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

/// Lets one direction go on after the other one has ended, until nothing has moved for as long as `silence`.
async fn outlast(
    direction: impl Future<Output = io::Result<()>>,
    silence: Duration,
    moved: &Cell<Instant>,
) -> io::Result<()> {
    let mut direction = pin!(direction);
    loop {
        let until = moved.get() + silence;
        tokio::select! {
            ended = &mut direction => return ended,
            () = tokio::time::sleep_until(until) => {
                if moved.get() + silence <= until {
                    return Ok(());
                }
            }
        }
    }
}
