//! Images ahead of time and no longer than needed; data directories that are too large.

use crate::bench::{Bench, IMAGE, OTHER_IMAGE, behaving, call, deployment, image_with, images};
use crate::function::eventually;
use image::Store;
use provider::{Provider, ProviderError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wire::function::FunctionDeployment;
use wire::{FunctionName, annotation, label};

const NEVER: Duration = Duration::from_secs(365 * 86_400);

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

fn unpacked(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("images/unpacked")).unwrap().count()
}

/// A function that starts at zero.
fn at_zero(name: &str) -> FunctionDeployment {
    let labels = [(label::SCALE_ZERO.to_owned(), "true".to_owned())].into();
    FunctionDeployment { labels, ..deployment(name) }
}

#[tokio::test]
async fn an_image_is_unpacked_when_it_is_deployed_and_when_the_platform_starts() {
    let bench = Bench::new();
    bench.provider.deploy(at_zero("early")).await.unwrap();
    assert_eq!(unpacked(bench.dir.path()), 1, "before any replica needs it");
    bench.provider.scale(&name("early"), 0).await.unwrap();
    let dir = bench.stop().await;
    std::fs::remove_dir_all(dir.path().join("images/unpacked")).unwrap();
    let bench = Bench::at(dir, |_| {});
    eventually("it is unpacked again", || unpacked(bench.dir.path()) == 1).await;
    bench.stop().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_unpacked_is_refused_when_it_is_deployed() {
    let bench = Bench::new();
    bench.deployed(deployment("whole")).await;
    for entry in std::fs::read_dir(bench.dir.path().join("images/blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(path, bytes).unwrap();
        }
    }
    let damaged = FunctionDeployment { image: OTHER_IMAGE.to_owned(), ..deployment("whole") };
    let pid = bench.pid(&name("whole")).await;
    let error = bench.provider.update(damaged).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Invalid(text) if text.contains("layer 1 of")), "{error}");
    assert_eq!(bench.pid(&name("whole")).await, pid);
    bench.stop().await;
}

#[tokio::test]
async fn what_no_function_uses_goes_and_what_one_would_go_back_to_stays() {
    let dir = Arc::new(tempfile::Builder::new().prefix("pl").tempdir().unwrap());
    images(dir.path());
    let store = Store::open(dir.path().join("images")).unwrap();
    let bench = Bench::at(dir, |_| {});
    bench.deployed(deployment("keeper")).await;
    // The tag moves on, as it does when something is built again; the new one fails.
    image_with(&store, IMAGE, "bad", true);
    bench.provider.update(behaving("keeper", "crash")).await.unwrap();
    bench.logged(&name("keeper"), "is taken back").await;
    // Used once, and by nobody now.
    bench.deployed(FunctionDeployment { image: OTHER_IMAGE.to_owned(), ..deployment("short") }).await;
    bench.provider.delete(&name("short"), true).await.unwrap();
    image_with(&store, "test/imported:1", "imported", true);
    let dir = bench.stop().await;

    let bench = Bench::at(dir, |config| {
        (config.images.age, config.images.at_least, config.images.bytes) = (Duration::ZERO, NEVER, u64::MAX);
        // A process that another test starts has our locks for a moment.
        config.images.interval = Duration::from_millis(20);
    });
    let has = |image: &str| store.find(&image.parse().unwrap()).unwrap().is_some();
    eventually("what is used no more is gone", || !has(OTHER_IMAGE)).await;
    assert!(has("test/imported:1") && has(IMAGE));
    let socket = bench.ready(&name("keeper"), 1).await;
    assert!(
        call(&socket, "/env").await.contains("VERSION=1"),
        "the image it went back to is there, though its tag moved"
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_data_directory_that_is_too_large_is_said_so() {
    let bench = Bench::with(|config| config.measure_interval = Duration::from_millis(20));
    let mut wanted = deployment("hoarder");
    wanted.annotations.insert(annotation::DATA_PATH.to_owned(), "/data".to_owned());
    wanted.annotations.insert(annotation::DATA_SIZE.to_owned(), "64Ki".to_owned());
    bench.deployed(wanted).await;
    let status = async || bench.provider.status(&name("hoarder"), false).await.unwrap().annotations;
    assert_eq!(status().await.get(annotation::STATUS), None);
    let file = bench.dir.path().join("data/openfaas-fn/hoarder/file");
    std::fs::write(&file, vec![1; 1 << 20]).unwrap();
    bench.logged(&name("hoarder"), "its data directory holds 1.").await;
    assert!(status().await[annotation::STATUS].contains("more than the 0.1 MiB of com.crema.data.size"));
    std::fs::remove_file(file).unwrap();
    for _ in 0..1000 {
        if !status().await.contains_key(annotation::STATUS) {
            return drop(bench.stop().await);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still said to be too large");
}
