//! What a hostile function tries on a platform, and what comes of it at each level of isolation: one table, which
//! `docs/isolation.md` repeats. What is the same for any process in the sandbox is tried in its own tests.

use crate::levels;
use crate::packing::{Packing, deployed};
use e2e::binaries::{PROBER, binary};
use e2e::platform::{Platform, State};
use e2e::system::is_root;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// What an attempt comes to. With `ok` it must succeed, with names of errors it must fail with one of them, and
/// what begins with `not given` may succeed, for the reason that follows.
struct Row {
    tries: &'static str,
    /// The prober's words for it.
    words: fn(&Site) -> Vec<String>,
    full: &'static str,
    userns: &'static str,
    /// As root, where a function is a user of its own.
    process_root: &'static str,
    /// As an ordinary user.
    process: &'static str,
}

const BEFORE_7_1: &str =
    "not given before Linux 7.1: landlock knows no sockets in files, and all functions are one user";

const TABLE: &[Row] = &[
    Row {
        tries: "read another function's secret",
        words: |site| vec![format!("read={}", site.victim.join("secrets/key").display())],
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "read and change another function's data",
        words: |site| paths(&["read", "append", "write"], &site.data()),
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "read another function's image",
        words: |site| paths(&["read"], &site.other_image()),
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "read and change the platform's files: its password, what is deployed",
        words: |site| {
            let mut words = paths(&["read", "append"], &site.state.join("auth/basic-auth-password"));
            words.extend(paths(&["list"], &site.state.join("functions")));
            words.extend(paths(&["write"], &site.state.join("functions/new")));
            words
        },
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "write elsewhere on the box: beside the platform's files, to /etc, to /var/tmp",
        words: |site| {
            let beside = site.state.with_file_name("escaped");
            [vec![format!("write={}", beside.display())], outside_words(site)].concat()
        },
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "write to its own image",
        words: |site| vec![format!("write={}", site.inside("written"))],
        full: "ok",
        userns: "ok",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "connect to another function's socket",
        words: |site| vec![format!("unix={}", site.victim.join("i/s").display())],
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: BEFORE_7_1,
    },
    Row {
        tries: "look into /proc of another function and of the platform: its environment, its root directory",
        words: |site| {
            let of = |pid| [format!("read=/proc/{pid}/environ"), format!("list=/proc/{pid}/root")];
            [of(site.victim_pid), of(site.platform_pid)].concat()
        },
        full: "ENOENT",
        userns: "ENOENT",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "signal another function and the platform",
        words: |site| [site.victim_pid, site.platform_pid].map(|pid| format!("kill={pid}")).to_vec(),
        full: "ESRCH",
        userns: "ESRCH",
        process_root: "EPERM",
        process: "EPERM",
    },
    Row {
        tries: "trace another function and the platform, read their memory",
        words: |site| {
            let of = |pid| [format!("ptrace={pid}"), format!("read-memory={pid}")];
            [of(site.victim_pid), of(site.platform_pid)].concat()
        },
        full: "EPERM ESRCH",
        userns: "EPERM ESRCH",
        process_root: "EPERM",
        process: "EPERM",
    },
    Row {
        tries: "mount, remount, unmount; namespaces inside; device nodes; raw and packet sockets; keyctl, bpf, io_uring",
        words: |_| {
            let words = "mount remount move-mount umount unshare-user unshare-mount clone-user setns mknod raw-socket \
                         packet-socket keyctl add-key bpf io-uring perf userfaultfd";
            words.split_whitespace().map(str::to_owned).collect()
        },
        full: "EPERM ENOSYS EACCES",
        userns: "EPERM ENOSYS EACCES",
        process_root: "EPERM ENOSYS EACCES",
        process: "EPERM ENOSYS EACCES",
    },
    Row {
        tries: "become another user",
        words: |_| vec!["setuid".to_owned(), "setgroups".to_owned()],
        full: "EPERM",
        userns: "EPERM EINVAL",
        process_root: "EPERM",
        process: "EPERM",
    },
    Row {
        tries: "connect to the MQTT broker, the metrics, a service of the box (SSH)",
        words: |site| site.closed.iter().map(|port| format!("tcp=127.0.0.1:{port}")).collect(),
        full: "ECONNREFUSED",
        userns: "ECONNREFUSED",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "connect to the outside",
        words: |_| vec!["tcp=192.0.2.1:80".to_owned()],
        full: "ENETUNREACH",
        userns: "ENETUNREACH",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "connect to the gateway at its port on the box",
        words: |site| vec![format!("tcp=127.0.0.1:{}", site.gateway)],
        full: "ECONNREFUSED",
        userns: "ECONNREFUSED",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "connect to the gateway where it is told to",
        words: |site| vec![format!("tcp=127.0.0.1:{}", site.told)],
        full: "ok",
        userns: "ok",
        process_root: "ok",
        process: "ok",
    },
    Row {
        tries: "listen beside the box's services",
        words: |_| vec!["listen=0.0.0.0:0".to_owned()],
        full: "ok",
        userns: "ok",
        process_root: "EACCES",
        process: "EACCES",
    },
    Row {
        tries: "fill /tmp",
        words: |site| if site.has_root { vec!["fill=/tmp/file".to_owned()] } else { Vec::new() },
        full: "ok",
        userns: "ok",
        process_root: "not given: it is a directory on the disk of the state",
        process: "not given: it is a directory on the disk of the state",
    },
];

