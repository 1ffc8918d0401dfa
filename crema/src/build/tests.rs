use super::*;
use std::collections::HashMap;
use std::fs;
use tempfile::TempDir;

struct World {
    folder: TempDir,
    env: HashMap<String, String>,
}

impl World {
    /// A folder with a stack file of one function, and the environment of this test.
    fn new(function: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stack = format!("provider: {{name: openfaas}}\nfunctions:\n  f:\n    image: a/f:1\n{function}");
        let world = Self { folder, env: HashMap::new() };
        world.write("stack.yml", &stack);
        let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"];
        let env = kept.iter().filter_map(|name| Some(((*name).to_owned(), daemon::ProcessEnv.get(name)?)));
        Self { env: env.collect(), ..world }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// A package without dependencies, which says something when it runs.
    fn package(&self, folder: &str, head: &str, says: &str) {
        let manifest = format!("{head}[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        self.write(&format!("{folder}/Cargo.toml"), &manifest);
        self.write(&format!("{folder}/src/main.rs"), &format!("fn main() {{ println!(\"{says}\"); }}\n"));
    }

    fn store(&self) -> Store {
        Store::open(self.path("images")).unwrap()
    }

    fn build(&self) -> Result<Vec<Outcome>, BuildError> {
        let stack = Stack::read(&self.path("stack.yml"), |_| None).unwrap();
        functions(&stack, &self.store(), &self.env)
    }

    /// What the function's image says when it is run.
    fn said(&self) -> String {
        let store = self.store();
        let image = store.get(&"a/f:1".parse().unwrap()).unwrap();
        let binary = store.unpack(&image).unwrap().join("function");
        String::from_utf8(std::process::Command::new(binary).output().unwrap().stdout).unwrap()
    }
}

const RUST: &str = "    lang: rust\n    handler: ./f\n";

#[test]
fn a_function_of_a_workspace_is_built_in_it_and_packed_once() {
    let world = World::new(RUST);
    world.package("f", "[workspace]\n", "one");
    let first = world.build().unwrap();
    assert!(matches!(first[0].result, BuildResult::Packed { .. }), "{first:?}");
    assert_eq!(world.said(), "one\n");
    let binary = fs::read(world.path("f/target").join(host()).join("function/small")).unwrap();
    assert!(!binary[..4096].windows(9).any(|window| window == b"/ld-linux"), "it is linked dynamically");
    assert!(matches!(world.build().unwrap()[0].result, BuildResult::Unchanged { .. }));
    world.package("f", "[workspace]\n", "another");
    assert!(matches!(world.build().unwrap()[0].result, BuildResult::Packed { .. }));
    assert_eq!(world.said(), "another\n");
    let unpacked = fs::read_dir(world.path("images/unpacked")).unwrap().count();
    let blobs = fs::read_dir(world.path("images/blobs/sha256")).unwrap().count();
    assert_eq!((unpacked, blobs), (2, 6), "the image before stays: an update that fails goes back to it");
}

#[test]
fn a_function_of_no_workspace_is_laid_out_from_the_template() {
    let world = World::new(RUST);
    world.write("template/rust/Cargo.toml", "[workspace]\nmembers = [\"function\"]\nresolver = \"3\"\n");
    world.write("template/rust/function/src/extra.rs", "the template's example, not the handler's");
    world.package("f", "", "one");
    world.write("f/target/left", "not source");
    world.build().unwrap();
    assert_eq!(world.said(), "one\n");
    assert!(!world.path("build/f/function/target").exists() && !world.path("build/f/function/src/extra.rs").exists());
    let touched = || world.path("build/f/function/src/main.rs").metadata().unwrap().modified().unwrap();
    let before = touched();
    world.write("build/f/function/src/stale.rs", "removed from the handler");
    assert!(matches!(world.build().unwrap()[0].result, BuildResult::Unchanged { .. }));
    assert_eq!(touched(), before);
    assert!(!world.path("build/f/function/src/stale.rs").exists());
}

#[test]
fn what_is_not_built_here_comes_from_the_store_or_says_how_it_gets_there() {
    for (function, expected) in [
        ("    skip_build: true\n", "skopeo copy docker://a/f:1"),
        ("    lang: dockerfile\n    handler: ./f\n", "faas-cli build"),
        ("    lang: python3\n    handler: ./f\n", "lang \"python3\" is built with Docker"),
    ] {
        let world = World::new(function);
        let outcomes = world.build().unwrap();
        let BuildResult::Missing { advice } = &outcomes[0].result else { panic!("{outcomes:?}") };
        assert!(advice.contains(expected), "{advice}");
        image::Builder::new(image::ImageConfig::default()).build(&world.store(), &"a/f:1".parse().unwrap()).unwrap();
        assert!(matches!(world.build().unwrap()[0].result, BuildResult::InStore { .. }));
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let unset = |world: &mut World, name: &str, value: &str| {
        world.env.insert(name.to_owned(), value.to_owned());
    };
    let error = |world: &World| world.build().unwrap_err().to_string();

    let world = World::new("    lang: rust\n");
    assert!(error(&world).contains("function f: it has no handler"));
    let world = World::new(RUST);
    assert!(error(&world).contains("there is no folder"));
    world.write("f/readme", "");
    assert!(error(&world).contains("Cargo.toml is missing"));
    world.package("f", "", "one");
    assert!(error(&world).contains("no cargo workspace"), "{}", error(&world));
    world.package(
        "f",
        "[workspace]\n[[bin]]\nname = \"a\"\npath = \"src/main.rs\"\n[[bin]]\nname = \"b\"\npath = \"src/main.rs\"\n",
        "one",
    );
    assert!(error(&world).contains("several binaries (a, b)"), "{}", error(&world));
    world.package("f", "[workspace]\nmembers = [\"none\"]\n", "one");
    assert!(error(&world).contains("function f: cargo cannot read"), "{}", error(&world));
    world.package("f", "[workspace]\n", "\", nonsense, \"");
    assert!(error(&world).contains("cargo could not build f"), "{}", error(&world));

    let mut world = World::new(RUST);
    world.package("f", "[workspace]\n", "one");
    unset(&mut world, "PATH", "/nowhere");
    assert!(error(&world).contains("no `cc` on the PATH") && error(&world).contains("--no-build"), "{}", error(&world));
    unset(&mut world, "RUSTC", "/no/such/rustc");
    assert!(error(&world).contains("https://rustup.rs") && error(&world).contains("--no-build"), "{}", error(&world));
}

fn host() -> String {
    let output = std::process::Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[test]
fn sizes_are_for_people() {
    for (bytes, expected) in
        [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (3_960_000, "3.9 MB"), (8_000_000_000, "8.0 GB")]
    {
        assert_eq!(terminal_size(bytes), expected);
    }
}
