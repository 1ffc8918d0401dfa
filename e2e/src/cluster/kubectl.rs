//! kubectl and helm as processes, with a limit to each.

use crate::PATIENCE;
use serde_json::Value;
use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The longest any command may take: helm waits for pods, a node comes back.
const LONGEST: Duration = Duration::from_secs(240);
/// A look at the cluster is a process each time.
const STEP: Duration = Duration::from_millis(300);

/// Runs a command to its end; what it printed, or what it said was wrong.
pub async fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let said = format!("{:?}", command.as_std());
    let running = async {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
        // One that reads nothing may have ended already.
        stdin.write_all(input.as_bytes()).await.unwrap_or_default();
        drop(stdin);
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(LONGEST, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{said}: {error}")),
        Err(_) => return Err(format!("{said}: not within {LONGEST:?}")),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{said}: {} {}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// Runs kubectl.
pub async fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("kubectl").args(arguments), "").await
}

/// Runs helm.
pub async fn helm(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("helm").args(arguments), "").await
}

/// Applies an object or a list, as JSON.
pub async fn apply(object: &Value) -> Result<String, String> {
    apply_text(&object.to_string()).await
}

/// Creates what is not there yet, as JSON, without noting it in an annotation.
pub async fn create(object: &Value) -> Result<String, String> {
    run(Command::new("kubectl").args(["create", "-f", "-"]), &object.to_string()).await
}

/// Applies manifests, as YAML.
pub async fn apply_text(manifests: &str) -> Result<String, String> {
    run(Command::new("kubectl").args(["apply", "-f", "-"]), manifests).await
}

/// Applies manifests to the server's own merge, as a continuous deployment does.
pub async fn apply_server_side(manifests: &str) -> Result<String, String> {
    run(Command::new("kubectl").args(["apply", "--server-side", "--force-conflicts", "-f", "-"]), manifests).await
}

/// `kubectl get … -o json`.
pub async fn get(arguments: &[&str]) -> Result<Value, String> {
    let text = kubectl(&[&["get", "-o", "json"], arguments].concat()).await?;
    serde_json::from_str(&text).map_err(|error| format!("{arguments:?}: {error}"))
}

/// The items of a list.
pub async fn list(arguments: &[&str]) -> Result<Vec<Value>, String> {
    let list = get(arguments).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Deletes what may be there.
pub async fn delete(arguments: &[&str]) {
    kubectl(&[&["delete", "--ignore-not-found", "--wait=false"], arguments].concat()).await.unwrap();
}

/// Deletes namespaces and waits until they are gone.
pub async fn delete_namespaces(names: &[&str]) {
    delete(&[&["namespace"], names].concat()).await;
    for name in names {
        seen(&format!("namespace {name} goes"), || async {
            let found = kubectl(&["get", "namespace", name, "--ignore-not-found", "-o", "name"]).await?;
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

/// Polls the cluster until `probe` gives a value; each look is a process, so it looks less often than
/// [`eventually`](crate::eventually).
pub async fn seen<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    seen_within(PATIENCE, what, probe).await
}

/// The same with another patience.
pub async fn seen_within<T, F>(patience: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if begun.elapsed() > patience => panic!("{what}: not within {patience:?}; last: {last}"),
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}
