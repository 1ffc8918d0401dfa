//! A function as a process: settings from the environment, signals, exit codes.
//!
//! The process is this test binary again, told by a variable to be a function.

use function_sdk::{Request, Response, serve_with, testing};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

const ROLE: &str = "SDK_TEST_FUNCTION";

/// Not a test of its own: the function that the others start.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads its role and ends as a main would")]
fn the_function() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let code = serve_with(async |context| {
        function_sdk::log("starting");
        let data = context.env("fail").map_or(Ok("ready"), Err)?;
        function_sdk::log(data);
        Ok::<_, String>(async |request: Request| {
            if let Some(release) = request.path.strip_prefix("/slow") {
                function_sdk::log("under way");
                crate::eventually(async || Path::new(release).exists()).await;
            }
            function_sdk::log("seen");
            Response::ok().text("done")
        })
    });
    std::process::exit(if code == ExitCode::SUCCESS {
        0
    } else if code == ExitCode::from(64) {
        64
    } else {
        1
    });
}

fn function(socket: &Path, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["process::the_function", "--exact", "--nocapture"])
        .env(ROLE, "1")
        .env("CREMA_SOCKET", socket)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn sigterm_ends_the_call_under_way_well_and_then_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("f.sock");
    let mut child = function(&socket, &[]);
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let lines = std::thread::spawn(move || {
        // The receiver goes before the last lines come.
        stderr.map(Result::unwrap).inspect(|line| seen.send(line.clone()).unwrap_or_default()).collect::<Vec<_>>()
    });
    let release = directory.path().join("release");
    let path = format!("/slow{}", release.display());
    testing::block_on(async {
        crate::eventually(async || call(&socket, "/_/ready").await.is_some_and(|answer| answer.contains(" 200 ")))
            .await;
        let story = async {
            while !arrived.recv().await.unwrap().starts_with("under way") {}
            signal(&child, "-TERM");
            // Nothing new is taken, and the call goes on.
            crate::eventually(async || !socket.exists()).await;
            std::fs::write(&release, "").unwrap();
        };
        let (answer, ()) = tokio::join!(call(&socket, &path), story);
        assert!(answer.unwrap().ends_with("done"));
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = lines.join().unwrap();
    let seen = lines.iter().find(|line| line.starts_with("seen [")).unwrap_or_else(|| panic!("{lines:?}"));
    let id = seen.trim_start_matches("seen ");
    let access = lines
        .iter()
        .find(|line| line.starts_with("GET /slow/") && line.contains(" - 200 - ContentLength: 4B ("))
        .unwrap();
    assert!(access.ends_with(id), "{access} {id}");
    assert!(!socket.exists());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("f.sock");
    let mut child = function(&socket, &[]);
    testing::block_on(async {
        crate::eventually(async || call(&socket, "/_/ready").await.is_some_and(|answer| answer.contains(" 200 ")))
            .await;
    });
    signal(&child, "-INT");
    signal(&child, "-TERM");
    let status = child.wait().unwrap();
    assert!(status.code().is_some(), "it died of signal {:?}", status.signal());
}

#[test]
fn bad_settings_end_with_64_and_a_failed_start_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("f.sock");
    for (variables, code, says) in
        [(("write_timeout", "soon"), 64, "write_timeout=soon"), (("fail", "no disk"), 1, "no disk")]
    {
        let output = function(&socket, &[variables]).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{text}");
    }
}

/// One exchange over a Unix socket, as text; `None` when nobody listens.
async fn call(socket: &Path, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(socket).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}
