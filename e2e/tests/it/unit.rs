//! What the unit of systemd for root leaves the platform.

use e2e::actors::{actor, answer, answers, deploy, is_given, keeper, stage_with, update};
use e2e::binaries::root;
use e2e::platform::{Options, State};
use e2e::skipped;
use e2e::system::{is_root, program};

#[tokio::test]
async fn the_rights_that_the_unit_leaves_are_all_that_is_needed() {
    const TEST: &str = "the_rights_that_the_unit_leaves_are_all_that_is_needed";
    if !is_root() {
        return skipped(TEST, "only root has rights to leave");
    }
    let Some(setpriv) = program("setpriv") else { return skipped(TEST, "no setpriv; install util-linux") };
    let state = State::default();
    let before = vec![
        setpriv.display().to_string(),
        "--inh-caps=-all".to_owned(),
        format!("--bounding-set=-all,{}", rights_of_the_unit().join(",")),
    ];
    let platform = stage_with(&state, "full", Options { before, ..Options::default() }).await;
    deploy(&platform, &actor("plain", 0)).await;
    deploy(&platform, &keeper("keeper", 0)).await;
    if !is_given(&platform, "plain", "full", TEST).await {
        return;
    }
    // Each start after the first finds a helper kept ready.
    for version in 1..4 {
        update(&platform, &actor("plain", version)).await;
        update(&platform, &keeper("keeper", version)).await;
        for function in ["plain", "keeper"] {
            answers(&platform, function, |said| said == answer(version)).await;
        }
    }
    let output = platform.output();
    let complaints: Vec<&str> = output.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert_eq!(complaints, [] as [&str; 0]);
    assert!(platform.stop().await.0.success());
}

/// As `setpriv` names them.
fn rights_of_the_unit() -> Vec<String> {
    let unit = std::fs::read_to_string(root().join("packaging/systemd/crema.service")).unwrap();
    let lines = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let rights: Vec<String> = lines
        .flat_map(str::split_whitespace)
        .map(|right| format!("+{}", right.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    assert!(!rights.is_empty());
    rights
}
