//! Images that know nothing of Crema, packed from this machine's own files, run as they are.
#![allow(clippy::print_stderr, reason = "figures are for people")]

use crate::levels;
use crate::packing::{Archive, Packing, deployed};
use e2e::binaries::binary;
use e2e::platform::{Platform, State};
use e2e::skipped;
use e2e::system::{is_root, program};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Where an image has a file system of its own.
const LEVELS: [&str; 2] = ["full", "userns"];
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 10] = ["sh", "cat", "id", "env", "wget", "httpd", "ls", "echo", "pwd", "touch"];

/// An image with busybox's commands and our watchdog under the classic one's name.
fn busybox(test: &str) -> Option<Packing> {
    if !Path::new(BUSYBOX).exists() {
        skipped(test, "apt-get install busybox-static");
        return None;
    }
    let packing = Packing::default().program("/usr/bin/fwatchdog", &binary("watchdog"));
    let packing = packing.program(BUSYBOX, Path::new(BUSYBOX)).directory("/tmp", 0o1777);
    Some(APPLETS.iter().fold(packing, |packing, name| packing.link(&format!("/bin/{name}"), "busybox")))
}

/// The same, whose watchdog answers what comes in.
fn echo(test: &str) -> Option<Archive> {
    let config = json!({"Entrypoint": ["fwatchdog"], "Env": ["fprocess=cat"], "User": "app"});
    let packing = busybox(test)?.text("/etc/passwd", "app:x:100:101::/home/app:/bin/sh\n", 0o644);
    Some(packing.archive("docker.io/library/echo:1", &config))
}

async fn call(platform: &Platform, path: &str, body: &str) -> String {
    let url = platform.url(&format!("/function/{path}"));
    let answer = platform.http.post(&url, body.to_owned()).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

async fn status(platform: &Platform, function: &str) -> String {
    let answer = platform.system("GET", &format!("/system/function/{function}"), "").await;
    answer.json()["annotations"]["com.crema.status"].as_str().unwrap_or_default().to_owned()
}

/// Imports and deploys it under its own repository's last name.
async fn run(platform: &Platform, archive: &Archive, more: &Value) {
    archive.import(platform.state());
    let name = archive.name.rsplit('/').next().unwrap().split(':').next().unwrap();
    deployed(platform, name, &archive.name, more).await;
}

#[tokio::test]
async fn busybox_behind_the_classic_watchdog_runs_as_it_is() {
    let test = "busybox_behind_the_classic_watchdog_runs_as_it_is";
    let Some(archive) = echo(test) else { return };
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        // As docker saves it, then as skopeo makes OCI archives of that.
        run(&platform, &archive, &json!({})).await;
        archive.through_skopeo().import(platform.state());
        assert_eq!(call(&platform, "echo", "a flat white").await, "a flat white", "{level}");
        // `envProcess` is another process for the same image.
        let update = json!({"service": "echo", "image": archive.name, "envProcess": "id -un"});
        let answer = platform.system("PUT", "/system/functions", &update.to_string()).await;
        assert!(answer.status < 300, "{}", answer.text());
        e2e::eventually("the other process answers", || async {
            let said = call(&platform, "echo", "").await;
            (said == "app\n").then_some(()).ok_or(said)
        })
        .await;
        platform.logged("echo", "POST / - 200").await;
    }
}

#[tokio::test]
async fn a_function_reaches_the_gateway_by_name_and_by_its_variable() {
    let test = "a_function_reaches_the_gateway_by_name_and_by_its_variable";
    let Some(echo) = echo(test) else { return };
    let script = "#!/bin/sh\nfor gateway in http://gateway:8080 http://gateway.openfaas:8080 $gateway_url; do\n\
                  wget -q -O - --post-data=\"$gateway \" $gateway/function/echo || echo failed; done\n\
                  wget -q -O - http://gateway:8080/system/functions 2>&1 || true\n";
    let config = json!({"Entrypoint": ["/usr/bin/fwatchdog"], "Env": ["fprocess=/bin/caller"]});
    let caller = busybox(test).unwrap().text("/bin/caller", script, 0o755).archive("registry.local/caller:2", &config);
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        run(&platform, &echo, &json!({})).await;
        run(&platform, &caller, &json!({})).await;
        let said = call(&platform, "caller", "").await;
        let expected = "http://gateway:8080 http://gateway.openfaas:8080 http://127.0.0.1:8080 ";
        assert!(said.starts_with(expected), "{level}: {said}");
        // What only the administrator may do, it may not.
        assert!(said.contains("401"), "{level}: {said}");
    }
}

