//! Paths of an image, found in the directory it is unpacked in. No link of the image leads out of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// More links than this in one path is a loop.
const MOST_LINKS: u32 = 40;

/// Where a path of the image is on this machine: links are followed as if `root` were `/`. What does not exist is the
/// error `NotFound`.
pub(crate) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    let mut links = 0;
    let mut rest: Vec<_> = parts(path);
    while let Some(part) = rest.pop() {
        match part {
            Part::Up => drop(resolved.pop()),
            Part::Down(name) => {
                let candidate = resolved.join(&name);
                if !fs::symlink_metadata(root.join(&candidate))?.is_symlink() {
                    resolved = candidate;
                    continue;
                }
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many links"));
                }
                let target = fs::read_link(root.join(&candidate))?;
                if target.is_absolute() {
                    resolved.clear();
                }
                rest.extend(parts(&target));
            }
        }
    }
    Ok(root.join(resolved))
}

enum Part {
    Up,
    Down(std::ffi::OsString),
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<Part> {
    let part = |component| match component {
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Down(name.to_owned())),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::write(root.join("bin/tool"), "x").unwrap();
        for (link, target) in
            [("abs", "/bin/tool"), ("up", "../../../../bin/tool"), ("sh", "/../../bin"), ("loop", "loop")]
        {
            symlink(target, root.join("etc").join(link)).unwrap();
        }
        symlink(outside.path(), root.join("out")).unwrap();
        let tool = root.join("bin/tool");
        for path in
            ["/bin/tool", "bin/tool", "/../../bin/tool", "/etc/abs", "/etc/up", "/etc/sh/tool", "/etc/../bin/./tool"]
        {
            assert_eq!(resolve(&root, Path::new(path)).unwrap(), tool, "{path}");
        }
        for path in ["/etc/loop", "/../secret", "/out/secret", "/nothing"] {
            assert!(resolve(&root, Path::new(path)).is_err(), "{path}");
        }
    }
}
