//! A box of our own for each test: networks of their own play the box, what is outside, and the functions.

mod bench;

use super::*;
use crate::within::skip;
use bench::{Bench, Network};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const BOX: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const FACTORY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// For what is to be reached: a packet may be lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is refused is refused at once, with an answer.
const REFUSED: Result<Ipv4Addr, io::ErrorKind> = Err(io::ErrorKind::HostUnreachable);

/// What a function reaches and what not, whichever program set the rules.
fn a_function_reaches_the_outside_and_nothing_of_the_box(bench: &Bench) {
    let outside = bench.outside.listen(OUTSIDE);
    let factory = bench.factory.listen(FACTORY);
    let everywhere = bench.bench.listen(Ipv4Addr::UNSPECIFIED);
    let local = bench.bench.listen(Ipv4Addr::LOCALHOST);
    bench.outside.sh(&format!("ip addr add {METADATA}/32 dev lo"));
    bench.bench.sh(&format!("ip route add {METADATA} via {OUTSIDE}"));
    let metadata = bench.outside.listen(METADATA);
    // A port that the box publishes for something behind it.
    let published = bench.factory.listen(FACTORY);
    let before = bench.state();
    let unrouted = bench.forwarding() == "0";

    let egress = bench.open().unwrap();
    let (egress, function, link) = bench.function(egress);
    let (egress, neighbour, other) = bench.function(egress);
    let of_function = function.listen(Ipv4Addr::UNSPECIFIED);
    let of_neighbour = neighbour.listen(Ipv4Addr::UNSPECIFIED);

    // Others see the box's address.
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    assert_eq!(neighbour.reaches(OUTSIDE, &outside), Ok(BOX));
    assert_eq!(function.reaches(FACTORY, &factory), Ok(Ipv4Addr::new(198, 51, 100, 1)));
    let names = bench.outside.run(|| UdpSocket::bind((OUTSIDE, 0)).unwrap());
    let to = names.local_addr().unwrap();
    let asking = function.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"where?", to).unwrap();
        socket
    });
    let (_, from) = names.recv_from(&mut [0; 16]).unwrap();
    names.send_to(b"here", from).unwrap();
    asking.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(asking.recv_from(&mut [0; 16]).unwrap().0, 4);

    // No address of the box, under whichever name it goes.
    for address in [BOX, Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(10, 99, 0, 1), link.gateway, other.gateway] {
        assert_eq!(function.reaches(address, &everywhere), REFUSED, "{address}");
    }
    assert_eq!(bench.bench.reaches(Ipv4Addr::LOCALHOST, &local), Ok(Ipv4Addr::LOCALHOST));
    assert!(function.reaches(Ipv4Addr::LOCALHOST, &local).is_err());
    // Nor what clouds tell about the box, which its own programs are told.
    assert_eq!(bench.bench.reaches(METADATA, &metadata), Ok(BOX));
    assert_eq!(function.reaches(METADATA, &metadata), REFUSED);
    // Nor another function, nor an address where none is.
    assert_eq!(function.reaches(other.address, &of_neighbour), REFUSED);
    let nobody = Ipv4Addr::from(u32::from(other.address) + 9);
    assert_eq!(function.reaches(nobody, &of_neighbour), REFUSED);

    // And nobody reaches it: not the box, not the outside.
    assert_eq!(bench.bench.reaches(link.address, &of_function), REFUSED);
    bench.outside.sh(&format!("ip route add {} via {BOX}", link.address));
    let target = SocketAddr::new(link.address.into(), of_function.local_addr().unwrap().port());
    let asked = bench.outside.run(move || TcpStream::connect_timeout(&target, Duration::from_millis(500)));
    assert!(asked.is_err(), "{asked:?}");

    // No IPv6, by which the box's services would be reached past these rules.
    assert_eq!(bench.bench.sh(&format!("ip -6 -o addr show dev {}", link.name)), "");
    assert_eq!(function.sh("ip -6 -o addr show dev eth0"), "");

    // What the box publishes for others is the box's.
    let port = published.local_addr().unwrap().port();
    bench.bench.sh(&if bench.has("nft") {
        format!(
            "printf 'table ip shop {{\\nchain in {{\\ntype nat hook prerouting priority -100\\n\
             ip daddr {BOX} tcp dport 7 dnat to {FACTORY}:{port}\\n}}\\n}}\\n' | nft -f -"
        )
    } else {
        format!("iptables -t nat -A PREROUTING -d {BOX} -p tcp --dport 7 -j DNAT --to {FACTORY}:{port}")
    });
    if !unrouted {
        let seven = SocketAddr::new(BOX.into(), 7);
        assert!(bench.outside.run(move || TcpStream::connect_timeout(&seven, Duration::from_secs(5))).is_ok());
    }
    let asked = function.run(|| TcpStream::connect_timeout(&SocketAddr::new(BOX.into(), 7), Duration::from_secs(5)));
    assert_eq!(asked.map(drop).map_err(|error| error.kind()), REFUSED.map(drop));
    bench.bench.sh(if bench.has("nft") { "nft delete table ip shop" } else { "iptables -t nat -F PREROUTING" });

    // A link ends when it is told to, and with its network.
    let gone = other.clone();
    let egress = bench.bench.run(move || {
        egress.detach(&gone).unwrap();
        egress.detach(&gone).unwrap();
        egress
    });
    assert!(neighbour.reaches(OUTSIDE, &outside).is_err());
    drop(of_function);
    drop(asking);
    drop(function);
    eventually(|| !bench.bench.sh("ip -o link").contains(&link.name));

    bench.close(egress);
    bench
        .bench
        .sh("iptables -t nat -X; nft delete table ip nat 2>/dev/null; nft delete table ip filter 2>/dev/null; true");
    assert_eq!(bench.state(), before);
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come about");
        std::thread::yield_now();
    }
}

