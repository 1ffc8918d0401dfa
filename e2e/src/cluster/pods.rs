//! Pods: which there are, and their sudden end.

use super::kubectl::{delete, list, seen_within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::time::Duration;

/// A pod comes back after its first ends at once, later ones after a while.
const COMES_BACK: Duration = Duration::from_secs(120);

/// The pods that a selector names.
pub async fn pods(namespace: &str, selector: &str) -> Result<Vec<Value>, String> {
    list(&["pods", "-n", namespace, "-l", selector]).await
}

/// The pod's unique id.
#[must_use]
pub fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

/// The pod's name.
#[must_use]
pub fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether a pod is ready and stays.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    is_ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Deletes pods as a lost node does, without a grace.
pub async fn kill(namespace: &str, selector: &str) {
    delete(&["pods", "-n", namespace, "-l", selector, "--grace-period=0", "--force"]).await;
}

/// Waits until there are `count` ready pods, none of which is among `before`.
pub async fn are_back(namespace: &str, selector: &str, before: &[Value], count: usize) -> Vec<Value> {
    seen_within(COMES_BACK, &format!("{selector} in {namespace} is back"), || async {
        let now = pods(namespace, selector).await?;
        let is_old = |pod: &Value| before.iter().any(|old| uid(old) == uid(pod));
        let ready: Vec<Value> = now.iter().filter(|pod| is_ready(pod) && !is_old(pod)).cloned().collect();
        if ready.len() == count { Ok(ready) } else { Err(Value::from(now).to_string()) }
    })
    .await
}

/// The processes of a pod's containers. Only on the cluster's node.
#[must_use]
pub fn processes(pod: &Value) -> Vec<u32> {
    let hostname = format!("HOSTNAME={}", name(pod));
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_one = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == hostname.as_bytes())
    };
    pids.filter(is_one).collect()
}

/// Ends the processes of a pod as a crash does; how many there were. Only on the cluster's node.
#[must_use]
pub fn crash(pod: &Value) -> usize {
    let pids = processes(pod).into_iter().filter_map(|pid| Pid::from_raw(pid.try_into().ok()?));
    pids.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count()
}