#[tokio::test]
async fn user_directory_environment_and_command_are_the_images() {
    let test = "user_directory_environment_and_command_are_the_images";
    let who = "#!/bin/sh\necho \"user $(id -un) $(id -u) $(id -g)\"\npwd\nenv\ntouch /tmp/x /var/cache/x && echo wrote\n\
               cat /etc/hosts /etc/resolv.conf /etc/passwd\nls -ld /usr/bin/fwatchdog\n";
    let start = "#!/bin/sh\necho \"started with $*\"\nexec fwatchdog\n";
    for (name, user, is_called) in [("named", "barista", "barista"), ("numbered", "31337:31337", "function")] {
        let Some(packing) = busybox(test) else { return };
        let config = json!({
            "Entrypoint": ["./bin/start"], "Cmd": ["one", "two words"], "User": user, "WorkingDir": "/srv/odd place",
            "Env": ["fprocess=./who", "GREETING=good morning", "PATH=/usr/bin:/bin"],
        });
        let archive = packing
            .text("/etc/passwd", "root:x:0:0::/root:/bin/sh\nbarista:x:4711:4712::/home/barista:/bin/sh\n", 0o644)
            .text("/srv/odd place/bin/start", start, 0o755)
            .text("/srv/odd place/who", who, 0o755)
            .directory("/var/cache", 0o777)
            .archive(&format!("quay.io/shop/{name}:3"), &config);
        for level in LEVELS {
            let state = State::default();
            let Some(platform) = levels::at(level, &state, test).await else { continue };
            run(&platform, &archive, &json!({"envVars": {"DEPLOYED": "yes"}})).await;
            let said = call(&platform, name, "").await;
            let has =
                |line: &str| assert!(said.lines().any(|said| said == line), "{level}: {line:?} is not in:\n{said}");
            let number = match (is_root(), name) {
                (true, _) => "2000000001",
                (false, "named") => "4711",
                (false, _) => "31337",
            };
            has(&format!("user {is_called} {number} {number}"));
            has("/srv/odd place");
            has("GREETING=good morning");
            has("DEPLOYED=yes");
            has("wrote");
            has(if name == "named" { "HOME=/home/barista" } else { "HOME=/" });
            assert!(said.contains("gateway.openfaas"), "{level}: {said}");
            assert!(!said.contains("nameserver"), "nothing answers in a network of its own: {said}");
            platform.logged(name, "started with one two words").await;
        }
    }
}

#[tokio::test]
async fn a_watchdog_by_name_that_takes_the_gateways_port_is_told_which_is_its_own() {
    let test = "a_watchdog_by_name_that_takes_the_gateways_port_is_told_which_is_its_own";
    let Some(packing) = busybox(test) else { return };
    let config = json!({"Entrypoint": ["/opt/my-watchdog"]});
    let script = "#!/bin/sh\nexec httpd -f -p 8080 -h /\n";
    let archive = packing.text("/opt/my-watchdog", script, 0o755).archive("quay.io/shop/stubborn:1", &config);
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        archive.import(platform.state());
        let (answered, said) = crate::packing::deploy(&platform, "stubborn", &archive.name, &json!({})).await;
        assert!(answered < 300, "{said}");
        let why = e2e::eventually("the reason is told", || async {
            let why = status(&platform, "stubborn").await;
            why.contains("exited").then(|| why.clone()).ok_or(why)
        })
        .await;
        for part in ["8079", "8080", "gateway", "port"] {
            assert!(why.contains(part), "{level}: {why}");
        }
        platform.logged("stubborn", "in use").await;
        platform.logged("stubborn", "8079").await;
    }
}

/// What Python runs in the image, and the files of its library that this needs.
fn python() -> Option<(PathBuf, Vec<PathBuf>)> {
    let system = PathBuf::from("/usr/bin/python3");
    let python = if system.is_file() { system } else { program("python3")? };
    let modules =
        "http.server,json,pwd,urllib.request,encodings.idna,encodings.latin_1,encodings.ascii,encodings.utf_8";
    let script = format!(
        "import os,sys,{modules}\nprint(os.path.realpath(sys.executable))\n\
         for m in list(sys.modules.values()):\n  f=getattr(m,'__file__',None)\n  if f and f.startswith('/'): print(f)"
    );
    let output = Command::new(python).args(["-S", "-E", "-B", "-c", &script]).output().ok()?;
    let said = String::from_utf8(output.stdout).unwrap();
    let mut lines = said.lines().map(PathBuf::from);
    Some((lines.next()?, lines.filter(|file| file.is_file()).collect()))
}

const PYTHON: &str = r#"
import http.server, json, os, pwd, urllib.request
held = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path == "/grow":
            while True: held.append(bytearray(b"x" * (1 << 20)))
        if self.path == "/gateway":
            url = os.environ["gateway_url"] + "/function/other"
            body = urllib.request.urlopen(urllib.request.Request(url, b"through the gateway")).read().decode()
        said = json.dumps({"path": self.path, "body": body, "cwd": os.getcwd(), "user": pwd.getpwuid(os.getuid()).pw_name})
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())
    do_POST = do_GET
