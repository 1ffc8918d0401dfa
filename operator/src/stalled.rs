//! Why a Function cannot be made true: the condition `Stalled`, with a reason and what a person can do about it.

use std::time::Duration;
use wire::image_reference::ImageReferenceError;
use wire::quantity::QuantityError;

/// Kinds of annotations on one object may be this many bytes together (Kubernetes' own limit).
pub(crate) const ANNOTATION_BYTES: usize = 256 * 1024;

/// Why it cannot go on by itself. The message reaches whoever watches a roll-out in thousands of stores.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Stalled {
    /// `spec.name` is not the object's name.
    #[error("spec.name is {given:?}, the object is called {name:?}: give both the same name")]
    NameDiffers {
        /// The object's.
        name: String,
        /// `spec.name`.
        given: String,
    },
    /// A Service cannot be called that.
    #[error("{0:?} cannot be the name of a Service: begin it with a letter")]
    BadName(String),
    /// Secrets that are not there.
    #[error(
        "{} not in namespace {namespace}: create {} (faas-cli secret create, kubectl create secret generic), or take {} out of spec.secrets",
        are(.names), them(.names), them(.names)
    )]
    SecretMissing {
        /// Which.
        names: Vec<String>,
        /// Where they are looked for.
        namespace: String,
    },
    /// A profile that is not there.
    #[error(
        "profile {name} is not in namespace {namespace}: create it there, or take it out of the annotation com.openfaas.profile"
    )]
    ProfileMissing {
        /// Which.
        name: String,
        /// Where it is looked for.
        namespace: String,
    },
    /// An image reference that is none.
    #[error("spec.image: {0}")]
    BadImage(ImageReferenceError),
    /// A quantity that is none.
    #[error("{field}: {error}")]
    BadQuantity {
        /// Where it stands.
        field: String,
        /// What is wrong with it.
        error: QuantityError,
    },
    /// More is to be set aside than may be used.
    #[error("requests.{what} {request} is more than limits.{what} {limit}: raise the limit or ask for less")]
    RequestAboveLimit {
        /// memory or cpu.
        what: &'static str,
        /// What is asked for.
        request: String,
        /// What is allowed.
        limit: String,
    },
    /// A constraint that cannot become a node selector.
    #[error("constraint {0:?} is not understood: write LABEL=VALUE; for anything else use a Profile with an affinity")]
    BadConstraint(String),
    /// An annotation of ours or OpenFaaS's whose value makes no sense.
    #[error("annotation {name}: {value:?}: {why}")]
    BadAnnotation {
        /// Which.
        name: String,
        /// Its value, cut.
        value: String,
        /// What is expected.
        why: String,
    },
    /// The annotations are larger than Kubernetes takes.
    #[error(
        "the annotations are {bytes} bytes, Kubernetes takes {ANNOTATION_BYTES}: put such data into a Secret or into the image"
    )]
    AnnotationsTooLarge {
        /// All keys and values together.
        bytes: usize,
    },
    /// An object of that name is someone else's.
    #[error(
        "{kind} {name} is there already and not this Function's ({whose}): nothing of it is changed; rename the function, or delete or rename that {kind}"
    )]
    NameTaken {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What is known about whose it is.
        whose: String,
    },
    /// A claim that is not the function's.
    #[error(
        "PersistentVolumeClaim {name} is there already and not this function's: to give its data to the function, label it faas_function={function} and app.kubernetes.io/managed-by=crema; else delete it or rename the function"
    )]
    ClaimTaken {
        /// Its name.
        name: String,
        /// The function.
        function: String,
    },
    /// The API server does not take an object.
    #[error("Kubernetes refuses the {kind}: {why}")]
    Refused {
        /// The object's kind.
        kind: String,
        /// The API server's words.
        why: String,
    },
}

fn are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "secret" } else { "secrets" };
    let be = if names.len() == 1 { "is" } else { "are" };
    format!("{verb} {} {be}", names.join(", "))
}

fn them(names: &[String]) -> &'static str {
    if names.len() == 1 { "it" } else { "them" }
}

impl Stalled {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NameDiffers { .. } | Self::BadName(_) => "BadName",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::ProfileMissing { .. } => "ProfileMissing",
            Self::BadImage(_) => "BadImage",
            Self::BadQuantity { .. } => "BadQuantity",
            Self::RequestAboveLimit { .. } => "RequestAboveLimit",
            Self::BadConstraint(_) => "BadConstraint",
            Self::BadAnnotation { .. } => "BadAnnotation",
            Self::AnnotationsTooLarge { .. } => "AnnotationsTooLarge",
            Self::NameTaken { .. } | Self::ClaimTaken { .. } => "NameTaken",
            Self::Refused { .. } => "Refused",
        }
    }

    /// When to look again though nothing that is watched has changed; `None` when a watch tells.
    #[must_use]
    pub fn look_again(&self) -> Option<Duration> {
        match self {
            Self::NameTaken { .. } | Self::ClaimTaken { .. } => Some(Duration::from_secs(15)),
            Self::Refused { .. } => Some(Duration::from_secs(60)),
            _ => None,
        }
    }

    pub(crate) fn annotation(name: &str, value: &str, why: impl ToString) -> Self {
        Self::BadAnnotation { name: name.to_owned(), value: value.chars().take(80).collect(), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_and_several_are_both_said_in_plain_words() {
        let missing = |names: &[&str]| Stalled::SecretMissing {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            namespace: "shop".to_owned(),
        };
        assert!(missing(&["key"]).to_string().starts_with("secret key is not in namespace shop: create it ("));
        assert!(missing(&["a", "b"]).to_string().ends_with("or take them out of spec.secrets"));
    }
}
