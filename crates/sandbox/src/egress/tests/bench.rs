//! Networks of their own that play a box, what is outside of it, and functions.

use super::super::*;
use crate::within::skip;
use rustix::thread::UnshareFlags;
use std::any::Any;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

type Outcome = Box<dyn Any + Send>;
type Job = (Box<dyn FnOnce() -> Outcome + Send>, Sender<Outcome>);

/// A network of its own, with a thread that lives in it.
pub(super) struct Network {
    pub(super) handle: OwnedFd,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    pub(super) fn new() -> Option<Self> {
        let (jobs, work) = channel::<Job>();
        let (ready, opened) = channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: the thread shares no open files or folders that this would change for others.
            #[expect(unsafe_code, reason = "a network for a thread")]
            let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
            ready
                .send(
                    unshared
                        .ok()
                        .and_then(|()| openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY, Mode::empty()).ok()),
                )
                .unwrap();
            for (job, done) in work {
                done.send(job()).unwrap();
            }
        });
        let handle = opened.recv().unwrap()?;
        let network = Self { handle, jobs: Some(jobs), thread: Some(thread) };
        network.run(|| links::up("lo").unwrap());
        Some(network)
    }

    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || Box::new(job()) as Outcome);
        self.jobs.as_ref().unwrap().send((job, done)).unwrap();
        *result.recv().expect("the job panicked").downcast().unwrap()
    }

    /// Runs a line in it and gives back what it prints.
    pub(super) fn sh(&self, line: &str) -> String {
        let text = line.to_owned();
        let output = self.run(move || Command::new("sh").args(["-c", &text]).output().unwrap());
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn listen(&self, address: impl Into<std::net::IpAddr>) -> TcpListener {
        let address = SocketAddr::new(address.into(), 0);
        self.run(move || TcpListener::bind(address).unwrap())
    }

    /// Whether the listener is reached from here at the address, and from which address then.
    pub(super) fn reaches(&self, address: Ipv4Addr, listener: &TcpListener) -> Result<Ipv4Addr, io::ErrorKind> {
        let target = SocketAddr::new(address.into(), listener.local_addr().unwrap().port());
        let stream = self.run(move || TcpStream::connect_timeout(&target, Duration::from_secs(5)));
        let mut stream = stream.map_err(|error| error.kind())?;
        let (mut accepted, peer) = listener.accept().unwrap();
        stream.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        match peer.ip() {
            std::net::IpAddr::V4(address) => Ok(address),
            address => panic!("{address}"),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.jobs = None;
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// A box with a network outside, and another behind a second device.
pub(super) struct Bench {
    pub(super) bench: Network,
    pub(super) outside: Network,
    pub(super) factory: Network,
    programs: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// With these programs for rules only.
    pub(super) fn new(test: &str, programs: &[&str]) -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let networks = root.then(|| [(); 3].map(|()| Network::new()));
        let Some([Some(bench), Some(outside), Some(factory)]) = networks else {
            skip(test, "only root may make networks");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        for program in programs.iter().chain(&["ip"]) {
            let there = PROGRAMS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
            let Some(path) = there else {
                skip(test, &format!("there is no {program} here; apt-get install nftables iptables iproute2"));
                return None;
            };
            std::os::unix::fs::symlink(path, folder.path().join(program)).unwrap();
        }
        for (name, network, subnet) in [("up0", &outside, "203.0.113"), ("up1", &factory, "198.51.100")] {
            // The number of this process is the same in both networks, and the folder of its thread is not.
            let pid = network.run(rustix::thread::gettid).as_raw_nonzero();
            bench.sh(&format!("ip link add {name} type veth peer name eth0 netns {pid}"));
            bench.sh(&format!("ip addr add {subnet}.1/24 dev {name} && ip link set {name} up"));
            network.sh(&format!("ip addr add {subnet}.2/24 dev eth0 && ip link set eth0 up"));
            network.sh(&format!("ip route add default via {subnet}.1"));
        }
        bench.sh("ip route add default via 203.0.113.2; ip addr add 10.99.0.1/32 dev lo");
        bench.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
        Some(Self { bench, outside, factory, programs: vec![folder.path().to_owned()], _folder: folder })
    }

    pub(super) fn open(&self) -> Result<Egress, EgressError> {
        self.open_as("t")
    }

    pub(super) fn open_as(&self, tag: &'static str) -> Result<Egress, EgressError> {
        let programs = self.programs.clone();
        self.bench.run(move || Egress::open_with(tag, &programs))
    }

    /// A function with a way out. Its network comes first: the box's thread must not be in it.
    pub(super) fn function(&self, egress: Egress) -> (Egress, Network, Link) {
        let function = Network::new().unwrap();
        let network = function.handle.try_clone().unwrap();
        let (egress, link) = self.bench.run(move || {
            let link = egress.attach(network);
            (egress, link)
        });
        (egress, function, link.unwrap())
    }

    pub(super) fn close(&self, egress: Egress) {
        self.bench.run(move || egress.close()).unwrap();
    }

    /// All that the box has: devices, addresses, routes, rules, and whether it passes packets on.
    pub(super) fn state(&self) -> String {
        self.bench.sh(
            "ip -o link | sed 's/ state .*//'; ip -4 -o addr; ip -4 route show table all; cat /proc/sys/net/ipv4/ip_forward",
        ) + &self.bench.sh("if [ -x /usr/sbin/nft ]; then nft list ruleset | grep -v '^#'; fi; true")
    }

    pub(super) fn has(&self, program: &str) -> bool {
        self.programs.iter().any(|folder| folder.join(program).exists())
    }

    pub(super) fn forwarding(&self) -> String {
        self.bench.sh("cat /proc/sys/net/ipv4/ip_forward").trim().to_owned()
    }
}
