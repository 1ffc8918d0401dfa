//! Images go out and come in as archives that other tools understand; hostile ones stay out.

use crate::shop;
use e2e::binaries::binary;
use e2e::platform::State;
use e2e::system::program;
use e2e::{eventually, skipped};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};
use tar::{EntryType, Header};

const FRIDGE: &str = "ghcr.io/crema-faas/fridge-temp:0.1.0";

fn crema_image(state: &Path, arguments: &[&str]) -> Output {
    Command::new(binary("crema")).args(["image", "--state"]).arg(state).args(arguments).output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn skopeo(arguments: &[&str]) -> String {
    done(&Command::new(program("skopeo").unwrap()).arg("--insecure-policy").args(arguments).output().unwrap())
}

#[tokio::test]
async fn an_image_goes_out_through_skopeo_and_comes_back_under_another_name() {
    if program("skopeo").is_none() {
        let name = "an_image_goes_out_through_skopeo_and_comes_back_under_another_name";
        return skipped(name, "install skopeo");
    }
    let state = State::default();
    let platform = shop(&state).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // The platform runs, and uses the same store.
    done(&crema_image(platform.state(), &["export", "-o", &path("out.tar"), FRIDGE]));
    let source = format!("oci-archive:{}", path("out.tar"));
    let inspected: Value = serde_json::from_str(&skopeo(&["inspect", &source])).unwrap();
    let kept: Value = serde_json::from_str(&done(&crema_image(platform.state(), &["inspect", FRIDGE]))).unwrap();
    assert_eq!(inspected["Os"], "linux", "{inspected}");
    assert_eq!(inspected["Digest"], kept["digest"], "{inspected} {kept}");

    let back = format!("oci-archive:{}:elsewhere/thermometer:1", path("back.tar"));
    skopeo(&["copy", "-q", &source, &back]);
    let image = "ghcr.io/elsewhere/thermometer:2.0.0";
    done(&crema_image(platform.state(), &["import", &path("back.tar"), "--name", image]));
    let deployment = json!({"service": "thermometer", "image": image}).to_string();
    let answer = platform.system("POST", "/system/functions", &deployment).await;
    assert!(answer.status < 300, "{}", answer.text());
    eventually("it judges", || async {
        let answer = platform.http.post(&platform.url("/function/thermometer"), "99.5").await?;
        let judged = answer.status == 200 && answer.text().contains("Too hot");
        judged.then_some(()).ok_or_else(|| answer.text())
    })
    .await;
}

/// Adds an entry under a name that no well-behaved program would write.
fn entry(archive: &mut Vec<u8>, kind: EntryType, name: &str, bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    archive.extend(header.as_bytes());
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// An OCI archive whose one layer holds `bad`, or that holds it itself.
fn archive(bad: (EntryType, &str), in_the_layer: bool) -> Vec<u8> {
    let (mut whole, mut layer) = (Vec::new(), Vec::new());
    entry(&mut layer, EntryType::Regular, "function", b"\x7fELF");
    entry(if in_the_layer { &mut layer } else { &mut whole }, bad.0, bad.1, b"");
    layer.extend([0; 1024]);
    let mut blob = |bytes: &[u8]| {
        let hex = Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        entry(&mut whole, EntryType::Regular, &format!("blobs/sha256/{hex}"), bytes);
        json!({"digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let typed = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = json!(format!("application/vnd.oci.image.{kind}"));
        descriptor
    };
    let layer = typed(blob(&layer), "layer.v1.tar");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/function"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
    let config = typed(blob(config.to_string().as_bytes()), "config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let mut manifest = typed(blob(manifest.to_string().as_bytes()), "manifest.v1+json");
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "owner/evil:1"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
    entry(&mut whole, EntryType::Regular, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    entry(&mut whole, EntryType::Regular, "index.json", index.as_bytes());
    whole.extend([0; 1024]);
    whole
}

#[test]
fn an_archive_that_climbs_or_brings_devices_is_refused_by_name_and_nothing_of_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("evil.tar"));
    let import = |archive: &[u8]| {
        std::fs::write(&file, archive).unwrap();
        let output = crema_image(&state, &["import", file.to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let listed = || serde_json::from_str::<Value>(&done(&crema_image(&state, &["ls", "--json"]))).unwrap();
    for (kind, name) in [
        (EntryType::Regular, "../evil"),
        (EntryType::Regular, "a/../../../evil"),
        (EntryType::Block, "dev/sda"),
        (EntryType::Char, "dev/mem"),
        (EntryType::Fifo, "pipe"),
    ] {
        for in_the_layer in [false, true] {
            let (imported, said) = import(&archive((kind, name), in_the_layer));
            assert!(!imported && said.contains(name) && !said.contains("panicked"), "{name} {in_the_layer}: {said}");
        }
    }
    assert_eq!(listed(), json!([]));
    assert!(!folder.path().join("evil").exists() && !state.join("evil").exists());
    // The same archive with nothing bad in it is taken: it is the entry that was refused.
    let (imported, said) = import(&archive((EntryType::Regular, "good"), true));
    assert!(imported, "{said}");
    assert_eq!(listed().as_array().map(Vec::len), Some(1));
}
