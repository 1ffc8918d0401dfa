//! Reads a JSON body into a type, and says which field is wrong.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Why a body is not what was expected.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all: 400.
    #[error("the body is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// JSON, but of another shape, or with a value that cannot be: 422.
    #[error("{field}: {problem}")]
    Field {
        /// Which, such as `items[0].quantity`; `body` for the whole.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl JsonError {
    /// The HTTP status that says this: 400 or 422.
    pub fn status(&self) -> u16 {
        match self {
            Self::Syntax(_) => 400,
            Self::Field { .. } => 422,
        }
    }

    /// The field that is wrong, when it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) => None,
            Self::Field { field, .. } => Some(field),
        }
    }
}

/// Reads `body`, all of it.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, JsonError> {
    // Before the shape, so that half an object is not taken for one with a field missing.
    serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(JsonError::Syntax)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data => explain(&path, &inner.to_string()),
            Category::Syntax | Category::Eof | Category::Io => JsonError::Syntax(inner),
        }
    })
}

/// Puts the name of a missing field, which serde tells in its text, where the caller looks for it.
fn explain(path: &str, text: &str) -> JsonError {
    let path = if path == "." { "" } else { path };
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let missing = text.strip_prefix("missing field `").and_then(|text| text.strip_suffix('`'));
    let (field, problem) = match (path, missing) {
        ("", Some(missing)) => (missing.to_owned(), "missing"),
        (path, Some(missing)) => (format!("{path}.{missing}"), "missing"),
        ("", None) => ("body".to_owned(), text),
        (path, None) => (path.to_owned(), text),
    };
    JsonError::Field { field, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tray {
        cups: Vec<Cup>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cup {
        size: u8,
    }

    fn wrong(body: &str) -> (u16, String, String) {
        let error = read::<Tray>(body.as_bytes()).unwrap_err();
        (error.status(), error.field().unwrap_or_default().to_owned(), error.to_string())
    }

    #[test]
    fn a_good_body_is_read() {
        assert_eq!(read::<Tray>(br#" {"cups":[{"size":3}]} "#).unwrap().cups[0].size, 3);
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_what_has_a_wrong_field() {
        for body in ["", "{", "nonsense", r#"{"cups":[]} x"#, r#"{"cups":[}"#, "\u{0}", r#"{"cups":[{"size":1}]"#] {
            assert_eq!(wrong(body).0, 400, "{body}");
        }
        for (body, field) in [
            ("[]x".trim_end_matches('x'), "body"),
            ("null", "body"),
            ("{}", "cups"),
            (r#"{"cups":7}"#, "cups"),
            (r#"{"cups":[{}]}"#, "cups[0].size"),
            (r#"{"cups":[{"size":1},{"size":"big"}]}"#, "cups[1].size"),
            (r#"{"cups":[{"size":-1}]}"#, "cups[0].size"),
            (r#"{"cups":[{"size":1e30}]}"#, "cups[0].size"),
            (r#"{"cups":[],"plates":1}"#, "plates"),
            (r#"{"cups":[{"size":1,"size":2}]}"#, "cups[0]"),
        ] {
            let (status, found, text) = wrong(body);
            assert_eq!((status, found.as_str()), (422, field), "{body}: {text}");
        }
    }
}