fn paths(words: &[&str], path: &Path) -> Vec<String> {
    words.iter().map(|word| format!("{word}={}", path.display())).collect()
}

/// Places that a file system of its own has too, are written to there.
fn outside_words(site: &Site) -> Vec<String> {
    match site.has_root {
        true => Vec::new(),
        false => ["/etc/escaped", "/var/tmp/escaped", "/tmp/escaped"].map(|path| format!("write={path}")).to_vec(),
    }
}

/// Where everything is that a function should not reach.
struct Site {
    state: PathBuf,
    /// The directory of the other function's replica.
    victim: PathBuf,
    victim_pid: u64,
    platform_pid: u64,
    closed: Vec<String>,
    /// The gateway's port on the box.
    gateway: String,
    /// Its port for functions.
    told: String,
    /// Whether functions have a file system of their own.
    has_root: bool,
    image: PathBuf,
}

impl Site {
    fn data(&self) -> PathBuf {
        self.state.join("data/openfaas-fn/victim/book")
    }

    fn other_image(&self) -> PathBuf {
        let images = self.images();
        let other = images.iter().find(|path| !path.starts_with(&self.image));
        other.unwrap_or_else(|| panic!("none but {}: {images:?}", self.image.display())).clone()
    }

    fn images(&self) -> Vec<PathBuf> {
        let unpacked = fs::read_dir(self.state.join("images/unpacked")).unwrap();
        let roots = unpacked.map(|entry| entry.unwrap().path());
        roots.map(|root| root.join("rootfs/function")).filter(|path| path.is_file()).collect()
    }

    /// A path of the function's image as the function sees it.
    fn inside(&self, path: &str) -> String {
        match self.has_root {
            true => format!("/{path}"),
            false => self.image.join(path).display().to_string(),
        }
    }
}

/// The image of the prober, or of another function with the same program.
pub(crate) fn image(name: &str) -> crate::packing::Archive {
    let config = json!({
        "Entrypoint": ["/function"], "User": "65532:65532", "Labels": {"com.crema.serves": "unix-socket"}
    });
    let packing = Packing::default().file("/function", &binary(PROBER), 0o755).text("/name", name, 0o644);
    packing.file("/suid", &binary(PROBER), 0o4755).archive(&format!("crema.test/{name}:1"), &config)
}

/// Deploys a victim with a secret and data, and a prober.
async fn site(platform: &Platform, level: &str, more: &Value) -> Site {
    let state = platform.state().to_owned();
    let secret = json!({"name": "key", "namespace": "openfaas-fn", "value": "a secret"}).to_string();
    assert!(platform.system("POST", "/system/secrets", &secret).await.status < 300);
    for name in ["victim", "prober"] {
        image(name).import(&state);
    }
    let owns = json!({"secrets": ["key"], "annotations": {"com.crema.data.path": "/data"}});
    deployed(platform, "victim", "crema.test/victim:1", &owns).await;
    fs::write(state.join("data/openfaas-fn/victim/book"), "debts").unwrap();
    let replicas = || fs::read_dir(state.join("run/fn")).unwrap().map(|entry| entry.unwrap().path());
    let victim = replicas().find(|dir| dir.join("secrets/key").exists());
    let victim = victim.unwrap_or_else(|| panic!("no replica has the secret: {:?}", replicas().collect::<Vec<_>>()));
    let record: Value = serde_json::from_slice(&fs::read(victim.join("record.json")).unwrap()).unwrap();
    deployed(platform, "prober", "crema.test/prober:1", more).await;
    let port = |url: String| url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let mut site = Site {
        victim,
        victim_pid: record["pid"].as_u64().unwrap(),
        platform_pid: platform.pid().into(),
        closed: vec![platform.mqtt_port(), port(platform.metrics_url("/"))],
        gateway: port(platform.url("/")),
        told: gateway_told(level, record["pid"].as_u64().unwrap()),
        has_root: level != "process",
        image: PathBuf::new(),
        state,
    };
    let own = |path: &PathBuf| fs::read_to_string(path.with_file_name("name")).is_ok_and(|name| name == "prober");
    site.image = site.images().iter().find(|path| own(path)).unwrap().parent().unwrap().to_owned();
    site
}