#[test]
fn by_nft_a_function_reaches_the_outside_and_nothing_of_the_box() {
    let Some(bench) = Bench::new("by_nft_a_function_reaches_the_outside_and_nothing_of_the_box", &["nft"]) else {
        return;
    };
    a_function_reaches_the_outside_and_nothing_of_the_box(&bench);
}

#[test]
fn by_iptables_a_function_reaches_the_outside_and_nothing_of_the_box() {
    const TEST: &str = "by_iptables_a_function_reaches_the_outside_and_nothing_of_the_box";
    let Some(bench) = Bench::new(TEST, &["iptables"]) else { return };
    let error = bench.open().err().unwrap().to_string();
    assert!(error.contains("ip_forward is 0") && error.contains("sysctl"), "{error}");
    bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    a_function_reaches_the_outside_and_nothing_of_the_box(&bench);
    assert_eq!(bench.forwarding(), "1");
}

#[test]
fn functions_of_two_platforms_on_a_box_do_not_reach_each_other() {
    const TEST: &str = "functions_of_two_platforms_on_a_box_do_not_reach_each_other";
    for program in ["nft", "iptables"] {
        let Some(bench) = Bench::new(TEST, &[program]) else { continue };
        bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let outside = bench.outside.listen(OUTSIDE);
        let (one, function, _link) = bench.function(bench.open().unwrap());
        let (another, other, link) = bench.function(bench.open_as("u").unwrap());
        let of_other = other.listen(Ipv4Addr::UNSPECIFIED);
        assert_eq!(function.reaches(link.address, &of_other), REFUSED, "{program}");
        bench.close(one);
        assert!(function.reaches(OUTSIDE, &outside).is_err());
        assert_eq!(other.reaches(OUTSIDE, &outside), Ok(BOX), "{program}");
        bench.close(another);
    }
}

#[test]
fn the_box_does_not_become_a_router() {
    let Some(bench) = Bench::new("the_box_does_not_become_a_router", &["nft"]) else { return };
    let factory = bench.factory.listen(FACTORY);
    let target = factory.local_addr().unwrap();
    let passes_within = |time| bench.outside.run(move || TcpStream::connect_timeout(&target, time)).is_ok();
    let passes = || passes_within(Duration::from_millis(300));
    assert!(!passes());
    let egress = bench.open().unwrap();
    assert_eq!(bench.forwarding(), "1");
    assert!(!passes());

    // Killed, and started again.
    drop(egress);
    let egress = bench.open().unwrap();
    assert!(!passes());

    // Something else has come to need it.
    bench.bench.sh("ip link add docker0 type bridge");
    bench.close(egress);
    assert_eq!(bench.forwarding(), "1");
    assert!(!passes());
    bench.bench.sh("ip link del docker0");
    bench.close(bench.open().unwrap());
    assert_eq!(bench.forwarding(), "0");

    // Where it was a router, it stays one.
    bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let egress = bench.open().unwrap();
    assert!(passes_within(PATIENCE));
    bench.close(egress);
    assert_eq!(bench.forwarding(), "1");
}

