use super::*;
use crate::within::{other, python, run, skip};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rules under which a Python program runs at all.
fn for_python(python: &str) -> Rules {
    let own = Path::new(python).ancestors().nth(2).map(Path::to_owned);
    let system = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from);
    Rules {
        executable: system.into_iter().chain(own).collect(),
        readable: vec!["/etc/ld.so.cache".into()],
        writable: vec!["/dev/null".into()],
        ports: Some(Ports::default()),
    }
}

/// Runs lines of Python under the rules; each line must print its own outcome. Those of `try_(what)` are `ok` or the
/// name of the error.
fn outcomes(python: &str, rules: Rules, lines: &[String]) -> Vec<String> {
    let script = "import ctypes, errno, os, socket, subprocess\n\
         def try_(what):\n \
         try: what(); print('ok', flush=True)\n \
         except OSError as error: print(errno.errorcode[error.errno], flush=True)\n"
        .to_owned()
        + &lines.join("\n");
    let output = run(Command::new(python).args(["-I", "-S", "-c", &script]).current_dir("/"), move || {
        landlock(&rules).map(drop).map_err(other)
    });
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A line that tries one expression.
fn attempt(expression: &str) -> String {
    format!("try_(lambda: {expression})")
}

fn missing(test: &str, what: &str, there: bool) -> bool {
    if !there {
        skip(test, &format!("this kernel's landlock has no rules for {what}"));
    }
    !there
}

#[test]
fn files_outside_the_rules_are_out_of_reach() {
    const TEST: &str = "files_outside_the_rules_are_out_of_reach";
    let Some(python) = python(TEST) else { return };
    if missing(TEST, "files", available().truncate) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["program", "readable", "writable", "outside"] {
        std::fs::create_dir(path(name)).unwrap();
        std::fs::write(path(&format!("{name}/file")), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path(&format!("{name}/file")), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut rules = for_python(&python);
    rules.executable.push(path("program").into());
    rules.readable.extend([path("readable").into(), path("not there").into()]);
    rules.writable.push(path("writable").into());
    let cases = [
        (format!("open('{}')", path("readable/file")), "ok"),
        (format!("os.listdir('{}')", path("readable")), "ok"),
        (format!("open('{}', 'a')", path("readable/file")), "EACCES"),
        (format!("os.truncate('{}', 0)", path("readable/file")), "EACCES"),
        (format!("os.mkdir('{}')", path("readable/new")), "EACCES"),
        (format!("subprocess.run(['{}'], check=True)", path("readable/file")), "EACCES"),
        (format!("subprocess.run(['{}'], check=True)", path("program/file")), "ok"),
        (format!("open('{}', 'a')", path("program/file")), "EACCES"),
        (format!("open('{}', 'w')", path("writable/file")), "ok"),
        (format!("os.mkdir('{}')", path("writable/new")), "ok"),
        (format!("os.rename('{}', '{}')", path("writable/file"), path("writable/new/file")), "ok"),
        (format!("subprocess.run(['{}'], check=True)", path("writable/new/file")), "EACCES"),
        (format!("open('{}')", path("outside/file")), "EACCES"),
        (format!("os.listdir('{}')", path("outside")), "EACCES"),
        (format!("os.unlink('{}')", path("outside/file")), "EACCES"),
        (format!("os.link('{}', '{}')", path("readable/file"), path("writable/link")), "EXDEV"),
        ("open('/etc/passwd')".to_owned(), "EACCES"),
        ("os.listdir('/')".to_owned(), "EACCES"),
        ("open('/proc/self/environ')".to_owned(), "EACCES"),
        ("open(f'/proc/{os.getppid()}/status')".to_owned(), "EACCES"),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| attempt(line)).collect();
    let outcomes = outcomes(&python, rules, &lines);
    for ((line, expected), outcome) in cases.iter().zip(&outcomes) {
        assert!(outcome == expected, "{line}: {outcome}, expected {expected}");
    }
    assert_eq!(outcomes.len(), cases.len());
    // The files were within the user's rights: it is landlock that kept them.
    std::fs::remove_file(path("outside/file")).unwrap();
}

#[test]
fn tcp_ports_outside_the_rules_are_out_of_reach() {
    const TEST: &str = "tcp_ports_outside_the_rules_are_out_of_reach";
    let Some(python) = python(TEST) else { return };
    if missing(TEST, "TCP", available().tcp) {
        return;
    }
    let [gateway, broker] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [gateway_port, broker_port] = [&gateway, &broker].map(|listener| listener.local_addr().unwrap().port());
    let mut rules = for_python(&python);
    let lines = [
        attempt(&format!("socket.create_connection(('127.0.0.1', {gateway_port}))")),
        attempt(&format!("socket.create_connection(('127.0.0.1', {broker_port}))")),
        attempt("socket.create_server(('127.0.0.1', 0))"),
    ];
    rules.ports = Some(Ports { connect: vec![gateway_port], bind: Vec::new() });
    assert_eq!(outcomes(&python, rules.clone(), &lines), ["ok", "EACCES", "EACCES"]);
    rules.ports = Some(Ports { connect: Vec::new(), bind: vec![0] });
    assert_eq!(outcomes(&python, rules.clone(), &lines), ["EACCES", "EACCES", "ok"]);
    rules.ports = None;
    assert_eq!(outcomes(&python, rules, &lines), ["ok", "ok", "ok"]);
}

#[test]
fn processes_outside_are_not_signalled_and_their_abstract_sockets_not_reached() {
    const TEST: &str = "processes_outside_are_not_signalled_and_their_abstract_sockets_not_reached";
    let Some(python) = python(TEST) else { return };
    if missing(TEST, "signals", available().signals) {
        return;
    }
    let name = format!("crema-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let lines = [
        attempt("os.kill(os.getppid(), 0)"),
        attempt("os.kill(os.getpid(), 0)"),
        attempt(&format!("socket.socket(socket.AF_UNIX).connect('\\0{name}')")),
    ];
    assert_eq!(outcomes(&python, for_python(&python), &lines), ["EPERM", "ok", "EPERM"]);
}

#[test]
fn what_is_enforced_is_what_is_available() {
    let rules = Rules { ports: Some(Ports::default()), ..Rules::default() };
    let before = available();
    let enforced = std::thread::spawn(move || landlock(&rules).unwrap()).join().unwrap();
    assert_eq!(enforced, before);
    let enforced = std::thread::spawn(|| landlock(&Rules::default()).unwrap()).join().unwrap();
    assert_eq!(enforced, Enforced { tcp: false, udp: false, ..before });
}

#[test]
fn limits_are_lowered_for_good() {
    let limits = Limits {
        open_files: Some(64),
        processes: Some(u64::MAX - 1),
        data_bytes: Some(64 << 20),
        address_space_bytes: Some(1 << 30),
        file_bytes: Some(4096),
    };
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Hc; ulimit -Hd; ulimit -Hv; ulimit -Hf; ulimit -n 65 || echo kept";
    let output = run(Command::new("bash").args(["-c", script]), move || rlimits(&limits).map_err(other));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed: Vec<_> = printed.lines().collect();
    // Root with its rights may raise them again; a function has not got them.
    assert_eq!(printed[..6], ["64", "64", "0", "65536", "1048576", "4"], "{output:?}");
    if !rustix::process::geteuid().is_root() {
        assert_eq!(printed[6..], ["kept"]);
    }
}

#[test]
fn memory_past_the_limit_is_not_given() {
    let Some(python) = python("memory_past_the_limit_is_not_given") else { return };
    for (bytes, given) in [(32_u64 << 20, false), (512 << 20, true)] {
        let limits = Limits { data_bytes: Some(bytes), ..Limits::default() };
        let mut command = Command::new(&python);
        let output = run(command.args(["-c", "bytearray(64 << 20)"]), move || rlimits(&limits).map_err(other));
        assert_eq!(output.status.success(), given, "{output:?}");
    }
}
