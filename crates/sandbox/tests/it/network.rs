//! A network of its own, and the two ways into it.

use crate::room::{Answers, Room, finish, levels, start, start_ahead};
use sandbox::{Level, Network};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn what_it_calls_inside_reaches_the_platforms_socket() {
    let Some(room) = Room::new("what_it_calls_inside_reaches_the_platforms_socket") else { return };
    for level in levels(Level::Userns) {
        let mut spec = room.script(level, "echo hello | busybox nc 127.0.0.1 8080");
        let listen = vec!["127.0.0.1:8080".parse().unwrap(), "[::1]:8081".parse().unwrap()];
        spec.network = Network::Own { listen, agent: None };
        let mut started = start(&spec).await.unwrap();
        assert_eq!(started.listeners.len(), 2);
        let listener = started.listeners.remove(0);
        let answered = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = [0; 6];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(b"world").unwrap();
            got
        });
        assert_eq!(&answered.await.unwrap(), b"hello\n");
        let ended = finish(started).await;
        assert_eq!(ended.stdout, "world", "{level}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn its_agent_hands_out_sockets_until_it_ends() {
    let Some(room) = Room::new("its_agent_hands_out_sockets_until_it_ends") else { return };
    let path = room.outside().join("agent");
    for level in levels(Level::Userns) {
        // Port 80, as images have it that were made for root.
        let mut spec = room.script(level, "busybox nc -l -p 80 -e busybox echo served");
        spec.network = Network::Own { listen: Vec::new(), agent: Some(path.clone()) };
        let started = start(&spec).await.unwrap();
        let helper = started.agent.as_ref().unwrap().pid();
        let status = std::fs::read_to_string(format!("/proc/{helper}/status")).unwrap();
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{level}: {line}: {status}");
        }
        let served = loop {
            // Nobody listens on this one; the agent goes on.
            assert!(forward::connect_inside(&path, 81).await.is_err(), "{level}");
            if let Ok(mut stream) = forward::connect_inside(&path, 80).await {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                break text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(served, "served\n", "{level}");
        let agent = started.agent.as_ref().unwrap().pid();
        let mut started = started;
        let kept = started.agent.take();
        assert!(finish(started).await.status.success(), "{level}");
        // By itself, when its function has ended.
        while !std::fs::read_to_string(format!("/proc/{agent}/stat")).unwrap().contains(") Z ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(kept);
        assert!(forward::connect_inside(&path, 80).await.is_err(), "{level}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn the_machines_network_is_had_by_name_only() {
    let Some(room) = Room::new("the_machines_network_is_had_by_name_only") else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let word = format!("tcp={}", listener.local_addr().unwrap());
    for level in levels(Level::Userns) {
        let mut spec = room.prober(level, &[&word]);
        spec.network = Network::Host;
        let answers = crate::room::run(&spec).await.answers(level);
        assert_eq!(answers.get("tcp"), "ok connected", "{level}");
    }
}

#[tokio::test]
async fn a_network_made_ahead_is_its_own_or_is_left() {
    let Some(room) = Room::new("a_network_made_ahead_is_its_own_or_is_left") else { return };
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let word = format!("tcp={}", service.local_addr().unwrap());
    for level in levels(Level::Process) {
        let mut spec = room.prober(level, &[&word, "link=/proc/self/ns/net"]);
        for network in [Network::Own { listen: vec!["127.0.0.1:80".parse().unwrap()], agent: None }, Network::Host] {
            spec.network = network;
            let answers = async |ahead| {
                let started = if ahead { start_ahead(&spec).await } else { start(&spec).await };
                finish(started.unwrap()).await.answers(level)
            };
            let (ahead, usual) = (answers(true).await, answers(false).await);
            assert_eq!(ahead.get("tcp"), usual.get("tcp"), "{level}: {:?}", spec.network);
            let outside = std::fs::read_link("/proc/self/ns/net").unwrap();
            let is_outside = |answers: &Answers| answers.get("link") == format!("ok {}", outside.display());
            assert_eq!(is_outside(&ahead), is_outside(&usual), "{level}: {:?}", spec.network);
        }
    }
}

#[tokio::test]
async fn its_datagrams_stay_inside() {
    let Some(room) = Room::new("its_datagrams_stay_inside") else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let word = format!("udp={}", socket.local_addr().unwrap());
    for level in levels(Level::Process) {
        let mut spec = room.prober(level, &[&word]);
        let answer = crate::room::run(&spec).await.answers(level).get("udp").to_owned();
        let came = socket.recv(&mut [0; 4]).is_ok();
        // Without a network of its own it can only be refused, which kernels have learnt lately.
        let kept = level >= Level::Userns || sandbox::confine::available().udp;
        assert_eq!(came, !kept, "{level}: {answer}");
        if level >= Level::Userns {
            spec.network = Network::Host;
            assert_eq!(crate::room::run(&spec).await.answers(level).get("udp"), "ok sent", "{level}");
            assert!(socket.recv(&mut [0; 4]).is_ok(), "{level}: it would be seen");
        }
    }
}
