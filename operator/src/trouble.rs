//! What keeps a pod from serving, in words that stay the same while the trouble does: the kubelet's own alternate
//! between trying and waiting.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, NotUsed, Object};
use serde::{Deserialize, Serialize};

/// A pod, as far as it matters here.
pub(crate) type PodView = Object<NotUsed, PodState>;

/// What pods are called in the API.
pub(crate) fn pod_resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodState {
    pub(crate) conditions: Vec<PodCondition>,
    pub(crate) container_statuses: Vec<ContainerState>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PodCondition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerState {
    pub(crate) image: String,
    pub(crate) ready: bool,
    pub(crate) restart_count: i32,
    pub(crate) state: Phase,
    pub(crate) last_state: Phase,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Phase {
    pub(crate) waiting: Option<Waiting>,
    pub(crate) terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Terminated {
    pub(crate) reason: String,
    pub(crate) exit_code: i32,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Longer messages are cut: they travel to the head office.
const LONGEST: usize = 400;

/// Drops what is not looked at.
pub(crate) fn slim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.creation_timestamp = None;
    metadata.generate_name = None;
    metadata.owner_references = None;
}

/// What is wrong with a pod; `None` when nothing is, or when it is on its way.
pub(crate) fn of(pod: &PodView) -> Option<Trouble> {
    let state = pod.status.as_ref()?;
    let unplaced = state.conditions.iter().find(|condition| {
        condition.kind == "PodScheduled" && condition.status == "False" && condition.reason == "Unschedulable"
    });
    if let Some(condition) = unplaced {
        return Some(trouble(&condition.reason, &format!("no node takes a replica: {}", condition.message)));
    }
    state.container_statuses.iter().find_map(container)
}

fn container(container: &ContainerState) -> Option<Trouble> {
    if container.ready {
        return None;
    }
    let waiting = container.state.waiting.as_ref();
    match waiting.map(|waiting| (waiting.reason.as_str(), waiting.message.as_str())) {
        Some(("ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable", message)) => {
            // Between the tries the error is behind the words that say so.
            let why = message.rsplit_once("ErrImagePull: ").map_or(message, |(_, why)| why);
            let why = if why.starts_with("Back-off") || why.is_empty() { "" } else { why };
            Some(trouble("ImagePullBackOff", &format!("image {} cannot be pulled: {why}", container.image)))
        }
        Some(("ErrImageNeverPull", _)) => {
            let image = &container.image;
            Some(trouble("ErrImageNeverPull", &format!("image {image} is not on the node, and may not be pulled")))
        }
        Some(("InvalidImageName", _)) => {
            Some(trouble("InvalidImageName", &format!("{:?} is no image reference", container.image)))
        }
        Some((reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"), message)) => {
            Some(trouble(reason, message))
        }
        _ => ended(container),
    }
}

fn ended(container: &ContainerState) -> Option<Trouble> {
    let ended = container.state.terminated.as_ref().or(container.last_state.terminated.as_ref())?;
    if ended.reason == "OOMKilled" {
        return Some(trouble("OOMKilled", "the process was killed as it used more than its memory limit"));
    }
    (container.restart_count > 0 || ended.exit_code != 0).then(|| {
        trouble("CrashLoopBackOff", &format!("the process ends by itself, with exit code {}", ended.exit_code))
    })
}

fn trouble(reason: &str, message: &str) -> Trouble {
    let message = message.trim_end_matches([':', ' ']).chars().take(LONGEST).collect();
    Trouble { reason: reason.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(container: &Value) -> Option<Trouble> {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": []}, "status": {
            "phase": "Pending", "containerStatuses": [container]}});
        of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pull_reads_the_same_while_it_is_tried_and_between() {
        let why = "failed to resolve reference \"docker.io/crema/nothing:1\": no such host";
        let tried = seen(&json!({"image": "crema/nothing:1", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": why}}}));
        let between = seen(&json!({"image": "crema/nothing:1", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff",
                "message": format!("Back-off pulling image \"crema/nothing:1\": ErrImagePull: {why}")}}}));
        assert_eq!(tried, between);
        let tried = tried.unwrap();
        assert_eq!(tried.reason, "ImagePullBackOff");
        assert_eq!(tried.message, format!("image crema/nothing:1 cannot be pulled: {why}"));
    }

    #[test]
    fn a_crash_reads_the_same_while_it_runs_again_and_between() {
        let last = json!({"terminated": {"reason": "Error", "exitCode": 101}});
        let runs = seen(&json!({"ready": false, "restartCount": 3, "state": {"running": {}}, "lastState": last}));
        let waits = seen(&json!({"ready": false, "restartCount": 4, "lastState": last,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}}));
        assert_eq!(runs, waits);
        assert_eq!(runs.unwrap().message, "the process ends by itself, with exit code 101");
    }

    #[test]
    fn a_start_is_no_trouble_and_no_room_is() {
        assert_eq!(seen(&json!({"ready": false, "restartCount": 0, "state": {"running": {}}})), None);
        let creating = json!({"ready": false, "state": {"waiting": {"reason": "ContainerCreating"}}});
        assert_eq!(seen(&creating), None);
        let pod = json!({"metadata": {}, "spec": {}, "status": {"conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]}});
        let trouble = of(&serde_json::from_value(pod).unwrap()).unwrap();
        assert_eq!(trouble.reason, "Unschedulable");
    }
}