/// The port functions are told to reach the gateway at.
fn gateway_told(level: &str, pid: u64) -> String {
    if level != "process" {
        return "8080".to_owned();
    }
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let url = environment.split('\0').find_map(|variable| variable.strip_prefix("gateway_url=")).unwrap();
    url.rsplit(':').next().unwrap().to_owned()
}

/// What the prober answers, by word.
pub(crate) async fn probe(platform: &Platform, words: &[String]) -> BTreeMap<String, String> {
    let answer = platform.http.post(&platform.url("/function/prober"), words.join("\n")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let answers = text.lines().filter_map(|line| line.split_once(' '));
    answers.map(|(word, answer)| (word.to_owned(), answer.to_owned())).collect()
}

/// Whether an answer is what a cell of the table says.
fn fits(cell: &str, answer: &str) -> bool {
    match cell {
        "ok" => answer.starts_with("ok"),
        _ if cell.starts_with("not given") => true,
        errors => errors.split(' ').any(|error| error == answer),
    }
}

async fn attempts(level: &str, test: &str) {
    let state = State::default();
    let Some(platform) = levels::at(level, &state, test).await else { return };
    let mut site = site(&platform, level, &json!({})).await;
    let ssh = TcpListener::bind("127.0.0.1:0").unwrap();
    site.closed.push(ssh.local_addr().unwrap().port().to_string());
    let mut wrong = Vec::new();
    for row in TABLE {
        let cell = match (level, is_root()) {
            ("full", _) => row.full,
            ("userns", _) => row.userns,
            (_, true) => row.process_root,
            (_, false) => row.process,
        };
        let words = (row.words)(&site);
        let answers = probe(&platform, &words).await;
        for word in &words {
            let answer = answers.get(word).map_or("not answered", String::as_str);
            if !fits(cell, answer) {
                wrong.push(format!("{}: {word}: {answer}, and not {cell}", row.tries));
            }
        }
    }
    assert!(wrong.is_empty(), "at level {level}:\n{}", wrong.join("\n"));
    // What was tried has harmed nobody, and has left nothing.
    assert_eq!(fs::read_to_string(site.data()).unwrap(), "debts");
    assert!(!site.state.with_file_name("escaped").exists() && !site.image.join("written").exists());
    let victim = platform.http.post(&platform.url("/function/victim"), "status=Uid").await.unwrap();
    assert_eq!(victim.status, 200, "{}", victim.text());
    no_set_user_id(&platform, &site).await;
    no_datagram(&platform, &site).await;
    let (status, took) = platform.stop().await;
    assert!(status.success(), "at level {level}: {status} after {took:?}");
}

/// A set-user-id program of the image runs, as whoever started it.
async fn no_set_user_id(platform: &Platform, site: &Site) {
    let run = format!("run={}", site.inside("suid"));
    let answers = e2e::eventually("a program of the image is run", || async {
        let answers = probe(platform, &["status=Uid".to_owned(), run.clone()]).await;
        // Other tests' processes are this user's too, where it is an ordinary one.
        (answers[&run] != "EAGAIN").then_some(answers.clone()).ok_or(answers)
    })
    .await;
    let own = answers["status=Uid"].split(' ').nth(1).unwrap();
    assert!(answers[&run].ends_with(&format!("user {own} {own}")), "{answers:?}");
    assert_ne!(own, "0");
}

/// A datagram to a service of the box does not arrive.
async fn no_datagram(platform: &Platform, site: &Site) {
    let service = UdpSocket::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let word = format!("udp={}", service.local_addr().unwrap());
    let answers = probe(platform, std::slice::from_ref(&word)).await;
    let arrived = service.recv(&mut [0; 16]).is_ok();
    // Not given at level process before Linux 7.2: landlock knows no UDP.
    assert!(!arrived || !site.has_root, "{}", answers[&word]);
}

#[tokio::test]
async fn what_a_hostile_function_gets_at_level_full() {
    attempts("full", "what_a_hostile_function_gets").await;
}

#[tokio::test]
async fn what_a_hostile_function_gets_at_level_userns() {
    attempts("userns", "what_a_hostile_function_gets").await;
}

#[tokio::test]
async fn what_a_hostile_function_gets_at_level_process() {
    attempts("process", "what_a_hostile_function_gets").await;
}