#[test]
fn a_firewall_that_drops_what_it_does_not_know_is_told() {
    const TEST: &str = "a_firewall_that_drops_what_it_does_not_know_is_told";
    let Some(bench) = Bench::new(TEST, &["nft", "iptables"]) else { return };
    let outside = bench.outside.listen(OUTSIDE);
    let egress = bench.open().unwrap();
    bench.bench.sh("iptables -P FORWARD DROP; iptables -A FORWARD -i docker0 -j ACCEPT");
    let before = bench.bench.sh("iptables -S");
    let (egress, function, _link) = bench.function(egress);
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    // One that came after ours and stands before it.
    bench.bench.sh("iptables -I FORWARD 1 -j DROP");
    let (egress, function, _link) = bench.function(egress);
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    bench.bench.sh("iptables -D FORWARD -j DROP");
    bench.close(egress);
    assert_eq!(bench.bench.sh("iptables -S"), before);
}

#[test]
fn what_a_killed_platform_left_is_cleared_at_the_next_start() {
    const TEST: &str = "what_a_killed_platform_left_is_cleared_at_the_next_start";
    let Some(bench) = Bench::new(TEST, &["nft"]) else { return };
    let before = bench.state();
    let outside = bench.outside.listen(OUTSIDE);
    let (egress, survivor, link) = bench.function(bench.open().unwrap());
    drop(egress);
    assert_eq!(survivor.reaches(OUTSIDE, &outside), Ok(BOX));
    let egress = bench.open().unwrap();
    assert!(survivor.reaches(OUTSIDE, &outside).is_err());
    // Its number is free again.
    let (egress, function, again) = bench.function(egress);
    assert_eq!(again, link);
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    bench.close(egress);
    assert!(function.reaches(OUTSIDE, &outside).is_err());
    assert_eq!(bench.state(), before);
}

#[test]
fn forwarding_that_was_turned_off_meanwhile_is_turned_on_for_the_next_function() {
    const TEST: &str = "forwarding_that_was_turned_off_meanwhile_is_turned_on_for_the_next_function";
    let Some(bench) = Bench::new(TEST, &["nft"]) else { return };
    let outside = bench.outside.listen(OUTSIDE);
    let egress = bench.open().unwrap();
    bench.bench.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    let (egress, function, _link) = bench.function(egress);
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    bench.close(egress);
}

#[test]
fn forwarding_that_is_somebody_elses_is_theirs_to_turn_on_again() {
    const TEST: &str = "forwarding_that_is_somebody_elses_is_theirs_to_turn_on_again";
    let Some(bench) = Bench::new(TEST, &["nft"]) else { return };
    let factory = bench.factory.listen(FACTORY);
    let target = factory.local_addr().unwrap();
    let passes = || bench.outside.run(move || TcpStream::connect_timeout(&target, PATIENCE)).is_ok();
    bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let outside = bench.outside.listen(OUTSIDE);
    let (egress, function, _link) = bench.function(bench.open().unwrap());
    assert!(passes(), "the box is a router");
    bench.bench.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    let (egress, error) = bench.bench.run(move || {
        let error = egress.uphold().unwrap_err().to_string();
        (egress, error)
    });
    assert!(error.contains("ip_forward was 1") && error.contains("sysctl"), "{error}");
    assert_eq!(bench.forwarding(), "0");
    bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    assert!(passes(), "the box is no router any more");
    assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
    bench.close(egress);
    assert_eq!(bench.forwarding(), "1");
}

