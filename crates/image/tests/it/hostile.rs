//! Layers and archives of somebody who means harm: refused by name, and nothing written outside.

use crate::support::{Archive, Raw, archive_of, directory, file, here, link, raw, store_with, symlink, tar, tree};
use image::{ImageError, Limits, SpecialFiles, Store};
use proptest::prelude::*;
use rstest::rstest;
use std::path::Path;
use tar::EntryType;

/// A world around the store, in which a canary would be touched by what leaves the root.
struct World {
    directory: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (directory, store) = store_with(limits);
        std::fs::write(directory.path().join("canary"), "untouched").unwrap();
        Self { directory, store }
    }

    fn import(&self, archive: &[u8]) -> Result<(), ImageError> {
        let outcome = self.store.import(archive, None).and_then(|images| self.store.unpack(&images[0]).map(|_| ()));
        self.check();
        outcome
    }

    /// Outside the store there is the canary, inside nothing unfinished.
    fn check(&self) {
        let canary = std::fs::read_to_string(self.directory.path().join("canary")).unwrap();
        assert_eq!(canary, "untouched");
        assert_eq!(std::fs::read_dir(self.directory.path()).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(self.directory.path().join("images/tmp")).unwrap().count(), 0);
    }

    fn blobs(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("images/blobs/sha256")).unwrap().count()
    }
}

#[rstest]
#[case::climbing(vec![file("../canary", "x")], "../canary")]
#[case::climbing_in_the_middle(vec![file("a/../../canary", "x")], "could leave the image")]
#[case::climbing_directory(vec![directory("..")], "could leave the image")]
#[case::climbing_hard_link(vec![link("a", "../../../../canary")], "could leave the image")]
#[case::climbing_whiteout(vec![file("a/../../.wh.canary", "")], "could leave the image")]
#[case::whiteout_of_the_parent(vec![file("a/.wh...", "")], "hides no file")]
#[case::device(vec![raw(EntryType::Block, "dev/sda", "", b"")], "dev/sda")]
#[case::character_device(vec![raw(EntryType::Char, "dev/mem", "", b"")], "device nodes")]
#[case::pipe(vec![raw(EntryType::Fifo, "pipe", "", b"")], "device nodes or pipes")]
#[case::unknown_kind(vec![raw(EntryType::new(b'Z'), "odd", "", b"")], "unknown")]
#[case::file_as_root(vec![file("/", "x")], "root directory")]
#[case::link_to_nowhere(vec![symlink("a", "")], "no valid target")]
fn a_hostile_layer_is_refused_at_import(#[case] layer: Vec<Raw>, #[case] expected: &str) {
    let world = World::new(Limits::default());
    let error = world.import(&archive_of(&[layer])).unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("layer 1 of owner/test:1"), "{error}");
    assert_eq!(world.blobs(), 0);
}

#[rstest]
#[case::hard_link_to_nothing(vec![link("a", "etc/shadow")], "not in the image")]
#[case::hard_link_through_a_link(vec![symlink("out", "/"), link("a", "out/etc/hostname")], "not in the image")]
#[case::file_below_a_file(vec![file("a", "x"), file("a/b", "y")], "no directory")]
#[case::loop_of_links(vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "y")], "circle")]
fn a_layer_that_does_not_fit_together_is_refused_when_it_is_unpacked(#[case] layer: Vec<Raw>, #[case] expected: &str) {
    let world = World::new(Limits::default());
    let error = world.import(&archive_of(&[layer])).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(std::fs::read_dir(world.directory.path().join("images/unpacked")).unwrap().count(), 0);
}

#[test]
fn links_that_point_outside_are_followed_inside() {
    let world = World::new(Limits::default());
    let outside = world.directory.path().to_str().unwrap().to_owned();
    let climbing = "../".repeat(30);
    let layers = [
        vec![symlink("abs", &outside), symlink("up", &climbing), symlink("direct", &format!("{outside}/canary"))],
        vec![
            file("abs/canary", "x"),
            file("up/canary", "x"),
            file("direct", "x"),
            file("abs/.wh.canary", ""),
            file("up/.wh..wh..opq", ""),
            directory("up"),
        ],
    ];
    world.import(&archive_of(&layers)).unwrap();
    world.check();
}

#[test]
fn a_directory_that_becomes_a_link_does_not_lead_out_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Limits::default());
    let outside = world.directory.path().to_str().unwrap().to_owned();
    let before = world.directory.path().metadata().unwrap().permissions().mode();
    let open = Raw { mode: 0o777, ..directory("a") };
    world
        .import(&archive_of(&[
            vec![open.clone(), symlink("b", &outside)],
            vec![symlink("a", &outside), Raw { path: b"b".to_vec(), ..open }],
        ]))
        .unwrap();
    assert_eq!(world.directory.path().metadata().unwrap().permissions().mode(), before);
}

