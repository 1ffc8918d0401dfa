//! Cuts the power of a disk while a child writes to it.

use crate::store::{Kind, body};
use daemon::{Env, ProcessEnv};
use e2e::power_cut::Disk;
use e2e::skipped;
use queue::sqlite::Durability;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "POWER_CUT_DIRECTORY";
const KIND: &str = "POWER_CUT_KIND";
const SIZE: &str = "POWER_CUT_SIZE";
const SYNCS: &str = "POWER_CUT_SYNCS";

const DISK_BYTES: u64 = 4 << 30;
const PRODUCERS: usize = 8;
/// Acknowledged before the power is cut.
const ENOUGH: usize = 200;
const SIZES: [usize; 6] = [512, 8 << 10, 16 << 10, 64 << 10, 150 << 10, 1 << 20];

/// Not a test of its own: what the others start, and whose disk they cut off.
#[test]
#[ignore = "the child of the tests that cut its power"]
fn the_child_that_writes() {
    let variable = |name| ProcessEnv.get(name).expect("the parent says it");
    let durability = if variable(SYNCS) == "true" { Durability::Full } else { Durability::None };
    let store = Kind::named(&variable(KIND)).open(Path::new(&variable(DIRECTORY)), durability).unwrap();
    let body = body(variable(SIZE).parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut producers = tokio::task::JoinSet::new();
        for producer in 0..PRODUCERS {
            let (store, body) = (store.clone(), body.clone());
            producers.spawn(async move {
                for count in 0.. {
                    let id = format!("{producer}/{count}");
                    // An error is what a cut disk gives; the parent kills us.
                    if store.keep(id.clone(), body.clone()).await.is_err() {
                        return std::future::pending().await;
                    }
                    std::io::stdout().lock().write_all(format!("acknowledged {id}\n").as_bytes()).unwrap();
                }
            });
        }
        producers.join_all().await;
    });
}

/// Writes bodies of a size and cuts the power meanwhile. Returns what was acknowledged before: a sync that the kernel's
/// shutdown overtakes may be told that it went well, which no power cut does.
fn write_and_cut(disk: &Disk, kind: Kind, size: usize, durability: Durability) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["cut::the_child_that_writes", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, disk.path())
        .env(KIND, format!("{kind:?}"))
        .env(SIZE, size.to_string())
        .env(SYNCS, (durability == Durability::Full).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    // The harness prints before it, on the same line.
    let ids = output.lines().map_while(Result::ok);
    let mut ids = ids.filter_map(|line| line.split_once("acknowledged ").map(|(_, id)| id.to_owned()));
    // It goes on writing while the power is cut.
    let acknowledged: Vec<String> = ids.by_ref().take(ENOUGH).collect();
    if acknowledged.len() == ENOUGH {
        disk.cut();
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert_eq!(acknowledged.len(), ENOUGH, "{kind:?}, {size} bytes: the child ended by itself: {status}");
    acknowledged
}

/// How many acknowledged bodies are not there when power is back, or why nothing can be read.
async fn lost(disk: &Disk, kind: Kind, size: usize, acknowledged: &[String]) -> Result<usize, String> {
    disk.restart()?;
    let store = kind.open(&disk.path(), Durability::Full)?;
    let kept = store.kept(size).await;
    // And it still works.
    let works = store.keep("afterwards".to_owned(), body(size)).await;
    store.close().await;
    works?;
    let kept = kept?;
    Ok(acknowledged.iter().filter(|id| !kept.contains(*id)).count())
}

async fn nothing_is_lost(test: &str, kind: Kind) {
    for size in SIZES {
        let disk = match Disk::new(DISK_BYTES) {
            Ok(disk) => disk,
            Err(why) => return skipped(test, &why),
        };
        let acknowledged = write_and_cut(&disk, kind, size, Durability::Full);
        let lost = lost(&disk, kind, size, &acknowledged).await;
        assert_eq!(lost, Ok(0), "{kind:?}, {size} bytes, of {}", acknowledged.len());
    }
}

/// Shows that the test above would notice a sync that is left out.
async fn something_is_lost(test: &str, kind: Kind) {
    let disk = match Disk::new(DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(test, &why),
    };
    let acknowledged = write_and_cut(&disk, kind, SIZES[0], Durability::None);
    // A store that does not open any more has lost something, too; sled panics then.
    let lost = tokio::spawn(async move { lost(&disk, kind, SIZES[0], &acknowledged).await }).await;
    assert!(!matches!(lost, Ok(Ok(0))), "{kind:?} without syncs lost nothing; the test above shows nothing");
}

#[tokio::test]
async fn the_sqlite_queue_survives_a_power_cut() {
    nothing_is_lost("the_sqlite_queue_survives_a_power_cut", Kind::SqliteQueue).await;
}

#[tokio::test]
async fn the_sled_queue_survives_a_power_cut() {
    nothing_is_lost("the_sled_queue_survives_a_power_cut", Kind::SledQueue).await;
}

#[tokio::test]
async fn functions_data_survives_a_power_cut() {
    nothing_is_lost("functions_data_survives_a_power_cut", Kind::FunctionData).await;
}

#[tokio::test]
async fn without_syncs_the_sqlite_queue_loses_something() {
    something_is_lost("without_syncs_the_sqlite_queue_loses_something", Kind::SqliteQueue).await;
}

#[tokio::test]
async fn without_syncs_the_sled_queue_loses_something() {
    something_is_lost("without_syncs_the_sled_queue_loses_something", Kind::SledQueue).await;
}

#[tokio::test]
async fn without_syncs_functions_data_loses_something() {
    something_is_lost("without_syncs_functions_data_loses_something", Kind::FunctionData).await;
}
