//! The program under the names of its parts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::symlink;
use std::process::Command;

/// How it ends and what it says under a name, with nothing set.
fn started_as(name: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    symlink(env!("CARGO_BIN_EXE_platform"), &program).unwrap();
    // Ports that cannot be had, and no cluster: none of the parts gets far.
    let nowhere = ["gateway_url", "CREMA_MQTT_LISTEN", "broker", "KUBECONFIG"];
    let output = Command::new(program).env_clear().envs(nowhere.map(|name| (name, "nowhere"))).output().unwrap();
    let said = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn under_the_name_of_a_part_it_is_that_part() {
    for (part, expected) in [
        ("gateway", "gateway: CREMA_STATE is not set"),
        ("operator", "nowhere"),
        ("mqtt-broker", "nowhere"),
        ("mqtt-connector", "nowhere"),
        ("cron-connector", "nowhere"),
    ] {
        let (code, said) = started_as(part);
        assert_eq!(code, Some(64), "{part}: {said}");
        assert!(said.contains(expected), "{part}: {said}");
    }
}

#[test]
fn under_any_other_name_it_says_which_there_are() {
    let (code, said) = started_as("sensor");
    assert_eq!(code, Some(64));
    assert_eq!(
        said,
        "sensor: start it by the name of a part, through a link: gateway, operator, mqtt-broker, mqtt-connector, \
         cron-connector\n"
    );
}
