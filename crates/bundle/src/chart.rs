//! A Helm chart as plain manifests. What a chart makes at random is made by each store instead, so that the stick
//! carries no password and a new version changes none.

use crate::error::{At, BundleError};
use crate::manifest::{Document, documents, joined};
use crate::metadata::SecretToMake;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A chart, and how it is rendered.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Its folder.
    pub folder: PathBuf,
    /// The program that renders it.
    pub helm: PathBuf,
    /// The release's name.
    pub name: String,
    /// The release's namespace.
    pub namespace: String,
    /// Files of values, the last one first in rank.
    pub values: Vec<PathBuf>,
    /// Single values, `KEY=VALUE`.
    pub set: Vec<String>,
}

/// The chart's files for `server/manifests`, and the secrets that are left out of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) files: Vec<(String, String)>,
    pub(crate) secrets: Vec<SecretToMake>,
}

impl Chart {
    /// Renders it, twice: what differs was made at random.
    pub(crate) fn render(&self) -> Result<Rendered, BundleError> {
        let (first, second) = (self.documents()?, self.documents()?);
        if first.len() != second.len() {
            return Err(self.refuse("it renders other objects each time"));
        }
        let (mut secrets, mut namespaces, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (one, other) in first.into_iter().zip(second) {
            if one.object != other.object {
                secrets.push(to_make(&one, &other).map_err(|why| self.refuse(&format!("{}: {why}", one.title())))?);
            } else if one.kind() == "Namespace" {
                namespaces.push(one);
            } else {
                others.push(one);
            }
        }
        // In the order K3s looks at them; a file that is too early is tried again.
        let files = [
            ("crema-00-crds.yaml", self.definitions()?),
            ("crema-05-namespaces.yaml", namespaces),
            ("crema-20-platform.yaml", others),
        ];
        let files = files.into_iter().filter(|(_, documents)| !documents.is_empty());
        Ok(Rendered { files: files.map(|(name, documents)| (name.to_owned(), joined(&documents))).collect(), secrets })
    }

    fn documents(&self) -> Result<Vec<Document>, BundleError> {
        let mut helm = Command::new(&self.helm);
        // Nothing else makes the namespace where there is no helm.
        helm.args(["template", &self.name]).arg(&self.folder).args(["--namespace", &self.namespace, "--no-hooks"]);
        helm.args(["--set", "base.platformNamespace=true"]);
        for values in &self.values {
            helm.arg("--values").arg(values);
        }
        for pair in &self.set {
            helm.args(["--set", pair]);
        }
        let output = helm.stdin(Stdio::null()).output().map_err(|error| {
            let program = self.helm.display();
            BundleError::Source(format!(
                "a chart is rendered by helm, and `{program}` does not start ({error}); install helm or name it with \
                 --helm, or render elsewhere and give the folder with --manifests"
            ))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.refuse(said.trim()));
        }
        documents(&String::from_utf8_lossy(&output.stdout)).map_err(|why| self.refuse(&why))
    }

    /// `helm template` leaves these out.
    fn definitions(&self) -> Result<Vec<Document>, BundleError> {
        let folder = self.folder.join("crds");
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.at("read", &folder)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        paths.sort();
        let mut found = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).at("read", &path)?;
            let refuse = |why: String| self.refuse(&format!("{}: {why}", path.display()));
            found.extend(documents(&text).map_err(refuse)?);
        }
        Ok(found)
    }

    fn refuse(&self, why: &str) -> BundleError {
        BundleError::Source(format!("the chart {} cannot be bundled: {why}", self.folder.display()))
    }
}

/// A secret whose values differ between two renderings.
fn to_make(one: &Document, other: &Document) -> Result<SecretToMake, String> {
    if one.kind() != "Secret" {
        return Err("it renders differently each time, and only a Secret may".to_owned());
    }
    let mut make = BTreeMap::new();
    let mut object = one.object.clone();
    for (key, value) in one.object["data"].as_object().into_iter().flatten() {
        let (Some(text), false) = (value.as_str(), other.object["data"][key] == *value) else { continue };
        let length = BASE64_STANDARD.decode(text).map_err(|_| format!("{key} is no base64"))?.len();
        make.insert(key.clone(), length);
        object["data"].as_object_mut().expect("it was read as one").remove(key);
    }
    let mut rest = other.object.clone();
    for key in make.keys() {
        rest["data"].as_object_mut().map(|data| data.remove(key));
    }
    if rest == object {
        Ok(SecretToMake { object, make })
    } else {
        Err("more than its data differs each time".to_owned())
    }
}

/// The secrets as they will be, for whoever looks through all objects.
pub(crate) fn titles(secrets: &[SecretToMake]) -> Vec<String> {
    let part =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let title = |secret: &SecretToMake| {
        format!("{}/{}", part(&secret.object, "/metadata/namespace"), part(&secret.object, "/metadata/name"))
    };
    secrets.iter().map(title).collect()
}
