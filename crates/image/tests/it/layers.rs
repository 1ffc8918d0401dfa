//! What layers over layers become.

use crate::support::{Raw, archive_of, directory, file, link, store, symlink, tree};
use rstest::rstest;

fn unpacked(layers: &[Vec<Raw>]) -> Vec<String> {
    let (_directory, store) = store();
    let images = store.import(&archive_of(layers)[..], None).unwrap();
    tree(&store.unpack(&images[0]).unwrap())
}

#[rstest]
#[case::a_later_file_wins(
    vec![vec![file("a", "old"), file("b", "kept")], vec![file("a", "new")]],
    &["a = new", "b = kept"]
)]
#[case::a_whiteout_hides_a_file(
    vec![vec![file("d/a", "x"), file("d/b", "y")], vec![file("d/.wh.a", "")]],
    &["d/", "d/b = y"]
)]
#[case::a_whiteout_hides_a_directory(
    vec![vec![file("d/e/a", "x"), file("f", "y")], vec![file(".wh.d", "")]],
    &["f = y"]
)]
#[case::a_whiteout_does_not_hide_what_its_own_layer_brings(
    vec![vec![file("d/a", "old"), file("d/b", "old")], vec![file("d/c", "new"), file(".wh.d", "")]],
    &["d/", "d/c = new"]
)]
#[case::an_opaque_directory_shows_its_own_layer_only(
    vec![
        vec![file("d/a", "old"), file("d/sub/b", "old")],
        vec![file("d/sub/c", "new"), file("d/.wh..wh..opq", ""), file("d/n", "new")],
    ],
    &["d/", "d/n = new", "d/sub/", "d/sub/c = new"]
)]
#[case::a_whiteout_of_nothing_is_nothing(vec![vec![file("no/.wh.such", ""), file("a", "x")]], &["a = x"])]
#[case::a_whiteout_removes_a_link_not_its_target(
    vec![vec![file("t", "x"), symlink("l", "t")], vec![file(".wh.l", "")]],
    &["t = x"]
)]
#[case::a_file_replaces_a_directory_and_the_other_way_round(
    vec![vec![file("a/x", "old"), file("b", "old")], vec![file("a", "new"), directory("b")]],
    &["a = new", "b/"]
)]
#[case::a_file_replaces_a_link_and_leaves_its_target(
    vec![vec![file("t", "old"), symlink("l", "t")], vec![file("l", "new")]],
    &["l = new", "t = old"]
)]
#[case::a_hard_link_shares(vec![vec![file("a", "x"), link("d/b", "a"), link("c", "/a")]], &["a = x", "c = x", "d/", "d/b = x"])]
#[case::a_later_layer_breaks_a_hard_link(
    vec![vec![file("a", "old"), link("b", "a")], vec![file("a", "new")]],
    &["a = new", "b = old"]
)]
#[case::an_absolute_link_leads_to_the_images_own_directory(
    vec![vec![directory("usr/lib"), symlink("lib", "/usr/lib")], vec![file("lib/x", "in")]],
    &["lib -> /usr/lib", "usr/", "usr/lib/", "usr/lib/x = in"]
)]
#[case::odd_paths_are_made_plain(
    vec![vec![file("./a//b/./c", "x"), directory("./"), file("/rooted", "y"), file("sp ace/\u{fc}\n", "z")]],
    &["a/", "a/b/", "a/b/c = x", "rooted = y", "sp ace/", "sp ace/\u{fc}\n = z"]
)]
#[case::a_directory_stays_with_what_it_holds(
    vec![vec![file("d/a", "x")], vec![directory("d")]],
    &["d/", "d/a = x"]
)]
fn layers_over_layers(#[case] layers: Vec<Vec<Raw>>, #[case] expected: &[&str]) {
    assert_eq!(unpacked(&layers), expected);
}

#[test]
fn everybody_may_what_the_owner_may_and_nothing_changes_who_runs() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, store) = store();
    let with_mode = |path: &str, mode| Raw { mode, ..file(path, "x") };
    let closed = Raw { mode: 0o000, ..directory("closed") };
    let shared = Raw { mode: 0o1777, ..directory("tmp") };
    let layer = vec![
        with_mode("suid", 0o6755),
        with_mode("none", 0),
        with_mode("own", 0o2700),
        with_mode("secret", 0o600),
        closed,
        file("closed/in", "x"),
        shared,
    ];
    let images = store.import(&archive_of(&[layer])[..], None).unwrap();
    let root = store.unpack(&images[0]).unwrap();
    for (path, expected) in
        [("suid", 0o755), ("none", 0o444), ("closed", 0o755), ("tmp", 0o1777), ("own", 0o755), ("secret", 0o644)]
    {
        assert_eq!(root.join(path).metadata().unwrap().permissions().mode() & 0o7777, expected, "{path}");
    }
}

#[test]
fn a_umask_keeps_nobody_out() {
    use rustix::fs::Mode;
    use std::os::unix::fs::PermissionsExt;
    let (_directory, store) = store();
    let images = store.import(&archive_of(&[vec![file("d/e", "x")]])[..], None).unwrap();
    // Other tests of this process only make what is theirs meanwhile.
    let before = rustix::process::umask(Mode::from_raw_mode(0o077));
    let root = store.unpack(&images[0]);
    rustix::process::umask(before);
    let root = root.unwrap();
    for (path, expected) in [("", 0o755), ("d", 0o755), ("d/e", 0o644)] {
        assert_eq!(root.join(path).metadata().unwrap().permissions().mode() & 0o7777, expected, "{path}");
    }
}
