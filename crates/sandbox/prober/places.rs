//! Files, sockets and what a process can read about itself and others.

use crate::Attempt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

pub(crate) fn attempt(name: &str, argument: &str) -> Option<Attempt> {
    let made = match name {
        "status" => status(argument),
        "read" => fs::read(argument).map(|bytes| format!("{} bytes", bytes.len())),
        "text" => fs::read_to_string(argument).map(|text| text.trim().to_owned()),
        "write" => File::create(argument).and_then(|mut file| file.write_all(b"x")).map(|()| String::new()),
        "append" => File::options()
            .append(true)
            .open(argument)
            .and_then(|mut file| file.write_all(b"x"))
            .map(|()| String::new()),
        "list" => list(Path::new(argument)),
        "link" => fs::read_link(argument).map(|path| path.display().to_string()),
        "processes" => processes(),
        "fill" => fill(Path::new(argument)),
        "tcp" => connect(argument).map(|()| "connected".to_owned()),
        "listen" => TcpListener::bind(argument).map(|_| "listening".to_owned()),
        "udp" => {
            let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", argument));
            sent.map(|_| "sent".to_owned())
        }
        "unix" => UnixStream::connect(argument).map(|_| "connected".to_owned()),
        "abstract" => SocketAddr::from_abstract_name(argument)
            .and_then(|address| UnixStream::connect_addr(&address))
            .map(|_| "connected".to_owned()),
        "run" => std::process::Command::new(argument).output().map(|output| {
            format!("{} {}", output.status, String::from_utf8_lossy(&output.stdout).trim().replace('\n', ","))
        }),
        "environment" => {
            let mut names: Vec<String> = std::env::vars().map(|(key, _)| key).collect();
            names.sort();
            Ok(names.join(","))
        }
        "descriptors" => descriptors(),
        _ => return None,
    };
    Some(made)
}

/// Connects to somebody else: where nobody listens on a port, a socket that is given the same one connects to itself.
fn connect(address: &str) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    match stream.local_addr()? == stream.peer_addr()? {
        true => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
        false => Ok(()),
    }
}

/// A line of what the kernel says of this process.
fn status(field: &str) -> Attempt {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).ok_or(io::ErrorKind::NotFound.into())
}

fn list(dir: &Path) -> Attempt {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(","))
}

/// How many other processes are seen.
fn processes() -> Attempt {
    let own = std::process::id().to_string();
    let names = list(Path::new("/proc"))?;
    let others = names.split(',').filter(|name| name.parse::<u32>().is_ok() && *name != own);
    Ok(others.count().to_string())
}

/// Writes until no more fits, and says how many megabytes did.
fn fill(path: &Path) -> Attempt {
    let mut file = File::create(path)?;
    let block = vec![1; 1 << 20];
    for written in 0..2000 {
        if let Err(error) = file.write_all(&block) {
            drop(file);
            fs::remove_file(path)?;
            return match error.raw_os_error() {
                Some(libc::ENOSPC) => Ok(format!("full after {written}")),
                _ => Err(error),
            };
        }
    }
    Ok("never full".to_owned())
}

/// The open descriptors, without the one they are listed through.
fn descriptors() -> Attempt {
    let dir = fs::read_dir("/proc/self/fd")?;
    let mut open = Vec::new();
    for entry in dir {
        let entry = entry?;
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if !target.ends_with("fd") {
            open.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    open.sort();
    Ok(open.join(","))
}
