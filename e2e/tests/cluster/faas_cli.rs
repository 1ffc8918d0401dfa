//! The real faas-cli against the cluster.

use crate::stage::Stage;
use e2e::cluster::functions::{answer, namespace};
use e2e::cluster::images::actor_image;
use e2e::cluster::kubectl::{apply, delete_namespaces, run};
use std::path::Path;
use tokio::process::Command;

const NAMESPACE: &str = "e2e-faas-cli";

/// faas-cli with a home of its own.
struct Cli<'a> {
    home: &'a Path,
    url: String,
}

impl Cli<'_> {
    async fn run(&self, arguments: &str) -> Result<String, String> {
        self.run_with(arguments, "").await
    }

    async fn run_with(&self, arguments: &str, input: &str) -> Result<String, String> {
        let mut command = Command::new("faas-cli");
        command.args(arguments.split(' ')).current_dir(self.home).env("HOME", self.home).env("OPENFAAS_URL", &self.url);
        run(&mut command, input).await
    }

    async fn says(&self, arguments: &str, texts: &[&str]) {
        let said = self.run(arguments).await.unwrap();
        for text in texts {
            assert!(said.contains(text), "faas-cli {arguments} did not say {text:?} but: {said}");
        }
    }
}

pub(crate) async fn the_real_faas_cli_does_all_of_its_work(stage: &Stage) {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli { home: home.path(), url: stage.url("") };
    // What an earlier run has left would be no first deployment.
    delete_namespaces(&[NAMESPACE]).await;
    apply(&namespace(NAMESPACE)).await.unwrap();
    cli.run("list").await.unwrap_err();
    cli.run_with("login -u admin --password-stdin", stage.password()).await.unwrap();
    cli.says("version --warn-update=false", &["kubernetes", env!("CARGO_PKG_VERSION")]).await;
    cli.says("namespace list", &["openfaas-fn", NAMESPACE]).await;
    let stack = format!(
        "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  by-stack:\n    image: {}\n    namespace: {NAMESPACE}\n    \
         environment: {{version: \"1\"}}\n    secrets: [by-cli]\n    labels: {{team: core}}\n    \
         annotations: {{topic: by-cli}}\n    limits: {{memory: 32Mi}}\n    readonly_root_filesystem: true\n",
        actor_image(1)
    );
    std::fs::write(home.path().join("stack.yml"), stack).unwrap();
    let refused = cli.run("deploy -f stack.yml").await.unwrap_err();
    assert!(refused.contains("by-cli"), "{refused}");
    cli.says(&format!("secret create by-cli -n {NAMESPACE} --from-literal s3cret"), &["202"]).await;
    cli.says(&format!("secret list -n {NAMESPACE}"), &["by-cli"]).await;
    cli.says("deploy -f stack.yml", &["Deployed. 202 Accepted."]).await;
    cli.says(&format!("ready by-stack -n {NAMESPACE}"), &[]).await;
    cli.says(&format!("diff -f stack.yml -n {NAMESPACE}"), &[]).await;
    cli.says(&format!("list -n {NAMESPACE} -v"), &["by-stack", &actor_image(1)]).await;
    let described = ["Ready", "topic: by-cli", "team: core", "by-cli", "32Mi"];
    cli.says(&format!("describe by-stack -n {NAMESPACE}"), &described).await;
    let said = cli.run_with(&format!("invoke by-stack -n {NAMESPACE}"), "hi").await.unwrap();
    assert!(said.contains(&answer(1)), "{said}");
    cli.run_with(&format!("invoke by-stack -n {NAMESPACE} --async"), "hi").await.unwrap();
    cli.says(&format!("logs by-stack -n {NAMESPACE} --tail=false --name"), &["by-stack", "POST / - 200"]).await;
    cli.says("remove -f stack.yml", &[]).await;
    cli.says(&format!("secret remove by-cli -n {NAMESPACE}"), &["Removed"]).await;
    delete_namespaces(&[NAMESPACE]).await;
}
