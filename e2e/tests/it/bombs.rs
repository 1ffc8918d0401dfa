//! Functions that take all they can get: processes, memory. The box and the others go on.

use crate::escapes::{image, probe};
use crate::levels;
use crate::packing::deployed;
use e2e::platform::{Platform, State};
use e2e::skipped;
use e2e::system::is_root;
use serde_json::{Value, json};

/// More than a replica may have, or all of a function's together where only its user is counted.
const FORKS: [(&str, u32); 3] = [("full", 600), ("userns", 600), ("process", 4200)];
const LEVELS: [&str; 3] = ["full", "userns", "process"];

async fn prober(platform: &Platform, more: &Value) {
    image("prober").import(platform.state());
    deployed(platform, "prober", "crema.test/prober:1", more).await;
}

/// What the prober is answered with, while another function answers as ever.
async fn explodes(platform: &Platform, word: &str) -> (u16, String) {
    let url = platform.url("/function/prober");
    let other = platform.url("/function/idle");
    let bomb = platform.http.post(&url, word.to_owned());
    tokio::pin!(bomb);
    loop {
        tokio::select! {
            ended = &mut bomb => {
                let ended = ended.unwrap();
                let after = platform.http.post(&other, "38.2").await.unwrap();
                assert_eq!(after.status, 200, "{}", after.text());
                return (ended.status, ended.text());
            }
            answer = platform.http.post(&other, "38.2") => {
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn a_fork_bomb_is_bounded_and_the_others_go_on() {
    let test = "a_fork_bomb_is_bounded_and_the_others_go_on";
    for (level, forks) in FORKS {
        if level == "process" && !is_root() {
            skipped(&format!("{test} at level process"), "not given: all processes of this user count together");
            continue;
        }
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        prober(&platform, &json!({})).await;
        let (status, said) = explodes(&platform, &format!("fork-bomb={forks}")).await;
        assert_eq!(status, 200, "{level}: {said}");
        let stopped = said.trim().rsplit(' ').next().and_then(|number| number.parse::<u32>().ok());
        assert!(said.contains("stopped at") && stopped.is_some_and(|stopped| stopped < forks), "{level}: {said}");
    }
}

#[tokio::test]
async fn a_memory_bomb_ends_at_its_limit_and_the_reason_is_told() {
    let test = "a_memory_bomb_ends_at_its_limit_and_the_reason_is_told";
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        prober(&platform, &json!({"limits": {"memory": "64Mi"}})).await;
        let counted = platform.output().contains("control groups: memory");
        let (status, said) = explodes(&platform, "memory-bomb=256").await;
        if counted {
            assert!(status >= 500, "{level}: {said}");
            platform.logged("prober", "more memory than its limit").await;
        } else {
            // Without control groups a process is refused more, and decides for itself.
            assert_eq!((status, said.trim()), (200, "memory-bomb=256 ENOMEM"), "{level}");
        }
        e2e::eventually("it is there again", || async {
            let answer = platform.http.post(&platform.url("/function/prober"), "status=Uid").await?;
            (answer.status == 200).then_some(()).ok_or_else(|| answer.text())
        })
        .await;
    }
}

#[tokio::test]
async fn what_fills_its_memory_file_systems_is_stopped() {
    let test = "what_fills_its_memory_file_systems_is_stopped";
    for level in ["full", "userns"] {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        prober(&platform, &json!({})).await;
        let most = [("/tmp", 64), ("/dev/shm", 64), ("", 64), ("/run/crema", 1)];
        let words = most.map(|(folder, _)| format!("fill={folder}/file"));
        let answers = probe(&platform, &words).await;
        for (word, (_, most)) in words.iter().zip(most) {
            let full: u32 = answers[word].trim_start_matches("ok full after ").parse().unwrap_or(u32::MAX);
            assert!(full <= most, "{level}: {word}: {}", answers[word]);
        }
    }
}
