//! Ended before every single step, as by a power cut, and done again.

use super::*;
use crate::create::Source;
use crate::root::DATA_DIR;
use tempfile::TempDir;

struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn data(&self, path: &str) -> PathBuf {
        self.path("root").join(DATA_DIR).join(path)
    }

    fn root(&self) -> Root {
        Root::open(&self.path("root"), Path::new(DATA_DIR)).unwrap()
    }

    fn installer(&self) -> Installer {
        Installer::new(self.root())
    }

    /// A bundle of that version with these manifests, each of which says the version.
    fn bundle(&self, version: &str, manifests: &[&str]) -> PathBuf {
        let folder = self.path(&format!("in-{version}"));
        fs::create_dir_all(&folder).unwrap();
        for name in manifests {
            let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{v: \"{version}\"}}\n");
            fs::write(folder.join(name), text).unwrap();
        }
        let image = self.path(&format!("10-crema-{version}.tar"));
        let mut archive = tar::Builder::new(fs::File::create(&image).unwrap());
        let index = format!("{{\"manifests\":[], \"version\":\"{version}\"}}");
        let mut header = tar::Header::new_gnu();
        header.set_size(index.len() as u64);
        archive.append_data(&mut header, "index.json", index.as_bytes()).unwrap();
        archive.finish().unwrap();
        let output = self.path(&format!("{version}.tar"));
        let source = Source {
            version: Some(version.to_owned()),
            manifests: vec![folder],
            archives: vec![image],
            ..Source::default()
        };
        source.write(&output).unwrap();
        output
    }

    /// What K3s sees: the files of its folders with what is in them.
    fn seen(&self) -> Vec<(String, Vec<u8>)> {
        let mut seen = Vec::new();
        for kind in Kind::ALL {
            let Ok(entries) = fs::read_dir(self.root().folder(kind)) else { continue };
            for entry in entries.map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if kind.takes(&name) && !name.starts_with('.') {
                    seen.push((name, fs::read(entry.path()).unwrap()));
                }
            }
        }
        seen.sort();
        seen
    }

    fn installed(&self, bundle: &Path) -> Vec<(String, Vec<u8>)> {
        self.installer().install(bundle, &Options::default()).unwrap();
        self.seen()
    }
}

#[test]
fn whatever_step_it_is_cut_off_at_the_files_are_whole_and_the_same_call_finishes() {
    let model = Store::new();
    let old = model.installed(&model.bundle("1", &["a.yaml", "gone.yaml"]));
    let new = model.installed(&model.bundle("2", &["a.yaml", "more.yaml"]));
    assert_eq!(
        new.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["10-crema-2.tar", "crema-50-a.yaml", "crema-50-more.yaml"]
    );
    for last in 0.. {
        let store = Store::new();
        store.installed(&store.bundle("1", &["a.yaml", "gone.yaml"]));
        let bundle = store.bundle("2", &["a.yaml", "more.yaml"]);
        let cut_off = Installer::ending_at(store.root(), last);
        let ended = cut_off.install(&bundle, &Options::default());
        for file in store.seen() {
            assert!(old.contains(&file) || new.contains(&file), "step {last}: {} is neither old nor new", file.0);
        }
        let seen = store.seen();
        let has = |name: &str| seen.iter().any(|(there, _)| there == name);
        assert!(has("10-crema-2.tar") || !has("crema-50-more.yaml"), "step {last}: a manifest came before its image");
        if last % 2 == 0 {
            // The other way out: what was in place is put back, or stays.
            let back = store.installer().rollback(false);
            assert!(ended.is_err() || back.is_ok(), "step {last}");
            if ended.is_err() && back.is_ok() {
                assert_eq!(store.seen(), old, "step {last}");
            }
        }
        let report = store.installer().install(&bundle, &Options::default()).unwrap();
        assert_eq!((report.before.as_deref(), store.seen() == new), (Some("1"), true), "step {last}");
        assert!(!store.installer().install(&bundle, &Options::default()).unwrap().changed());
        assert_eq!(store.installer().status().unwrap().unfinished, None);
        let left = fs::read_dir(store.data("crema-bundle/releases")).unwrap().count();
        assert_eq!((left, store.data("crema-bundle/incoming").exists()), (2, false), "step {last}");
        if ended.is_ok() {
            assert!(last > 15 && cut_off.steps() == last, "{last} steps");
            return;
        }
    }
}

#[test]
fn a_version_that_was_cut_off_leaves_nothing_when_another_one_is_installed() {
    for last in 0.. {
        let store = Store::new();
        let bundles = [store.bundle("1", &["a.yaml"]), store.bundle("2", &["b.yaml"]), store.bundle("3", &["c.yaml"])];
        store.installed(&bundles[0]);
        let ended = Installer::ending_at(store.root(), last).install(&bundles[1], &Options::default());
        if ended.is_ok() {
            return;
        }
        // And that one is cut off too.
        Installer::ending_at(store.root(), last).install(&bundles[2], &Options::default()).unwrap_err();
        let seen = store.installed(&bundles[2]);
        let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["10-crema-3.tar", "crema-50-c.yaml"], "step {last}");
    }
}

#[test]
fn a_rollback_puts_back_every_byte_and_can_be_taken_back_itself() {
    let store = Store::new();
    let old = store.installed(&store.bundle("1", &["a.yaml", "gone.yaml"]));
    let new = store.installed(&store.bundle("2", &["a.yaml"]));
    let report = store.installer().rollback(false).unwrap();
    assert_eq!((report.version.as_str(), report.before.as_deref()), ("1", Some("2")));
    assert_eq!(store.seen(), old);
    store.installer().rollback(false).unwrap();
    assert_eq!(store.seen(), new);
    // Cut off anywhere, it can be done again.
    for last in 0.. {
        let ended = Installer::ending_at(store.root(), last).rollback(false);
        if ended.is_ok() {
            break;
        }
        store.installer().install(&store.bundle("2", &["a.yaml"]), &Options::default()).unwrap();
        assert_eq!(store.seen(), new, "step {last}");
    }
    assert_eq!(store.seen(), old);
}