#[test]
fn rules_that_others_have_taken_away_are_set_again() {
    const TEST: &str = "rules_that_others_have_taken_away_are_set_again";
    for (program, flush) in [("nft", "nft flush ruleset"), ("iptables", "iptables -F; iptables -t nat -F")] {
        let Some(bench) = Bench::new(TEST, &[program]) else { continue };
        let unrouted = program == "nft";
        if !unrouted {
            bench.bench.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        }
        let (outside, of_box) = (bench.outside.listen(OUTSIDE), bench.bench.listen(Ipv4Addr::UNSPECIFIED));
        let factory = bench.factory.listen(FACTORY);
        let target = factory.local_addr().unwrap();
        let passes =
            || bench.outside.run(move || TcpStream::connect_timeout(&target, Duration::from_millis(300))).is_ok();
        let (egress, function, link) = bench.function(bench.open().unwrap());

        bench.bench.sh(flush);
        assert_eq!(function.reaches(BOX, &of_box), Ok(link.address), "{program}: the rules are not gone");
        let (egress, done) = bench.bench.run(move || {
            let done = [egress.uphold().unwrap(), egress.uphold().unwrap()];
            (egress, done)
        });
        assert_eq!(done, [true, false], "{program}");
        assert_eq!(function.reaches(BOX, &of_box), REFUSED, "{program}");
        assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX), "{program}");
        assert!(!unrouted || !passes(), "the box has become a router");

        // And for the next function at the latest.
        bench.bench.sh(flush);
        let (egress, next, _link) = bench.function(egress);
        assert_eq!(next.reaches(BOX, &of_box), REFUSED, "{program}");
        assert_eq!(function.reaches(BOX, &of_box), REFUSED, "{program}");
        bench.bench.sh(flush);
        bench.close(egress);
        assert_eq!(bench.forwarding(), if unrouted { "0" } else { "1" });
    }
}

#[test]
fn functions_that_begin_at_once_do_not_spoil_each_others_rules() {
    const TEST: &str = "functions_that_begin_at_once_do_not_spoil_each_others_rules";
    let Some(bench) = Bench::new(TEST, &["nft", "iptables"]) else { return };
    let outside = bench.outside.listen(OUTSIDE);
    let mut egress = bench.open().unwrap();
    bench.bench.sh("iptables -P FORWARD DROP");
    for _ in 0..5 {
        // As Docker does when it is started again.
        bench.bench.sh("iptables -I FORWARD 1 -j DROP");
        let functions: Vec<Network> = std::iter::repeat_with(|| Network::new().unwrap()).take(4).collect();
        let networks: Vec<_> = functions.iter().map(|function| function.handle.try_clone().unwrap()).collect();
        egress = bench.bench.run(move || {
            std::thread::scope(|scope| {
                let attached: Vec<_> =
                    networks.into_iter().map(|network| scope.spawn(|| egress.attach(network))).collect();
                attached.into_iter().for_each(|attached| drop(attached.join().unwrap().unwrap()));
            });
            egress
        });
        for function in &functions {
            assert_eq!(function.reaches(OUTSIDE, &outside), Ok(BOX));
        }
    }
    bench.close(egress);
}

#[test]
fn the_boxs_own_network_is_not_attached_to_itself() {
    let Some(bench) = Bench::new("the_boxs_own_network_is_not_attached_to_itself", &["nft"]) else { return };
    let egress = bench.open().unwrap();
    let own = bench.bench.handle.try_clone().unwrap();
    let before = bench.state();
    let (egress, attached) = bench.bench.run(move || {
        let attached = egress.attach(own);
        (egress, attached)
    });
    assert!(attached.unwrap_err().to_string().contains("the box's own network"));
    assert_eq!(bench.state(), before);
    bench.close(egress);
}

#[test]
fn a_box_without_a_firewall_is_told_what_to_install() {
    let open = |tag: &str| Egress::open_with(tag, &["/nonexistent".into()]).err().unwrap().to_string();
    for tag in ["", "Big", "toolong", "a-b"] {
        assert!(open(tag).contains("is no tag"), "{tag}");
    }
    if !rustix::process::geteuid().is_root() {
        assert!(open("t").contains("not root"));
        return skip("a_box_without_a_firewall_is_told_what_to_install (root)", "only root gets so far");
    }
    let error =
        Network::new().map(|network| network.run(|| Egress::open_with("t", &["/nonexistent".into()]).err().unwrap()));
    assert!(error.unwrap().to_string().contains("install nftables"));
}

#[test]
fn name_servers_of_the_boxs_loopback_are_left_out() {
    let kept = "search shop.example\nnameserver 192.0.2.53\noptions ndots:1\n";
    let all = "search shop.example\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\noptions ndots:1\n";
    assert_eq!(resolvers_inside(all).unwrap(), kept);
    assert_eq!(resolvers_inside("nameserver 127.0.0.53\noptions edns0\n"), None);
    assert_eq!(resolvers_inside(""), None);
}
