//! The files in `/etc` that a function with a file system of its own finds: who it is and what its machine is called.

use crate::isolation::Network;
use image::ImageConfig;
use sandbox::Text;
use sandbox::egress::resolvers_inside;
use std::fs;
use std::path::{Path, PathBuf};

/// Files are not read further: an image's own may be anything.
const MOST_BYTES: u64 = 1 << 20;
/// Names that lead to the gateway.
const GATEWAY: &str = "gateway gateway.openfaas gateway.openfaas.svc gateway.openfaas.svc.cluster.local";
/// Who an image's process is when the image names no one.
const NAME: &str = "function";
const HOME: &str = "/";
/// Where the machine's resolvers are; systemd's own answers on loopback only, and the real ones are beside.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Who the process is inside.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Identity {
    /// The image's own number for its user, if it has one that is not root's.
    pub(super) number: Option<u32>,
    pub(super) home: String,
    name: String,
}

impl Identity {
    /// What the image says about its user, whose entry may be in the image's `/etc/passwd`.
    pub(super) fn of(root: &Path, config: &ImageConfig) -> Self {
        let user = config.user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("root");
        let users = read(root, "etc/passwd");
        let mut entries = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = entries.find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
        let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at)).filter(|text| !text.is_empty());
        let number = field(2).map_or(user, |text| *text).parse().ok().filter(|number| *number != 0);
        let named = field(0).filter(|name| **name != "root").map_or(NAME, |name| *name);
        Self { number, home: field(5).map_or(HOME, |home| *home).to_owned(), name: named.to_owned() }
    }
}

/// The files, each to be shown at its place inside.
pub(super) fn files(root: &Path, identity: &Identity, number: u32, hostname: &str, network: Network) -> Vec<Text> {
    let Identity { name, home, .. } = identity;
    let user = format!("{name}:x:{number}:{number}::{home}:/bin/sh");
    let group = format!("{name}:x:{number}:");
    let files = [
        ("passwd", with_entry(&read(root, "etc/passwd"), &user, name)),
        ("group", with_entry(&read(root, "etc/group"), &group, name)),
        ("hosts", format!("127.0.0.1\tlocalhost {hostname} {GATEWAY}\n::1\tlocalhost\n")),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolvers(network)),
    ];
    files.into_iter().map(|(name, content)| Text { target: Path::new("/etc").join(name), content }).collect()
}

/// The lines of an image's file, with ours instead of the one of the same name.
fn with_entry(lines: &str, entry: &str, name: &str) -> String {
    let others = lines.lines().filter(|line| line.split(':').next() != Some(name));
    let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
    text.push_str(entry);
    text.push('\n');
    text
}

/// A text file of the image, if it has one.
fn read(root: &Path, path: &str) -> String {
    let found = image::locate(root, path).ok();
    let small = |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.len() <= MOST_BYTES);
    found.filter(small).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
}

/// The machine's resolvers, as far as the network leads to them.
fn resolvers(network: Network) -> String {
    let mut texts = RESOLVERS.iter().filter_map(|path| fs::read_to_string(path).ok());
    let found = match network {
        Network::Gateway | Network::None => None,
        Network::Host => texts.next(),
        Network::Egress => texts.find_map(|text| resolvers_inside(&text)),
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(user: &str) -> ImageConfig {
        ImageConfig { user: user.to_owned(), ..ImageConfig::default() }
    }

    #[test]
    fn the_images_user_keeps_name_home_and_number() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\napp:x:100:101::/home/app:/bin/false\n",
        )
        .unwrap();
        let of = |user| Identity::of(root.path(), &image(user));
        let app = Identity { number: Some(100), home: "/home/app".to_owned(), name: "app".to_owned() };
        for user in ["app", "100", "app:nogroup"] {
            assert_eq!(of(user), app, "{user}");
        }
        let unnamed = |number, home: &str| Identity { number, home: home.to_owned(), name: "function".to_owned() };
        assert_eq!(of("4711:4711"), unnamed(Some(4711), "/"));
        assert_eq!(of("unknown"), unnamed(None, "/"));
        for user in ["", "root", "0"] {
            assert_eq!(of(user), unnamed(None, "/root"), "{user}");
        }
        let texts = files(root.path(), &app, 2_000_000_001, "app-1", Network::Gateway);
        let passwd = &texts[0].content;
        assert_eq!(passwd, "root:x:0:0:root:/root:/bin/sh\napp:x:2000000001:2000000001::/home/app:/bin/sh\n");
        assert!(texts[2].content.contains("gateway.openfaas"));
        assert_eq!((texts[4].target.as_path(), texts[4].content.as_str()), (Path::new("/etc/resolv.conf"), ""));
    }
}
