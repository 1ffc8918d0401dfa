//! A call through the gateway's pod beside one through haproxy's, to the same pod of a function. `wrk` runs on the node
//! and calls Services; both proxies call the pod at its own address.

use super::stage::Stage;
use super::{FUNCTION, NAMESPACE};
use crate::control::BODY;
use crate::load::{Candidate, Rounds, take_turns};
use crate::proxy::report;
use crate::table::Table;
use crate::world::haproxy_config;
use anyhow::{Context, Error};
use e2e::cluster::installed::PLATFORM;
use e2e::cluster::load;
use e2e::cluster::pods::{are_back, pods, processes};
use e2e::system::{libraries, program};
use image::{Builder, ImageConfig, Store};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

const HAPROXY: &str = "haproxy";
const HAPROXY_IMAGE: &str = "docker.io/crema-bench/haproxy:1";
const CONFIG: &str = "/haproxy.cfg";

pub(super) fn measure(stage: &Stage, rounds: &Rounds, table: &mut Table) -> anyhow::Result<()> {
    let of_platform = |part: &str| format!("app.kubernetes.io/name=crema,app.kubernetes.io/component={part}");
    let gateway = stage.wait(pods(PLATFORM, &of_platform("gateway"))).map_err(Error::msg)?;
    let haproxy = start_haproxy(stage)?;
    let candidates = [
        Candidate { name: "haproxy's pod".to_owned(), url: haproxy.0, pids: processes(&haproxy.1) },
        Candidate {
            name: "gateway's pod".to_owned(),
            url: format!("{}/function/{FUNCTION}.{NAMESPACE}", stage.gateway),
            pids: gateway.iter().flat_map(processes).collect(),
        },
    ];
    for connections in [rounds.connections, 1] {
        let results = take_turns(&candidates, &Rounds { connections, ..*rounds }, BODY)?;
        let aim = if connections > 1 { "CPU ≤ 1.1 ×, rate ≥ 0.8 ×, 0 failed" } else { "" };
        report(&format!("gateway → pod, c={connections}, POST"), &candidates, &results, table, aim);
    }
    Ok(())
}

/// haproxy before the function's pod; the URL of its Service, and its pod.
fn start_haproxy(stage: &Stage) -> anyhow::Result<(String, Value)> {
    let function = stage.wait(pods(NAMESPACE, &format!("faas_function={FUNCTION}"))).map_err(Error::msg)?;
    let backend =
        function.first().and_then(|pod| pod["status"]["podIP"].as_str()).context("the function has no pod")?;
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("haproxy.tar");
    pack_haproxy(folder.path(), &archive, &haproxy_config("0.0.0.0:8080", &format!("{backend}:8080")))?;
    stage.wait(load(&[&archive]));
    stage.apply(&haproxy_objects())?;
    let started = stage.wait(are_back(NAMESPACE, &format!("app={HAPROXY}"), &[], 1));
    let service = stage.find("service", HAPROXY)?;
    let address = service["spec"]["clusterIP"].as_str().context("haproxy's Service has no address")?;
    Ok((format!("http://{address}:8080"), started.into_iter().next().context("haproxy has no pod")?))
}

/// This machine's haproxy with its libraries.
fn pack_haproxy(folder: &Path, archive: &Path, config: &str) -> anyhow::Result<()> {
    let binary = program(HAPROXY).context("haproxy (Debian: apt-get install haproxy)")?;
    let runs = [&binary.to_string_lossy(), "-f", CONFIG, "-db"].map(str::to_owned);
    let image = Builder::new(ImageConfig { entrypoint: runs.to_vec(), ..ImageConfig::default() });
    let files = libraries(&binary).into_iter().chain([binary]);
    let image = files.fold(image, |image, file| image.file(&file.to_string_lossy(), file.clone(), 0o755));
    let reference = HAPROXY_IMAGE.parse()?;
    let store = Store::open(folder.join("store"))?;
    image.bytes(CONFIG, config, 0o644).build(&store, &reference)?;
    store.export(&[reference], File::create(archive)?)?;
    Ok(())
}

/// Confined as the gateway is: a filter of system calls costs something at each of them.
fn haproxy_objects() -> Value {
    let metadata = json!({"name": HAPROXY, "namespace": NAMESPACE, "labels": {"app": HAPROXY}});
    let container = json!({
        "name": HAPROXY,
        "image": HAPROXY_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    let pod = json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    });
    let service = json!({"selector": {"app": HAPROXY}, "ports": [{"port": 8080}]});
    e2e::cluster::functions::list_of([
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}),
    ])
}
