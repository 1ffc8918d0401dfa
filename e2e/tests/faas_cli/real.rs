//! The real faas-cli against a gateway, where it is installed: what it prints and how it exits.

use crate::peers::GREETING;
use crate::world::{Stage, World};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A stack file of one function.
const STACK: &str = "
version: 1.0
provider:
  name: openfaas
functions:
  stacked:
    image: owner/stacked:0.1.0
    environment: {LOG: debug}
    annotations: {topic: orders}
    labels: {team: core}
    secrets: [api-key]
    limits: {memory: 64Mi}
    readonly_root_filesystem: true
";

/// faas-cli with a home of its own, and the gateway it talks to.
struct Cli {
    home: TempDir,
    stage: Stage,
}

struct Ended {
    command: String,
    code: Option<i32>,
    /// What was printed, standard output first.
    text: String,
}

impl Cli {
    async fn run(&self, arguments: &str) -> Ended {
        self.run_with(arguments, "").await
    }

    async fn run_with(&self, arguments: &str, stdin: &str) -> Ended {
        let mut child = Command::new("faas-cli")
            .args(arguments.split(' '))
            .env_remove("CI")
            .env_remove("FAAS_DEBUG")
            .env_remove("OPENFAAS_CONFIG")
            .env("HOME", self.home.path())
            .env("OPENFAAS_URL", format!("http://{}", self.stage.address))
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // A command that reads nothing may have ended already.
        input.write_all(stdin.as_bytes()).await.unwrap_or_default();
        drop(input);
        let output = tokio::time::timeout(e2e::PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ended { command: arguments.to_owned(), code: output.status.code(), text }
    }
}

impl Ended {
    #[track_caller]
    fn with(self, code: i32, texts: &[&str]) -> Self {
        let Self { command, text, .. } = &self;
        assert_eq!(self.code, Some(code), "faas-cli {command}: {text}");
        for wanted in texts {
            assert!(text.contains(wanted), "faas-cli {command} did not say {wanted:?} but: {text}");
        }
        self
    }

