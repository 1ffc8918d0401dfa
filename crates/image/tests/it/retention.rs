//! What is kept of images that nobody needs any more.

use crate::support::{eventually, hello_saying, reference, store};
use image::{Image, Removed, Retention, Store};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn day(number: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + DAY * number
}

fn retention(in_use: &[&Image], now: SystemTime) -> Retention {
    let in_use = in_use.iter().map(|image| image.digest.clone()).collect();
    Retention { in_use, now, age: WEEK, bytes: u64::MAX, at_least: Duration::from_secs(3600) }
}

fn used(store: &Store, name: &str, at: SystemTime) -> Image {
    let image = hello_saying(store, name, name);
    store.unpack(&image).unwrap();
    store.mark_used(&image.digest, at).unwrap();
    image
}

fn has(store: &Store, name: &str) -> bool {
    store.find(&reference(name)).unwrap().is_some()
}

#[test]
fn what_was_used_long_ago_goes_and_what_is_in_use_or_was_never_used_stays() {
    let (_directory, store) = store();
    let (old, running) = (used(&store, "owner/old:1", day(0)), used(&store, "owner/running:1", day(0)));
    used(&store, "owner/recent:1", day(5));
    hello_saying(&store, "owner/imported:1", "imported");
    assert_eq!(store.retain(&retention(&[&running], day(6))).unwrap(), Removed::default());
    let removed = store.retain(&retention(&[&running], day(7))).unwrap();
    assert_eq!((removed.blobs, removed.unpacked), (3, 1));
    assert!(!has(&store, "owner/old:1") && store.unpack(&old).is_err());
    for kept in ["owner/running:1", "owner/recent:1", "owner/imported:1"] {
        store.unpack(&store.get(&reference(kept)).unwrap()).unwrap();
    }
    // In use until day 7, so it goes on day 14.
    store.retain(&retention(&[], day(13))).unwrap();
    assert!(has(&store, "owner/running:1") && !has(&store, "owner/recent:1"));
    store.retain(&retention(&[], day(14))).unwrap();
    assert!(!has(&store, "owner/running:1") && has(&store, "owner/imported:1"));
    assert_eq!(std::fs::read_dir(store.directory().join("used")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.directory().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_does_not_fit_goes_in_the_order_of_its_last_use() {
    let (_directory, store) = store();
    for (name, at) in [("owner/b:1", 1), ("owner/a:1", 2), ("owner/c:1", 0)] {
        used(&store, name, day(at));
    }
    let just_now = used(&store, "owner/now:1", day(3));
    let all = Retention { bytes: 0, ..retention(&[], day(3)) };
    let size = store.retain(&Retention { bytes: u64::MAX, ..all.clone() }).map(|_| of(&store)).unwrap();
    // One image too many.
    store.retain(&Retention { bytes: size - 1, ..all.clone() }).unwrap();
    assert!(!has(&store, "owner/c:1") && has(&store, "owner/a:1") && has(&store, "owner/b:1"));
    store.retain(&all).unwrap();
    assert!(!has(&store, "owner/a:1") && !has(&store, "owner/b:1"));
    store.unpack(&just_now).unwrap();
}

/// What the images of a store take together.
fn of(store: &Store) -> u64 {
    let file = |path: &std::path::Path| path.metadata().unwrap().len();
    let blobs =
        std::fs::read_dir(store.directory().join("blobs/sha256")).unwrap().map(|entry| file(&entry.unwrap().path()));
    let unpacked = std::fs::read_dir(store.directory().join("unpacked")).unwrap();
    let unpacked = unpacked
        .map(|entry| std::fs::read_to_string(entry.unwrap().path().join("size")).unwrap().parse::<u64>().unwrap());
    blobs.chain(unpacked).sum()
}

#[test]
fn what_another_process_runs_stays() {
    let (directory, store) = store();
    let image = used(&store, "owner/shared:1", day(0));
    let other = Store::open(directory.path().join("images")).unwrap();
    let root = other.unpack(&image).unwrap();
    assert_eq!(store.retain(&retention(&[], day(30))).unwrap(), Removed::default());
    assert!(root.join("function").exists() && has(&store, "owner/shared:1"));
    drop(other);
    eventually(|| store.retain(&retention(&[], day(30))).unwrap().unpacked == 1);
}

#[test]
fn what_lost_its_name_goes_a_week_after_it_was_last_seen_in_use() {
    let (_directory, store) = store();
    let old = hello_saying(&store, "owner/hello:1", "old");
    hello_saying(&store, "owner/hello:1", "new");
    let pinned = reference(&format!("owner/hello@{}", old.digest));
    for number in 0..9 {
        store.retain(&retention(&[&old], day(number))).unwrap();
    }
    assert!(store.find(&pinned).unwrap().is_some());
    store.retain(&retention(&[], day(15))).unwrap();
    assert!(store.find(&pinned).unwrap().is_none());
    assert!(has(&store, "owner/hello:1"));
}

#[test]
fn a_clock_that_goes_back_removes_nothing() {
    let (_directory, store) = store();
    used(&store, "owner/future:1", day(100));
    let all = Retention { bytes: 0, ..retention(&[], day(0)) };
    assert_eq!(store.retain(&all).unwrap(), Removed::default());
}

#[test]
fn remains_of_a_removal_that_was_killed_are_no_image() {
    let (_directory, store) = store();
    let image = hello_saying(&store, "owner/hello:1", "hello");
    let root = store.unpack(&image).unwrap();
    // What a version without sizes, or a kill in the midst, leaves: half a tree.
    std::fs::remove_file(root.parent().unwrap().join("size")).unwrap();
    std::fs::remove_file(root.join("function")).unwrap();
    let directory = store.directory().to_owned();
    drop(store);
    let store = Store::open(directory).unwrap();
    assert!(store.unpack(&image).unwrap().join("function").exists());
}
