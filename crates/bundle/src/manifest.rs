//! YAML of Kubernetes, as far as a bundle looks into it: whole documents, and the images they name.

use serde_json::Value;
use std::collections::BTreeSet;

/// A document as it was written, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) object: Value,
}

impl Document {
    fn field(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.field("/kind")
    }

    /// For people.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.kind(), self.field("/metadata/name"))
    }

    /// The images it names, wherever it does.
    pub(crate) fn images(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        // The schema in a CustomResourceDefinition names fields, not images.
        if self.kind() != "CustomResourceDefinition" {
            collect(&self.object, &mut found);
        }
        found
    }
}

/// The documents of a file; the error says what is wrong with it.
pub(crate) fn documents(text: &str) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    for text in split(text) {
        let object: Value = serde_saphyr::from_str(&text).map_err(|error| {
            let text = error.without_snippet().to_string();
            text.lines().next().unwrap_or("it is no YAML").to_owned()
        })?;
        if object.is_null() {
            continue;
        }
        let document = Document { text, object };
        if document.kind().is_empty() || document.field("/apiVersion").is_empty() {
            return Err("a document in it has no apiVersion or no kind".to_owned());
        }
        documents.push(document);
    }
    Ok(documents)
}

/// Documents as one file.
pub(crate) fn joined<'a>(documents: impl IntoIterator<Item = &'a Document>) -> String {
    documents.into_iter().map(|document| format!("---\n{}\n", document.text.trim_matches('\n'))).collect()
}

/// The name an image is found by in containerd.
pub(crate) fn full_name(name: &str) -> String {
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let name = if tagged { name.to_owned() } else { format!("{name}:latest") };
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name,
        Some(_) => format!("docker.io/{name}"),
    }
}

fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        let part = parts.last_mut().expect("there is one from the beginning");
        if line.trim_end() == "---" || line.starts_with("--- ") {
            parts.push(String::new());
        } else {
            part.push_str(line);
            part.push('\n');
        }
    }
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    parts.into_iter().filter(|part| part.lines().any(says)).collect()
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(image) if name == "image" && !image.is_empty() => drop(found.insert(image.clone())),
                    other => collect(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart_and_the_images_in_them_found() {
        let text = "# only a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - \
                    {name: a, image: docker.io/crema/a:1}\n---\n\n---\napiVersion: openfaas.com/v1\nkind: Function\n\
                    metadata: {name: f}\nspec: {image: crema/f:2}\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.iter().map(Document::title).collect::<Vec<_>>(), ["Pod a", "Function f"]);
        assert_eq!(documents[0].images(), ["docker.io/crema/a:1".to_owned()].into());
        let again = super::documents(&joined(&documents)).unwrap();
        assert_eq!(again[1].object, documents[1].object);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["kind: [", "just text", "kind: Pod\n", "- a\n"] {
            assert!(documents(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_images_are_written_out() {
        for (name, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("crema/a:1", "docker.io/crema/a:1"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }
}
