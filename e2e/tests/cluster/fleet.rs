//! What Fleet makes of the bundles of functions for one store: the controller's part is done here, helm does the rest.

use e2e::binaries::root;
use e2e::cluster::kubectl::{apply_server_side, run};
use tokio::process::Command;

/// The bundles of custom resources, and the chart beside them.
const BUNDLES: [&str; 2] = ["40-functions", "45-payment"];
const CHART: &str = "fleet/functions";

/// Renders the bundles for a store that is called as its namespace, and applies them as helm would.
pub(crate) async fn apply(namespace: &str) {
    for bundle in BUNDLES {
        let manifests = render(bundle, namespace).await;
        assert!(!manifests.contains("replicas:"), "{bundle} renders what belongs to the scaler: {manifests}");
        apply_server_side(&manifests).await.unwrap();
    }
}

async fn render(bundle: &str, namespace: &str) -> String {
    let file = root().join("fleet/bundles").join(bundle).join("fleet.yaml");
    let values = values(&std::fs::read_to_string(&file).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.yaml");
    std::fs::write(&path, values).unwrap();
    let mut command = Command::new("helm");
    command.args(["template", bundle]).arg(root().join(CHART)).args(["-n", namespace, "-f"]).arg(path);
    // What the controller puts in the place of its templates.
    for (key, value) in [("id", namespace), ("region", "no"), ("tz", "UTC")] {
        command.args(["--set-string", &format!("store.{key}={value}")]);
    }
    run(&mut command, "").await.unwrap()
}

/// `helm.values` of a fleet.yaml.
fn values(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "  values:").skip(1).peekable();
    assert!(lines.peek().is_some(), "no helm.values in {text}");
    let own = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    own.map(|line| format!("{}\n", line.get(4..).unwrap_or_default())).collect()
}
