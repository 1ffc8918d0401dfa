//! Versions that do not work: the one before serves throughout, and everybody can see why.

use e2e::actors::{actor, answer, answers, deploy, is_given, levels, stage, status};
use e2e::callers::Callers;
use e2e::platform::{Platform, State};
use e2e::system::program;
use e2e::{eventually, skipped};
use image::{Builder, ImageConfig, Store};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

const CALLERS: usize = 2;
/// Long enough for a busy machine, short enough for a test.
const START_TIMEOUT: &str = "4s";

/// A version that does not work.
struct Bad {
    function: &'static str,
    /// What the status says of it, one of them.
    said: &'static [&'static str],
    /// It served before it failed: calls it was at are lost with it.
    served: bool,
}

const BAD: [Bad; 6] = [
    Bad { function: "exits", said: &["exited with status 1"], served: false },
    Bad { function: "never-ready", said: &["was not ready within 4 s"], served: false },
    // The first process of its namespace cannot send itself SIGABRT, and dies of the next thing it tries.
    Bad { function: "crashes", said: &["was ended by signal"], served: true },
    Bad { function: "other-machine", said: &["Exec format error"], served: false },
    Bad { function: "no-binary", said: &["No such file"], served: false },
    // Without control groups it is the process's own limit that ends it.
    Bad {
        function: "takes-memory",
        said: &["it used more memory than its limit", "was ended by signal"],
        served: false,
    },
];

/// The bad version of a function.
fn bad(function: &str) -> Value {
    let mut deployment = actor(function, 1);
    let behaves = |deployment: &mut Value, how: &str| deployment["envVars"]["behaves"] = how.into();
    match function {
        "exits" => behaves(&mut deployment, "exits at once"),
        "never-ready" => behaves(&mut deployment, "never gets ready"),
        "crashes" => behaves(&mut deployment, "crashes after a while"),
        "takes-memory" => {
            behaves(&mut deployment, "takes memory");
            deployment["limits"] = json!({"memory": "32Mi"});
        }
        image => deployment["image"] = format!("{image}:1").into(),
    }
    deployment
}

/// The start of a program for a machine of another kind.
fn program_of_another_machine() -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    header.resize(16, 0);
    for half in [2, machine] {
        header.extend(half.to_le_bytes());
    }
    header.resize(64, 0);
    header
}

fn make_images(store: &Store) {
    let config = |entrypoint: &str| ImageConfig {
        entrypoint: vec![entrypoint.to_owned()],
        labels: [(IMAGE_SERVES.to_owned(), SERVES_UNIX_SOCKET.to_owned())].into(),
        ..ImageConfig::default()
    };
    let program = program_of_another_machine();
    let build = |name: &str, builder: Builder| drop(builder.build(store, &name.parse().unwrap()).unwrap());
    build("other-machine:1", Builder::new(config("/function")).bytes("/function", program.clone(), 0o755));
    build("no-binary:1", Builder::new(config("/missing")).bytes("/function", program.clone(), 0o755));
    let unreadable =
        Builder::new(config("/function")).bytes("/function", [program, b"unreadable".to_vec()].concat(), 0o755);
    build("unreadable:1", unreadable);
}

/// Overwrites an image's layer with something else of the same length.
fn spoil_layer(store: &Path, image: &str) {
    let read = |digest: &str| fs::read(blob(store, digest)).unwrap();
    let document = |digest: &str| serde_json::from_slice::<Value>(&read(digest)).unwrap();
    let image = Store::open(store).unwrap().get(&image.parse().unwrap()).unwrap();
    let manifest = document(&image.digest);
    let layer = blob(store, manifest["layers"][0]["digest"].as_str().unwrap());
    let length = fs::metadata(&layer).unwrap().len();
    fs::set_permissions(&layer, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&layer, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
}

fn blob(store: &Path, digest: &str) -> PathBuf {
    store.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

/// Deploys the bad version over the good one, and waits until it is taken back.
async fn is_taken_back(platform: &Platform, bad_one: &Bad) {
    let Bad { function, said, served } = bad_one;
    let callers = Callers::call(&platform.url(&format!("/function/{function}")), CALLERS);
    let answered = platform.system("PUT", "/system/functions", &bad(function).to_string()).await;
    assert!(answered.status < 300, "{function}: {}", answered.text());
    let why = eventually(&format!("{function} is taken back"), || async {
        let status = status(platform, function).await;
        let why = status["annotations"]["com.crema.status"].as_str().map(str::to_owned);
        why.filter(|why| why.contains("is taken back")).ok_or(status)
    })
    .await;
    assert!(said.iter().any(|said| why.contains(said)), "{function}: {why}");
    answers(platform, function, |said| said == answer(2)).await;
    let heard = callers.stop().await;
    if *served {
        // A caller has one call under way when its replica crashes.
        assert!(heard.failed() <= CALLERS * 3, "{function}: {heard:?}");
        assert!(heard.failures.keys().all(|said| said.starts_with("502")), "{function}: {heard:?}");
    } else {
        heard.without_failure(function);
        assert_eq!(heard.answers.len(), 1, "{function}: {heard:?}");
    }
    platform.logged(function, "is taken back").await;
}

/// The real faas-cli, logged in.
struct FaasCli {
    program: PathBuf,
    home: tempfile::TempDir,
    gateway: String,
}

impl FaasCli {
    fn log_in(platform: &Platform) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let cli = Self { program: program("faas-cli")?, home, gateway: platform.url("") };
        cli.run(&["login", "--password", platform.password()]);
        Some(cli)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--gateway", &self.gateway]).env("HOME", self.home.path());
        let output = command.env("OPENFAAS_CONFIG", self.home.path()).current_dir(self.home.path()).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
        said(&output.stdout)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_is_taken_back_while_the_one_before_serves() {
    let name = "a_bad_version_is_taken_back_while_the_one_before_serves";
    for level in levels() {
        let state = State::default();
        let platform = stage(&state, level, &[("start_timeout", START_TIMEOUT)]).await;
        let store = state.path().join("images");
        make_images(&Store::open(&store).unwrap());
        spoil_layer(&store, "unreadable:1");
        let functions = BAD.iter().map(|bad| bad.function).chain(["unreadable"]);
        for function in functions.clone() {
            // The good version is the second image, so that an answer tells which one it is.
            deploy(&platform, &actor(function, 2)).await;
        }
        for function in functions {
            answers(&platform, function, |said| said == answer(2)).await;
        }
        if !is_given(&platform, "exits", level, name).await {
            continue;
        }
        let all = BAD.iter().map(|bad| is_taken_back(&platform, bad));
        futures_util::future::join_all(all).await;

        // A layer that cannot be read is found before anything is stopped: whoever deploys is told.
        let callers = Callers::call(&platform.url("/function/unreadable"), CALLERS);
        let answered = platform.system("PUT", "/system/functions", &bad("unreadable").to_string()).await;
        assert!(answered.status >= 400 && answered.text().contains("unreadable:1"), "{}", answered.text());
        answers(&platform, "unreadable", |said| said == answer(2)).await;
        callers.stop().await.without_failure("unreadable");

        match FaasCli::log_in(&platform) {
            Some(cli) => BAD.iter().for_each(|bad| {
                for shown in [cli.run(&["describe", bad.function]), cli.run(&["logs", bad.function, "--tail=false"])] {
                    assert!(shown.contains("is taken back"), "{}: {shown}", bad.function);
                }
            }),
            None => skipped(&format!("{name} (faas-cli)"), "put faas-cli on the PATH"),
        }
        let (status, _) = platform.stop().await;
        assert!(status.success(), "{status}");
    }
}
