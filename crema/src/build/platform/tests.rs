use super::*;
use std::collections::HashMap;
use std::fs;
use tempfile::TempDir;

/// A folder that looks like Crema's source: the platform, the package of a part, and a function.
struct Source(TempDir);

impl Source {
    fn new() -> Self {
        let source = Self(tempfile::tempdir().unwrap());
        source.write("Cargo.toml", "[workspace]\nmembers = [\"platform\", \"gateway\", \"f\"]\nresolver = \"3\"\n");
        for name in ["platform", "gateway", "f"] {
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"0.3.0\"\nedition = \"2024\"\nlicense = \"Apache-2.0\"\n\
                 description = \"What {name} is for.\"\n"
            );
            source.write(&format!("{name}/Cargo.toml"), &manifest);
            // Where a panic was is in the program.
            let text = "fn main() { if std::env::args().count() > 3 { panic!(\"{}\", file!()) }\n\
                        print!(\"{}\", std::env::args().next().unwrap().rsplit('/').next().unwrap()) }\n";
            source.write(&format!("{name}/src/main.rs"), text);
        }
        let functions =
            "  f: {lang: rust, handler: ./f, image: a/f:1}\n  g: {lang: python3, handler: ./g, image: a/g:1}\n";
        source.write("stack.yml", &format!("provider: {{name: openfaas}}\nfunctions:\n{functions}"));
        source
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn store(&self) -> Store {
        Store::open(self.path("images")).unwrap()
    }

    fn build(&self, images: &PlatformImages) -> Result<PathBuf, String> {
        let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"];
        let env: HashMap<String, String> =
            kept.iter().filter_map(|name| Some(((*name).to_owned(), daemon::ProcessEnv.get(name)?))).collect();
        let stack = Stack::read(&self.path("stack.yml"), |_| None).unwrap();
        images.build(&stack, &self.store(), &env).map_err(|error| error.to_string())
    }

    fn archives(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path("target/images")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

fn usual() -> PlatformImages {
    PlatformImages {
        targets: Vec::new(),
        output: None,
        tag: None,
        registry: "docker.io/crema".to_owned(),
        profile: None,
    }
}

#[test]
fn the_same_source_gives_the_same_bytes_again_and_in_another_folder() {
    let (one, other) = (Source::new(), Source::new());
    one.build(&usual()).unwrap();
    let first = one.archives();
    one.build(&usual()).unwrap();
    assert!(one.archives() == first, "the second build differs");
    other.build(&usual()).unwrap();
    let names: Vec<_> = first.iter().map(|(name, _)| name.split('-').next().unwrap()).collect();
    assert_eq!(names, ["f", "images.lock", "platform"]);
    assert!(other.archives() == first, "the build in another folder differs");
}

#[test]
fn each_part_and_function_is_an_image_of_a_user_who_is_nobody() {
    let source = Source::new();
    let lock = source.build(&PlatformImages { tag: Some("9.9.9".to_owned()), ..usual() }).unwrap();
    let store = source.store();
    let gateway = store.get(&"docker.io/crema/gateway:9.9.9".parse().unwrap()).unwrap();
    assert_eq!((gateway.config.entrypoint[0].as_str(), gateway.config.user.as_str()), ("/gateway", "65532:65532"));
    let label = |name: &str| gateway.config.labels.get(&format!("org.opencontainers.image.{name}")).unwrap().clone();
    assert_eq!([label("title"), label("version"), label("licenses")], ["gateway", "0.3.0", "Apache-2.0"]);
    assert_eq!(label("description"), "What gateway is for.");
    let root = store.unpack(&gateway).unwrap();
    assert!(fs::read_to_string(root.join("etc/passwd")).unwrap().contains(":65532:65532:"));
    assert!(fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap().contains("BEGIN CERTIFICATE"));
    let said = std::process::Command::new(root.join("gateway")).output().unwrap();
    assert_eq!(said.stdout, b"gateway");

    let broker = store.get(&"docker.io/crema/mqtt-broker:9.9.9".parse().unwrap()).unwrap();
    assert_eq!(broker.config.entrypoint, ["/mqtt-broker"]);
    // Manifest and configuration of each image, a layer for all parts and one for the function.
    assert_eq!(fs::read_dir(source.path("images/blobs/sha256")).unwrap().count(), 6 * 2 + 2);
    let function = store.get(&"docker.io/crema/f:9.9.9".parse().unwrap()).unwrap();
    assert_eq!(function.config.labels["com.crema.serves"], "unix-socket");

    let lock = fs::read_to_string(lock).unwrap();
    let platform = &gateway.platform;
    let architecture = platform.trim_start_matches("linux/");
    let line = format!("docker.io/crema/gateway:9.9.9@{} {platform} platform-9.9.9-{architecture}.tar", gateway.digest);
    assert!(lock.lines().any(|there| there == line), "{lock}");
    assert_eq!(lock.lines().count(), 6);
    let archives: Vec<_> = source.archives().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        archives,
        [format!("f-9.9.9-{architecture}.tar"), "images.lock".to_owned(), format!("platform-9.9.9-{architecture}.tar")]
    );
}

#[test]
fn a_function_is_the_image_that_up_makes() {
    let source = Source::new();
    source.build(&usual()).unwrap();
    let stack = Stack::read(&source.path("stack.yml"), |_| None).unwrap();
    super::super::functions(&stack, &source.store(), &daemon::ProcessEnv).unwrap();
    let digest = |name: &str| source.store().get(&name.parse().unwrap()).unwrap().digest;
    assert_eq!(digest("docker.io/crema/f:0.3.0"), digest("a/f:1"));
}

#[test]
fn what_cannot_be_built_is_said_with_what_to_do() {
    let source = Source::new();
    let target = |triple: &str| PlatformImages { targets: vec![triple.to_owned()], ..usual() };
    for (images, expected) in [
        (PlatformImages { tag: Some("latest".to_owned()), ..usual() }, "give a version"),
        (PlatformImages { tag: Some("no good".to_owned()), ..usual() }, "not a valid reference"),
        (target("wasm32-wasip1"), "images are made for"),
        // Nobody has it installed.
        (target("riscv64gc-unknown-linux-musl"), "rustup target add riscv64gc-unknown-linux-musl"),
    ] {
        let error = source.build(&images).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    for name in ["platform", "gateway"] {
        let functions = format!("  {name}: {{lang: rust, handler: ./f, image: a/f:1}}\n");
        source.write("stack.yml", &format!("provider: {{name: openfaas}}\nfunctions:\n{functions}"));
        let error = source.build(&usual()).unwrap_err();
        assert!(error.contains("give it another name") && error.contains(name), "{error}");
    }
    source.write("Cargo.toml", "[workspace]\nmembers = [\"f\"]\nresolver = \"3\"\n");
    let error = source.build(&usual()).unwrap_err();
    assert!(error.contains("does not hold Crema's source"), "{error}");
}
