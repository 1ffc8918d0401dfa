//! What can be said against a deployment without knowing who will run it; every provider refuses the same.

use crate::{ProviderError, Result};
use std::fmt::Display;
use wire::FunctionName;
use wire::function::{FunctionDeployment, Resources, TextMap};
use wire::image_reference::ImageReference;
use wire::{annotation, duration, label, name, quantity};

/// The longest annotation value, label value or environment value, in bytes.
const MAX_VALUE: usize = 256 * 1024;

/// A deployment that passed [`deployment`]: its name and image, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The function.
    pub name: FunctionName,
    /// Its image.
    pub image: ImageReference,
    /// Replicas to start with and to start when a call finds none: the label `com.openfaas.scale.min`, or 1.
    pub at_least: u32,
}

/// Checks names, image reference, quantities, scale labels, our annotations and environment names. Whether image and
/// secrets exist is for the provider to see.
pub fn deployment(deployment: &FunctionDeployment) -> Result<Checked> {
    if deployment.service.is_empty() {
        return Err(ProviderError::Invalid("service: is required: name the function".to_owned()));
    }
    let name = FunctionName::new(&deployment.service, &deployment.namespace).map_err(invalid)?;
    if deployment.image.is_empty() {
        return Err(ProviderError::Invalid(
            "image: is required: give an image reference like ghcr.io/owner/name:1.0.0".to_owned(),
        ));
    }
    let image = deployment.image.parse().map_err(invalid)?;
    resources("limits", deployment.limits.as_ref())?;
    resources("requests", deployment.requests.as_ref())?;
    deployment.secrets.iter().try_for_each(|secret| name::check_subdomain("secret name", secret).map_err(invalid))?;
    deployment.env_vars.iter().try_for_each(|(key, value)| variable(key, value))?;
    if deployment.env_process.contains('\0') {
        return Err(ProviderError::Invalid("envProcess: holds a NUL character".to_owned()));
    }
    annotations(&deployment.annotations)?;
    let at_least = scale_labels(&deployment.labels)?;
    Ok(Checked { name, image, at_least })
}

/// Checks a namespace's name.
pub fn namespace(name: &str) -> Result<()> {
    name::check_label("namespace", name).map_err(invalid)
}

/// Checks a secret's name.
pub fn secret(name: &str) -> Result<()> {
    name::check_subdomain("secret name", name).map_err(invalid)
}

/// Checks that a function may have so many replicas.
pub fn replicas(deployment: &FunctionDeployment, replicas: u32) -> Result<()> {
    let service = &deployment.service;
    if replicas > 1 && has_data(&deployment.annotations) {
        return Err(ProviderError::Invalid(format!(
            "function {service} has a data directory (annotation {}), which two replicas must not share: it can be \
             scaled to 0 and 1, not to {replicas}",
            annotation::DATA_PATH
        )));
    }
    if replicas > MAX_REPLICAS {
        return Err(ProviderError::Invalid(format!(
            "{replicas} replicas of {service} are too many: a function has {MAX_REPLICAS} at most"
        )));
    }
    Ok(())
}

/// Whether a function has a data directory: then it has one replica at most, and an update stops it first.
#[must_use]
pub fn has_data(annotations: &TextMap) -> bool {
    annotations.contains_key(annotation::DATA_PATH)
}

/// The error of a deployment that mounts a secret its namespace does not have. It is [`ProviderError::Invalid`]: the
/// function may well exist.
#[must_use]
pub fn missing_secret(function: &FunctionName, secret: &str) -> ProviderError {
    let namespace = function.namespace();
    ProviderError::Invalid(format!(
        "function {function} mounts the secret {secret}, which namespace {namespace} does not have: make it with \
         faas-cli secret create {secret} --namespace {namespace}"
    ))
}

fn invalid(error: impl Display) -> ProviderError {
    ProviderError::Invalid(error.to_string())
}

fn resources(field: &str, resources: Option<&Resources>) -> Result<()> {
    let Some(Resources { memory, cpu, .. }) = resources else { return Ok(()) };
    let refuse = |part: &str, error| ProviderError::Invalid(format!("{field}.{part}: {error}"));
    if !memory.is_empty() {
        quantity::memory(memory).map_err(|error| refuse("memory", error))?;
    }
    if !cpu.is_empty() {
        quantity::cpu(cpu).map_err(|error| refuse("cpu", error))?;
    }
    Ok(())
}

fn variable(key: &str, value: &str) -> Result<()> {
    if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
        let key: String = key.chars().take(80).collect();
        return Err(ProviderError::Invalid(format!(
            "envVars: {key:?} cannot be an environment variable: a name is not empty and holds no '=', and neither \
             name nor value holds a NUL character"
        )));
    }
    short("envVars", key, value)
}

fn short(field: &str, key: &str, value: &str) -> Result<()> {
    if key.len() + value.len() <= MAX_VALUE {
        return Ok(());
    }
    let key: String = key.chars().take(80).collect();
    Err(ProviderError::Invalid(format!(
        "{field}: {key:?} is longer than {} KiB: keep large values in a secret or in the image",
        MAX_VALUE / 1024
    )))
}

