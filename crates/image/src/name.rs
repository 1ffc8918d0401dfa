//! Names of images: one image, the ways the tools spell it.
//!
//! `owner/hello:1`, `docker.io/owner/hello:1` and podman's `localhost/owner/hello:1` are found by each other, the
//! first two always, the last when there is no closer one.

use crate::document::{CONTAINERD_NAME, Descriptor, REF_NAME};
use crate::error::ImageError;
use wire::image_reference::ImageReference;

/// The spelling names are compared in: without Docker Hub's registry, with the tag.
pub(crate) fn familiar(reference: &ImageReference) -> String {
    let full = reference.canonical();
    let short = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| full.strip_prefix(hub));
    match short {
        Some(path) => path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(path).to_owned(),
        None => full,
    }
}

/// The spelling with the registry written out, which containerd asks for.
pub(crate) fn qualified(reference: &ImageReference) -> String {
    let familiar = familiar(reference);
    match familiar.split_once('/') {
        None => format!("docker.io/library/{familiar}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => familiar,
        Some(_) => format!("docker.io/{familiar}"),
    }
}

/// Whether a stored name means the wanted one, and how closely: 0 is closest.
pub(crate) fn distance(stored: &ImageReference, wanted: &ImageReference) -> Option<u8> {
    let (stored, wanted) = (familiar(stored), familiar(wanted));
    let local = |name: &str| name.strip_prefix("localhost/").map(str::to_owned);
    if stored == wanted {
        return Some(0);
    }
    (local(&stored).as_ref() == Some(&wanted) || local(&wanted).as_ref() == Some(&stored)).then_some(1)
}

/// The name an archive gives an image; the error says what stands there instead of a name.
pub(crate) fn of_descriptor(descriptor: &Descriptor) -> Result<ImageReference, ImageError> {
    let annotation = |key: &str| descriptor.annotations.get(key).map(String::as_str).filter(|name| !name.is_empty());
    let (containerd, name) = (annotation(CONTAINERD_NAME), annotation(REF_NAME));
    let parsed = |name: &str| name.parse::<ImageReference>().ok();
    // A ref.name may be a whole name, or (by the letter of the format) only a tag.
    let whole = name.filter(|name| name.contains(['/', ':'])).and_then(parsed);
    let full = containerd.and_then(parsed);
    match (whole, full) {
        (Some(whole), Some(full)) if familiar(&whole) == familiar(&full) => Ok(whole),
        (_, Some(full)) => Ok(full),
        (Some(whole), None) => Ok(whole),
        (None, None) => Err(ImageError::Nameless {
            why: match name.or(containerd) {
                Some(text) => format!("the archive names its image only {text:?}, which is no full name"),
                None => "the archive does not name its image".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[test]
    fn every_tool_finds_the_image_under_its_own_spelling() {
        for (stored, wanted, expected) in [
            ("owner/hello:1", "owner/hello:1", Some(0)),
            ("docker.io/owner/hello:1", "owner/hello:1", Some(0)),
            ("hello", "docker.io/library/hello:latest", Some(0)),
            ("localhost/owner/hello:1", "owner/hello:1", Some(1)),
            ("owner/hello:1", "localhost/owner/hello:1", Some(1)),
            ("ghcr.io/owner/hello:1", "owner/hello:1", None),
            ("owner/hello:2", "owner/hello:1", None),
            ("docker.io/library/a/b:1", "a/b:1", None),
        ] {
            assert_eq!(distance(&reference(stored), &reference(wanted)), expected, "{stored} {wanted}");
        }
    }

    #[test]
    fn containerd_gets_the_registry_written_out() {
        for (given, expected) in [
            ("hello", "docker.io/library/hello:latest"),
            ("owner/hello:1", "docker.io/owner/hello:1"),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"),
            ("localhost/a:1", "localhost/a:1"),
        ] {
            assert_eq!(qualified(&reference(given)), expected);
        }
    }

    #[test]
    fn an_archive_names_its_image_by_either_annotation() {
        for (ref_name, containerd, expected) in [
            (Some("owner/hello:1"), None, Some("owner/hello:1")),
            (Some("owner/hello:1"), Some("docker.io/owner/hello:1"), Some("owner/hello:1")),
            (Some("1"), Some("docker.io/library/hello:1"), Some("docker.io/library/hello:1")),
            (Some("1"), None, None),
            (None, None, None),
            (Some("Not A Name/x"), None, None),
        ] {
            let mut descriptor = Descriptor::default();
            let pairs = [(REF_NAME, ref_name), (CONTAINERD_NAME, containerd)];
            descriptor.annotations.extend(pairs.iter().filter_map(|(k, v)| v.map(|v| ((*k).to_owned(), v.to_owned()))));
            let name = of_descriptor(&descriptor).ok().map(|name| name.to_string());
            assert_eq!(name.as_deref(), expected, "{ref_name:?} {containerd:?}");
        }
    }
}