#[test]
fn what_somebody_changed_or_put_there_is_said() {
    let store = Store::new();
    let bundle = store.bundle("1", &["a.yaml"]);
    let place = store.data("server/manifests/crema-50-a.yaml");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "mine").unwrap();
    let error = store.installer().install(&bundle, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("server/manifests/crema-50-a.yaml") && error.contains("--replace"), "{error}");
    assert_eq!(fs::read(&place).unwrap(), b"mine");
    assert!(!store.data("crema-bundle/releases").exists());
    store.installer().install(&bundle, &Options { replace: true, ..Options::default() }).unwrap();

    fs::write(&place, "edited").unwrap();
    fs::write(store.data("server/manifests/crema-50-a.yaml.skip"), "").unwrap();
    assert_eq!(store.installer().status().unwrap().differing, ["server/manifests/crema-50-a.yaml"]);
    let report = store.installer().install(&bundle, &Options::default()).unwrap();
    let action = report.actions.iter().find(|action| action.act == Act::Replace).unwrap();
    assert!(action.changed_by_hand && action.skipped);
    assert_ne!(fs::read(&place).unwrap(), b"edited");
}

#[test]
fn a_damaged_version_on_the_disk_is_not_put_back_and_is_brought_anew() {
    let store = Store::new();
    let bundle = store.bundle("1", &["a.yaml"]);
    store.installed(&bundle);
    let new = store.installed(&store.bundle("2", &["a.yaml"]));
    let releases: Vec<_> =
        fs::read_dir(store.data("crema-bundle/releases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let old = releases.iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("1-")).unwrap();
    fs::write(old.join("images/10-crema-1.tar"), "rot").unwrap();
    let error = store.installer().rollback(false).unwrap_err().to_string();
    assert!(error.contains("is damaged on the disk"), "{error}");
    assert_eq!(store.seen(), new);
    store.installed(&bundle);
    assert_eq!(
        fs::read(store.data("agent/images/10-crema-1.tar")).unwrap(),
        fs::read(store.path("10-crema-1.tar")).unwrap()
    );
}

#[test]
fn a_store_makes_its_secrets_once_and_keeps_them() {
    use crate::metadata::{Metadata, SecretToMake};
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "basic-auth", "namespace": "openfaas"},
        "data": {"basic-auth-user": "YWRtaW4="},
    });
    let secret = SecretToMake { object, make: [("basic-auth-password".to_owned(), 32)].into() };
    let metadata = Metadata { secrets: vec![secret], ..Metadata::default() };
    let store = Store::new();
    store.root().make_folders(&Steps::default()).unwrap();
    let make = || {
        let mut secrets = Secrets::read(&store.root()).unwrap();
        let made = secrets.manifest(&metadata).unwrap().unwrap();
        secrets.write(&store.root(), &Steps::default()).unwrap();
        String::from_utf8(made.1).unwrap()
    };
    let first = make();
    assert_eq!(make(), first);
    let documents = crate::manifest::documents(&first).unwrap();
    assert_eq!(documents[0].object["data"]["basic-auth-user"], "YWRtaW4=");
    assert_eq!(documents[0].object["data"]["basic-auth-password"].as_str().unwrap().len(), 44);
    let other = Store::new();
    other.root().make_folders(&Steps::default()).unwrap();
    let elsewhere = Secrets::read(&other.root()).unwrap().manifest(&metadata).unwrap().unwrap();
    assert_ne!(String::from_utf8(elsewhere.1).unwrap(), first);
}

#[test]
fn nothing_leaves_the_root() {
    let store = Store::new();
    let outside = store.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir_all(store.data("agent")).unwrap();
    std::os::unix::fs::symlink(&outside, store.data("agent/images")).unwrap();
    let error = Root::open(&store.path("root"), Path::new(DATA_DIR)).unwrap_err().to_string();
    assert!(error.contains("out of"), "{error}");
    for data in ["../x", "var/../../x", ""] {
        assert!(Root::open(&store.path("root"), Path::new(data)).is_err(), "{data:?}");
    }
    // A link inside the root is how a disk of its own is often used.
    fs::remove_file(store.data("agent/images")).unwrap();
    fs::create_dir(store.path("root/ssd")).unwrap();
    std::os::unix::fs::symlink(store.path("root/ssd"), store.data("agent/images")).unwrap();
    store.installed(&store.bundle("1", &["a.yaml"]));
    assert!(store.path("root/ssd/10-crema-1.tar").exists());
}

#[test]
fn two_at_a_time_are_one_too_many() {
    let store = Store::new();
    let bundle = store.bundle("1", &["a.yaml"]);
    store.root().make_folders(&Steps::default()).unwrap();
    let held = store.root().lock().unwrap();
    let error = store.installer().install(&bundle, &Options::default()).unwrap_err();
    assert!(matches!(error, BundleError::Busy { .. }), "{error}");
    drop(held);
    store.installer().install(&bundle, &Options::default()).unwrap();
}

#[test]
fn a_disk_without_room_is_said_before_anything_is_written() {
    let store = Store::new();
    let error = store.root().check_room(u64::MAX / 2, 0).unwrap_err();
    assert!(matches!(error, BundleError::Space { .. }), "{error}");
}