#[test]
fn special_files_can_be_left_out() {
    let world = World::new(Limits { special_files: SpecialFiles::Skip, ..Limits::default() });
    let layer = vec![raw(EntryType::Char, "dev/null", "", b""), file("a", "x")];
    let images = world.store.import(&archive_of(&[layer])[..], None).unwrap();
    assert_eq!(tree(&world.store.unpack(&images[0]).unwrap()), ["a = x"]);
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let world = World::new(Limits { unpacked_bytes: 1_000_000, ..Limits::default() });
    let bomb = vec![raw(EntryType::Regular, "zeros", "", &vec![0; 2_000_000])];
    let error = world.import(&archive_of(&[bomb])).unwrap_err().to_string();
    assert!(error.contains("layer 1 of owner/test:1 holds more than 1000000 bytes"), "{error}");
    let halves =
        [vec![raw(EntryType::Regular, "a", "", &[0; 600_000])], vec![raw(EntryType::Regular, "b", "", &[0; 600_000])]];
    let error = world.import(&archive_of(&halves)).unwrap_err().to_string();
    assert!(error.contains("layer 2"), "{error}");
    let world = World::new(Limits { entries: 10, ..Limits::default() });
    let many = (0..11).map(|number| file(&number.to_string(), "")).collect();
    let error = world.import(&archive_of(&[many])).unwrap_err().to_string();
    assert!(error.contains("10 entries"), "{error}");
}

#[test]
fn directories_that_no_entry_names_count_too() {
    let deep = |number: usize| file(&format!("{number}/b/c/d/e"), "x");
    let layers = [vec![deep(1)], vec![deep(2), file("2/b/c/d/f", "x")]];
    // Three files, two times four directories.
    World::new(Limits { entries: 11, ..Limits::default() }).import(&archive_of(&layers)).unwrap();
    let world = World::new(Limits { entries: 10, ..Limits::default() });
    let error = world.import(&archive_of(&layers)).unwrap_err().to_string();
    assert!(error.contains("more than 10 entries"), "{error}");
    let world = World::new(Limits { entries: 6, ..Limits::default() });
    let error = world.import(&archive_of(&layers)).unwrap_err().to_string();
    assert!(error.contains("2/b/c/d/e") && error.contains("more than 6 entries"), "{error}");
}

#[test]
fn an_endless_name_is_not_held_in_memory() {
    let world = World::new(Limits::default());
    let long = raw(EntryType::GNULongName, "././@LongLink", "", &vec![b'a'; 3_000_000]);
    let error = world.import(&archive_of(&[vec![long, file("a", "x")]])).unwrap_err().to_string();
    assert!(error.contains("headers are larger than 1 MiB"), "{error}");
}

#[rstest]
#[case::climbing(file("../x", "y"), "../x")]
#[case::absolute(file("/etc/cron.d/x", "y"), "absolute")]
#[case::device(raw(EntryType::Char, "null", "", b""), "files and directories only")]
#[case::link_that_leaves(symlink("layer.tar", "../../x"), "leaves the archive")]
#[case::absolute_link(symlink("layer.tar", "/etc/passwd"), "leaves the archive")]
fn a_hostile_archive_is_refused(#[case] entry: Raw, #[case] expected: &str) {
    let world = World::new(Limits::default());
    let mut archive = Archive { entries: vec![entry], ..Archive::default() };
    let descriptor = archive.image(here(), &[tar(&[file("a", "x")])]);
    let error = world.import(&archive.named(descriptor, "a/b:1").bytes()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(world.blobs(), 0);
}

fn odd_path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "",
        ".",
        "..",
        "a",
        "b",
        "c",
        ".wh.a",
        ".wh.b",
        ".wh..wh..opq",
        ".wh...",
        "canary",
        "\u{fc}",
        " ",
        "a\\b",
    ]);
    (any::<bool>(), prop::collection::vec(part, 1..6))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn odd_entry() -> impl Strategy<Value = Raw> {
    let kind = prop::sample::select(vec![b'0', b'0', b'1', b'2', b'2', b'5']);
    (kind, odd_path(), odd_path(), 0u32..0o10000).prop_map(|(kind, path, link, mode)| Raw {
        mode,
        ..raw(EntryType::new(kind), &path, &link, if kind == b'0' { b"x" } else { b"" })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever layers say: an error or a root, and nothing else has changed. Links lead at the world outside.
    #[test]
    fn nothing_leaves_the_root(layers in prop::collection::vec(prop::collection::vec(odd_entry(), 0..8), 1..4)) {
        let world = World::new(Limits::default());
        let outside = world.directory.path().to_str().unwrap().to_owned();
        let mut layers = layers;
        layers[0].insert(0, symlink("c", &outside));
        layers[0].insert(1, symlink("b", "../../.."));
        let _ = world.import(&archive_of(&layers)).is_ok();
        // Entries that are refused at import hide what the others would do when unpacked: try those alone.
        for layer in &mut layers {
            layer.retain(|entry| !entry.path.split(|byte| *byte == b'/').any(|part| part == b".." || part == b".wh..."));
        }
        let _ = world.import(&archive_of(&layers)).is_ok();
        prop_assert!(Path::new(&outside).join("images/index.json").exists());
    }

    /// Whatever bytes are called an archive: an error, no panic, nothing kept.
    #[test]
    fn a_broken_archive_is_an_error(cut in 0usize..10_000, flip in 0usize..10_000, bits in 1u8..=255) {
        let world = World::new(Limits::default());
        let whole = archive_of(&[vec![file("a", "x")], vec![file(".wh.a", ""), file("b", "y")]]);
        let cut = &whole[..cut % whole.len()];
        let mut flipped = whole.clone();
        let place = flip % whole.len();
        flipped[place] ^= bits;
        // A cut in the zeros after the last entry, or a flip in padding, leaves a whole archive.
        for bytes in [cut, &flipped[..]] {
            if world.import(bytes).is_err() {
                prop_assert!(world.store.list().unwrap().len() <= 1);
            }
        }
    }
}