fn annotations(annotations: &TextMap) -> Result<()> {
    let refuse = |key: &str, error: &dyn Display| ProviderError::Invalid(format!("annotation {key}: {error}"));
    for (key, value) in annotations {
        short("annotations", key, value)?;
        match key.as_str() {
            annotation::DATA_PATH if !is_data_path(value) => {
                return Err(refuse(key, &"is not an absolute path without '..', such as /home/app/data"));
            }
            annotation::DATA_SIZE => quantity::memory(value).map(|_| ()).map_err(|error| refuse(key, &error))?,
            annotation::RETRY_MIN_WAIT | annotation::RETRY_MAX_WAIT => {
                duration::parse(value).map(|_| ()).map_err(|error| refuse(key, &error))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_data_path(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..")
}

/// Checks the labels that steer scaling; gives the fewest replicas.
fn scale_labels(labels: &TextMap) -> Result<u32> {
    labels.iter().try_for_each(|(key, value)| short("labels", key, value))?;
    let least = count(labels, label::SCALE_MIN, 0)?;
    let most = count(labels, label::SCALE_MAX, 1)?;
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(ProviderError::Invalid(format!(
            "label {}: {least} is more than {} allows ({most})",
            label::SCALE_MIN,
            label::SCALE_MAX
        )));
    }
    if count(labels, label::SCALE_FACTOR, 0)?.is_some_and(|factor| factor > 100) {
        return Err(ProviderError::Invalid(format!("label {}: give a percentage from 0 to 100", label::SCALE_FACTOR)));
    }
    match labels.get(label::SCALE_ZERO).map(String::as_str) {
        None | Some("" | "true" | "false" | "1" | "0") => {}
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            return Err(ProviderError::Invalid(format!("label {}: {other:?}: give true or false", label::SCALE_ZERO)));
        }
    }
    Ok(least.unwrap_or(1).max(1))
}

/// The most replicas a label or a client may ask for: more is a slip of the finger, on whatever runs them.
pub const MAX_REPLICAS: u32 = 1000;

fn count(labels: &TextMap, key: &str, least: u32) -> Result<Option<u32>> {
    let Some(text) = labels.get(key) else { return Ok(None) };
    match text.trim().parse::<u32>() {
        Ok(value) if (least..=MAX_REPLICAS).contains(&value) => Ok(Some(value)),
        _ => {
            let text: String = text.chars().take(40).collect();
            Err(ProviderError::Invalid(format!(
                "label {key}: {text:?}: give a whole number from {least} to {MAX_REPLICAS}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut FunctionDeployment)) -> FunctionDeployment {
        let mut deployment = FunctionDeployment {
            service: "hello".to_owned(),
            image: "owner/hello:1".to_owned(),
            ..FunctionDeployment::default()
        };
        change(&mut deployment);
        deployment
    }

    #[test]
    fn what_is_wrong_is_named() {
        let labelled =
            |key: &str, value: &str| of(|deployment| drop(deployment.labels.insert(key.to_owned(), value.to_owned())));
        let annotated = |key: &str, value: &str| {
            of(|deployment| drop(deployment.annotations.insert(key.to_owned(), value.to_owned())))
        };
        let variable = |key: &str, value: &str| {
            of(|deployment| drop(deployment.env_vars.insert(key.to_owned(), value.to_owned())))
        };
        let memory = |text: &str| Some(Resources { memory: text.to_owned(), ..Resources::default() });
        for (deployment, named) in [
            (of(|deployment| deployment.service.clear()), "service"),
            (of(|deployment| "../x".clone_into(&mut deployment.service)), "../x"),
            (of(|deployment| "Up".clone_into(&mut deployment.namespace)), "namespace"),
            (of(|deployment| deployment.image.clear()), "image"),
            (of(|deployment| "a b".clone_into(&mut deployment.image)), "a b"),
            (of(|deployment| deployment.limits = memory("12XB")), "limits.memory"),
            (of(|deployment| deployment.requests = memory("-1")), "requests.memory"),
            (of(|deployment| deployment.secrets.push("../x".to_owned())), "secret"),
            (labelled(label::SCALE_MIN, "many"), label::SCALE_MIN),
            (labelled(label::SCALE_MIN, "-1"), label::SCALE_MIN),
            (labelled(label::SCALE_MAX, "0"), label::SCALE_MAX),
            (labelled(label::SCALE_MAX, "99999999999"), label::SCALE_MAX),
            (labelled(label::SCALE_FACTOR, "101"), label::SCALE_FACTOR),
            (labelled(label::SCALE_ZERO, "perhaps"), label::SCALE_ZERO),
            (annotated(annotation::DATA_PATH, "/a/../b"), annotation::DATA_PATH),
            (annotated(annotation::DATA_PATH, "data"), annotation::DATA_PATH),
            (annotated(annotation::DATA_SIZE, "big"), annotation::DATA_SIZE),
            (variable("A=B", "c"), "A=B"),
            (variable("", "c"), "envVars"),
            (variable("A", "\0"), "envVars"),
        ] {
            let error = super::deployment(&deployment).unwrap_err().to_string();
            assert!(error.contains(named), "{error} does not name {named}");
        }
    }

    #[test]
    fn the_fewest_replicas_come_from_the_label_and_are_at_least_one() {
        for (labels, at_least) in [(vec![], 1), (vec![(label::SCALE_MIN, "3")], 3), (vec![(label::SCALE_MIN, "0")], 1)]
        {
            let checked = super::deployment(&of(|deployment| {
                deployment.labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            }))
            .unwrap();
            assert_eq!(checked.at_least, at_least);
        }
    }
}