print("listening", flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"#;

/// A Python server that listens on 8080 whatever it is told.
fn python_image(test: &str) -> Option<Archive> {
    let Some((program, library)) = python() else {
        skipped(test, "apt-get install python3");
        return None;
    };
    let path = program.to_str().unwrap().to_owned();
    let mut packing = Packing::default().program(&path, &program).text("/srv/app.py", PYTHON, 0o644);
    for file in library {
        packing = packing.file(file.to_str().unwrap(), &file, 0o644);
        if file.extension().is_some_and(|ending| ending == "so") {
            packing = packing.libraries(&file);
        }
    }
    let config = json!({"Entrypoint": [path, "-S", "-B"], "Cmd": ["app.py"], "WorkingDir": "/srv", "User": "1000"});
    Some(packing.archive("docker.io/library/python-server:1", &config))
}

#[tokio::test]
async fn a_python_server_that_only_knows_port_8080_is_served() {
    let test = "a_python_server_that_only_knows_port_8080_is_served";
    let (Some(archive), Some(echo)) = (python_image(test), echo(test)) else { return };
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        run(&platform, &archive, &json!({})).await;
        let answer: Value =
            serde_json::from_str(&call(&platform, "python-server/some/path?a=b", "cortado").await).unwrap();
        let expected = json!({"path": "/some/path?a=b", "body": "cortado", "cwd": "/srv", "user": "function"});
        assert_eq!(answer, expected, "{level}");
        echo.import(platform.state());
        deployed(&platform, "other", &echo.name, &json!({})).await;
        let answer: Value = serde_json::from_str(&call(&platform, "python-server/gateway", "").await).unwrap();
        assert_eq!(answer["body"], "through the gateway", "{level}");
        platform.logged("python-server", "listening").await;
    }
}

#[tokio::test]
async fn a_server_that_takes_all_memory_is_ended_alone_and_the_reason_is_told() {
    let test = "a_server_that_takes_all_memory_is_ended_alone_and_the_reason_is_told";
    let (Some(archive), Some(echo)) = (python_image(test), echo(test)) else { return };
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        run(&platform, &echo, &json!({})).await;
        run(&platform, &archive, &json!({"limits": {"memory": "64Mi"}})).await;
        let counted = platform.output().contains("control groups: memory");
        let answer = platform.http.get(&platform.url("/function/python-server/grow")).await.unwrap();
        assert!(answer.status >= 500, "{level}: {}", answer.text());
        assert_eq!(call(&platform, "echo", "still there").await, "still there");
        if counted {
            platform.logged("python-server", "more memory than its limit").await;
            e2e::eventually("the reason is told", || async {
                let why = status(&platform, "python-server").await;
                why.contains("more memory than its limit").then_some(()).ok_or(why)
            })
            .await;
        } else {
            // Where nothing counts, the program is refused more and goes on.
            platform.logged("python-server", "MemoryError").await;
        }
        e2e::eventually("it is there again", || async {
            let answer = platform.http.get(&platform.url("/function/python-server")).await?;
            (answer.status == 200).then_some(()).ok_or_else(|| answer.text())
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_server_is_served() {
    let test = "a_node_server_is_served";
    let Some(node) = program("node") else { return skipped(test, "apt-get install nodejs") };
    let script = "require('http').createServer((request, answer) => {\n\
                  request.pipe(answer) }).listen(8080, () => console.log('listening'))\n";
    let config = json!({"Cmd": ["node", "/srv/index.js"], "Env": ["PATH=/usr/local/bin"], "User": "node"});
    let packing = Packing::default().program("/usr/local/bin/node", &node.canonicalize().unwrap());
    let packing =
        packing.text("/srv/index.js", script, 0o644).text("/etc/passwd", "node:x:1000:1000::/:/bin/sh\n", 0o644);
    let archive = packing.archive("docker.io/library/node-server:20", &config);
    for level in LEVELS {
        let state = State::default();
        let Some(platform) = levels::at(level, &state, test).await else { continue };
        run(&platform, &archive, &json!({})).await;
        assert_eq!(call(&platform, "node-server", "macchiato").await, "macchiato", "{level}");
        platform.logged("node-server", "listening").await;
    }
}

#[tokio::test]
async fn a_large_image_is_imported_and_served() {
    const BYTES: u64 = 500 << 20;
    let test = "a_large_image_is_imported_and_served";
    let Some(packing) = busybox(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    // A hole: packed it is as many bytes as any other file.
    std::fs::File::create(&large).and_then(|file| file.set_len(BYTES)).unwrap();
    let config = json!({"Entrypoint": ["fwatchdog"], "Env": ["fprocess=ls -l /opt/model"]});
    let archive = packing.file("/opt/model", &large, 0o644).archive("docker.io/library/large:1", &config);
    assert!(archive.bytes() > BYTES);
    // One level will do: the way of the bytes is the same.
    let state = State::default();
    let Some(platform) = levels::at("userns", &state, test).await else { return };
    let begun = Instant::now();
    archive.import(platform.state());
    let imported = begun.elapsed();
    drop(archive);
    deployed(&platform, "large", "docker.io/library/large:1", &json!({})).await;
    let ready = begun.elapsed();
    assert!(call(&platform, "large", "").await.contains(&BYTES.to_string()));
    eprintln!("an image of 500 MB: imported in {imported:.1?}, deployed and ready after {:.1?} more", ready - imported);
}