    #[track_caller]
    fn without(self, unwanted: &str) {
        assert!(!self.text.contains(unwanted), "faas-cli {} said {unwanted:?}: {}", self.command, self.text);
    }
}

/// faas-cli, logged in, or none where it is not installed.
async fn logged_in(test: &str) -> Option<Cli> {
    let found = Command::new("faas-cli").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if found.is_err() {
        e2e::skipped(test, "faas-cli is not on the PATH; install it from github.com/openfaas/faas-cli");
        return None;
    }
    let world = World::recorded();
    let cli = Cli { home: tempfile::tempdir().unwrap(), stage: Stage::set(&world, true).await };
    let (user, password) = world.user_and_password();
    cli.run("list").await.with(1, &["Unauthorized access"]);
    cli.run(&format!("login -u {user} -p wrong")).await.with(1, &["either username or password is incorrect"]);
    cli.run_with(&format!("login -u {user} --password-stdin"), password).await.with(0, &["credentials saved"]);
    Some(cli)
}

#[tokio::test]
async fn the_real_faas_cli_manages_functions() {
    let Some(cli) = logged_in("the_real_faas_cli_manages_functions").await else { return };
    let release = env!("CARGO_PKG_VERSION");
    cli.run("version --warn-update=false").await.with(0, &["Gateway", release, "crema-memory"]);
    cli.run("ready").await.with(0, &[]);
    cli.run("list").await.with(0, &["hello", "sleeper"]).without("staged");
    cli.run("list -n staging-fn").await.with(0, &["staged"]).without("hello");
    cli.run("list -v").await.with(0, &["owner/hello:0.1.0"]);

    let new = "deploy --image owner/new:0.1.0 --name new --label a=b --annotation topic=x --secret api-key --env LOG=1";
    let url = format!("http://{}/function/new", cli.stage.address);
    cli.run(new).await.with(0, &["Deployed. 202 Accepted.", &url]);
    cli.run(new).await.with(0, &["Deployed. 202 Accepted."]);
    cli.run(&format!("{new} --update=false")).await.with(1, &["409", "already exists"]);
    cli.run("describe new").await.with(0, &["Ready", "owner/new:0.1.0", "a: b", "topic: x", "api-key"]);
    cli.run("ready new --attempts 2").await.with(0, &[]);
    cli.run("deploy --image owner/new:0.1.0 --name new -n staging-fn").await.with(0, &["new.staging-fn"]);

    let bad = |rest: &str| format!("deploy --image owner/bad:1 --name {rest}");
    cli.run(&bad("Bad")).await.with(1, &["400", "must be a valid DNS entry"]);
    cli.run(&bad("bad --secret nope")).await.with(1, &["400", "faas-cli secret create nope"]);
    cli.run(&bad("bad --memory-limit 12XB")).await.with(1, &["400", "12XB"]);
    cli.run("deploy --image Owner/Bad: --name bad").await.with(1, &["400", "not a valid reference"]);
    cli.run("describe bad").await.with(1, &["No such function: bad"]);

    cli.run("remove new").await.with(0, &["Removing old function."]);
    cli.run("remove new").await.with(1, &["No existing function to remove"]);
    cli.run("remove new -n staging-fn").await.with(0, &[]);
    cli.run("list").await.with(0, &["hello"]).without("new");
    cli.stage.strike().await;
}

#[tokio::test]
async fn the_real_faas_cli_deploys_a_stack_and_finds_no_difference() {
    let Some(cli) = logged_in("the_real_faas_cli_deploys_a_stack_and_finds_no_difference").await else { return };
    std::fs::write(cli.home.path().join("shop.yml"), STACK).unwrap();
    cli.run("deploy -f shop.yml").await.with(0, &["Deploying: stacked.", "Deployed. 202 Accepted."]);
    cli.run("diff -f shop.yml").await.with(0, &[]);
    std::fs::write(cli.home.path().join("shop.yml"), STACK.replace("debug", "info")).unwrap();
    cli.run("diff -f shop.yml").await.with(1, &["debug", "info"]);
    cli.run("remove -f shop.yml").await.with(0, &[]);
    cli.run("describe stacked").await.with(1, &["No such function"]);
    cli.stage.strike().await;
}

#[tokio::test]
async fn the_real_faas_cli_invokes_functions_and_reads_their_logs() {
    let Some(cli) = logged_in("the_real_faas_cli_invokes_functions_and_reads_their_logs").await else { return };
    cli.run_with("invoke hello", "Hi there").await.with(0, &[GREETING]);
    cli.run_with("invoke staged -n staging-fn", "Hi there").await.with(0, &[GREETING]);
    cli.run_with("invoke sleeper", "wake up").await.with(0, &[GREETING]);
    cli.run_with("invoke nope", "Hi there").await.with(1, &["nope"]);
    cli.run_with("invoke hello --async", "later").await.with(0, &["Function submitted asynchronously."]);
    let heard = &cli.stage.heard;
    e2e::eventually("the call is delivered", async || if heard.has(b"later") { Ok(()) } else { Err("not yet") }).await;

    cli.run("logs hello --tail=false").await.with(0, &["first line", "second \"quoted\" line", "third"]);
    cli.run("logs hello --tail=false --lines 1").await.with(0, &["third"]).without("first line");
    cli.run("logs hello --tail=false --since-time 2026-01-02T03:04:06Z").await.with(0, &["third"]).without("first");
    cli.run("logs staged -n staging-fn --tail=false").await.with(0, &["staged line"]);
    cli.run("logs nope --tail=false").await.with(1, &["404", "nope"]);
    cli.stage.strike().await;
}

#[tokio::test]
async fn the_real_faas_cli_manages_secrets_and_namespaces() {
    let Some(cli) = logged_in("the_real_faas_cli_manages_secrets_and_namespaces").await else { return };
    cli.run("secret list").await.with(0, &["api-key", "db.password", "extra"]);
    cli.run("secret create fresh --from-literal v1").await.with(0, &["Created: 202"]);
    cli.run("secret create fresh --from-literal v1").await.with(0, &["already exists"]);
    cli.run("secret create fresh --from-literal v2 --replace").await.with(0, &["Updated: 202"]);
    cli.run("secret update fresh --from-literal v3").await.with(0, &["202"]);
    cli.run("secret list").await.with(0, &["fresh"]);
    cli.run("secret remove fresh").await.with(0, &["Removed"]);
    cli.run("secret remove fresh").await.with(1, &["Unable to find secret"]);
    cli.run("secret remove api-key").await.with(1, &["409", "mounts the secret api-key"]);

    cli.run("namespace list").await.with(0, &["openfaas-fn", "staging-fn"]);
    cli.run("namespace create shop --label tier=dev --annotation owner=ops").await.with(0, &["shop"]);
    cli.run("namespace create shop").await.with(1, &["409", "already exists"]);
    cli.run("namespace get shop").await.with(0, &["tier", "owner"]);
    cli.run("namespace update shop --label tier=prod --label a=b").await.with(0, &[]);
    cli.run("namespace get shop").await.with(0, &["prod"]);
    cli.run("secret create fresh -n shop --from-literal v1").await.with(0, &["Created: 202"]);
    cli.run("namespace remove staging-fn").await.with(1, &["409"]);
    cli.run("namespace remove shop").await.with(0, &[]);
    cli.run("namespace get shop").await.with(1, &["shop not found"]);
    cli.run("secret list -n shop").await.with(1, &["404"]);
    cli.stage.strike().await;
}
