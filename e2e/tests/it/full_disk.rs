//! The state directory's disk is full: what cannot be kept is refused, and when there is space again, all goes on.

use crate::shop_with;
use e2e::mosquitto::publish;
use e2e::platform::{Options, Platform, State};
use e2e::power_cut::Disk;
use e2e::system::program;
use e2e::{eventually, skipped};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const DISK_BYTES: u64 = 1 << 30;
/// A body that does not fit into what others leave by chance.
const BODY_BYTES: usize = 64 * 1024;
/// So many refusals in a row: the disk is full.
const REFUSALS: usize = 10;

/// Receives callbacks: the heads of all requests.
async fn receiver() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
                    request.extend_from_slice(&buffer[..read]);
                }
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&request));
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap_or_default();
                // What is left of the body is read, so that closing is no reset.
                while let Ok(1..) = stream.read(&mut buffer).await {}
            });
        }
    });
    (url, received)
}

/// Takes all the space there is; returns the files that hold it.
fn fill(disk: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut bytes = DISK_BYTES;
    while bytes >= 4096 {
        let path = disk.join(format!("filler-{}", files.len()));
        let whole = File::create(&path).map(|file| fallocate(file, FallocateFlags::empty(), 0, bytes).is_ok());
        if !whole.unwrap_or(false) {
            bytes /= 2;
        }
        files.push(path);
    }
    files
}

/// Makes one asynchronous call: its id when it was taken. Anything but 202 and 503 is wrong.
async fn call(platform: &Platform, callback: &str, body: String) -> Option<String> {
    let url = platform.url("/async-function/fridge-temp");
    let answer = platform.http.send("POST", &url, &[("X-Callback-Url", callback)], body).await.unwrap();
    match answer.status {
        202 => Some(answer.header("x-call-id").unwrap().to_owned()),
        503 => None,
        status => panic!("{status} {}", answer.text()),
    }
}

async fn a_full_disk_is_said_and_got_over(test: &str, engine: &str) {
    if program("mosquitto_pub").is_none() {
        return skipped(test, "install mosquitto-clients");
    }
    let disk = match Disk::new(DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(test, &why),
    };
    let (callback, received) = receiver().await;
    let state = State::below(&disk.path());
    let platform = shop_with(&state, Options::default().with(&["--queue", engine])).await;
    let port = platform.mqtt_port().parse().unwrap();
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(call(&platform, &callback, "38.2".to_owned()).await.expect("there is space"));
    }
    assert!(publish(port, "before/fridge/temp", "99.5"));

    let fillers = fill(&disk.path());
    let large = "9".repeat(BODY_BYTES);
    let mut refusals = 0;
    while refusals < REFUSALS {
        assert!(taken.len() < 10_000, "the disk takes more than it has");
        // What was under way makes room as it ends: what is taken meanwhile counts.
        match call(&platform, &callback, large.clone()).await {
            Some(id) => {
                taken.push(id);
                refusals = 0;
            }
            None => refusals += 1,
        }
    }
    assert!(!publish(port, "full/fridge/temp", &large), "acknowledged, and there is nowhere to keep it");
    assert_eq!(call(&platform, &callback, large.clone()).await, None);
    // What needs no disk works.
    let answer = platform.http.post(&platform.url("/function/fridge-temp"), "38.2").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    for filler in fillers {
        std::fs::remove_file(filler).unwrap();
    }
    let id = eventually("calls are taken again", || async {
        call(&platform, &callback, "38.2".to_owned()).await.ok_or("refused")
    });
    taken.push(id.await);
    eventually("events are acknowledged again", || async {
        publish(port, "after/fridge/temp", "99.5").then_some(()).ok_or("no")
    })
    .await;
    platform.logged("fridge-temp", "after/fridge/temp").await;
    for id in taken {
        eventually(&format!("call {id} is called back"), || async {
            received.lock().unwrap().contains(&id).then_some(()).ok_or("not yet")
        })
        .await;
    }
    let (status, _) = platform.stop().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_sqlite_queue_a_full_disk_is_said_and_got_over() {
    a_full_disk_is_said_and_got_over("with_the_sqlite_queue_a_full_disk_is_said_and_got_over", "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_sled_queue_a_full_disk_is_said_and_got_over() {
    a_full_disk_is_said_and_got_over("with_the_sled_queue_a_full_disk_is_said_and_got_over", "sled").await;
}
