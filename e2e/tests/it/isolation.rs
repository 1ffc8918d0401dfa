//! How far functions are confined is asked for, by the box and by each of them, and refused with a reason.

use crate::escapes::{image, probe};
use crate::levels;
use crate::packing::{deploy, deployed};
use e2e::platform::{Platform, State, spawn};
use e2e::skipped;
use e2e::system::{is_root, program};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

const PROBER: &str = "crema.test/prober:1";

#[tokio::test]
async fn what_a_level_does_not_give_is_refused_with_reason_and_remedy() {
    let test = "what_a_level_does_not_give_is_refused_with_reason_and_remedy";
    for level in ["userns", "process"] {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        image("prober").import(platform.state());
        let refused = async |annotation: &str, value: &str, says: &[&str]| {
            let annotations = json!({"annotations": {annotation: value}});
            let (status, said) = deploy(&platform, "prober", PROBER, &annotations).await;
            assert_eq!(status, 400, "{level}: {annotation} {value}: {said}");
            for part in says.iter().chain(&[annotation]) {
                assert!(said.contains(part), "{level}: {annotation} {value}: {part:?} is not in: {said}");
            }
        };
        let remedy = if is_root() { "--isolation-max" } else { "root" };
        refused("com.crema.isolation", "full", &["full", level, remedy]).await;
        refused("com.crema.isolation", "best", &["full", "userns", "process", "none"]).await;
        refused("com.crema.network", "internet", &["gateway", "egress", "host", "none"]).await;
        refused("com.crema.network", "egress", &["root", "host"]).await;
        if level == "process" {
            refused("com.crema.network", "none", &["userns", "process"]).await;
        }
        // Nothing of it was taken.
        let answer = platform.system("GET", "/system/function/prober", "").await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        let annotations = json!({"annotations": {"com.crema.isolation": level}});
        deployed(&platform, "prober", PROBER, &annotations).await;
        let status = platform.system("GET", "/system/function/prober", "").await.json();
        let given = status["annotations"]["com.crema.isolation.given"].as_str().unwrap_or_default();
        assert!(given.contains(level), "{status}");
    }
}

#[tokio::test]
async fn a_network_is_what_its_name_says() {
    let test = "a_network_is_what_its_name_says";
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("tcp={}", service.local_addr().unwrap());
    let gateway = "tcp=127.0.0.1:8080".to_owned();
    for level in ["full", "userns"] {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        image("prober").import(platform.state());
        for (network, service_answers, gateway_answers) in
            [("gateway", false, Some(true)), ("none", false, Some(false)), ("host", true, None)]
        {
            let annotations = json!({"annotations": {"com.crema.network": network}});
            deployed(&platform, "prober", PROBER, &annotations).await;
            let answers = probe(&platform, &[service.clone(), gateway.clone()]).await;
            let connects = |word: &String| answers[word].starts_with("ok");
            assert_eq!(connects(&service), service_answers, "{level} {network}: {answers:?}");
            if let Some(expected) = gateway_answers {
                assert_eq!(connects(&gateway), expected, "{level} {network}: {answers:?}");
            }
            deleted(&platform).await;
        }
        if level == "full" {
            egress(platform, &state, &format!("{test} with egress")).await;
        }
    }
}

async fn deleted(platform: &Platform) {
    let deleted = platform.system("DELETE", "/system/functions", r#"{"functionName": "prober"}"#).await;
    assert!(deleted.status < 300, "{}", deleted.text());
}

/// The way out is there while a function has it, leads to nothing of the box, and goes with the platform.
async fn egress(platform: Platform, state: &State, name: &str) {
    if ["nft", "iptables"].iter().all(|name| program(name).is_none()) {
        return skipped(name, "install nftables or iptables");
    }
    let annotations = json!({"annotations": {"com.crema.network": "egress"}});
    let (status, said) = deploy(&platform, "prober", PROBER, &annotations).await;
    assert!(status < 300, "{status} {said}");
    let is_given = e2e::eventually("prober is ready", || async {
        let status = platform.system("GET", "/system/function/prober", "").await.json();
        let is_refused = status["annotations"].to_string().contains("no way out for functions");
        let is_ready = status["availableReplicas"] == 1;
        (is_ready || is_refused).then_some(if is_ready { Ok(()) } else { Err(status.to_string()) }).ok_or(status)
    })
    .await;
    if let Err(why) = is_given {
        return skipped(name, &why);
    }
    let mark = state.path().join("egress");
    let devices = format!("crema{}-", std::fs::read_to_string(&mark).unwrap());
    let devices = || {
        let all = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|name| name.to_string_lossy().starts_with(&devices)).count()
    };
    assert_eq!(devices(), 1);
    // The box by the address that others see, where it has one.
    let service = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let port = service.local_addr().unwrap().port();
    let addresses = [Some(Ipv4Addr::LOCALHOST.into()), address.ok().map(|address| address.ip())];
    let words: Vec<String> = addresses.iter().flatten().map(|address| format!("tcp={address}:{port}")).collect();
    let gateway = "tcp=127.0.0.1:8080".to_owned();
    let answers = probe(&platform, &[&words[..], std::slice::from_ref(&gateway)].concat()).await;
    assert!(words.iter().all(|word| !answers[word].starts_with("ok")), "{answers:?}");
    assert!(answers[&gateway].starts_with("ok"), "{answers:?}");
    deleted(&platform).await;
    e2e::eventually("its device is gone", || async { (devices() == 0).then_some(()).ok_or(devices()) }).await;
    deployed(&platform, "prober", PROBER, &annotations).await;
    assert_eq!(devices(), 1);
    let (status, _) = platform.stop().await;
    assert!(status.success(), "{status}");
    e2e::eventually("its device is gone", || async { (devices() == 0).then_some(()).ok_or(devices()) }).await;
    assert!(!mark.exists());
}

#[test]
fn a_box_that_asks_for_more_than_there_is_starts_nothing_and_says_why_in_one_line() {
    let state = State::default();
    let mut options = levels::bare(&state).with(&["--isolation-min", "full"]);
    if is_root() {
        options = options.with(&["--isolation-max", "userns"]);
    }
    let status = spawn(&state, &options).wait().unwrap();
    let said = std::fs::read_to_string(state.log()).unwrap();
    assert!(!status.success(), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("crema: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("full") && lines[0].contains("userns") && !said.contains("panicked"), "{said}");
}
