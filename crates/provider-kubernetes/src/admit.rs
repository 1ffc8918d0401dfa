//! What a deployment must be before it becomes an object: what the cluster would refuse later is refused now, where the
//! one who deploys sees it.

use kubernetes::label;
use provider::check::{self, Checked};
use provider::{ProviderError, Result};
use wire::function::{FunctionDeployment, TextMap};
use wire::{annotation, quantity};

/// All annotations of an object together, in bytes: the function's are on its pods too.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// The longest name part of a label or annotation, and the longest label value.
const MAX_PART: usize = 63;

/// Checks a deployment against the rules of every provider and of Kubernetes; gives it as it is kept.
pub(crate) fn deployment(mut deployment: FunctionDeployment) -> Result<(Checked, FunctionDeployment)> {
    // These are ours to say: who deploys what another one was described with does not mean them.
    for said in [annotation::STATUS, annotation::ISOLATION_GIVEN, label::ORIGIN] {
        deployment.annotations.remove(said);
    }
    let checked = check::deployment(&deployment)?;
    let name = checked.name.name();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(ProviderError::Invalid(format!(
            "service: {name:?} cannot be the name of a Kubernetes Service: begin it with a letter"
        )));
    }
    labels(&deployment.labels)?;
    annotations(&deployment.annotations)?;
    deployment.constraints.iter().try_for_each(|text| constraint(text))?;
    resources(&deployment)?;
    check::replicas(&deployment, checked.at_least)?;
    checked.name.namespace().clone_into(&mut deployment.namespace);
    Ok((checked, deployment))
}

fn labels(labels: &TextMap) -> Result<()> {
    for (key, value) in labels {
        if !is_key(key) || !(value.is_empty() || is_part(value)) {
            return Err(ProviderError::Invalid(format!(
                "label {}={}: Kubernetes takes letters, digits, '-', '_' and '.' in labels, up to {MAX_PART}, with a \
                 letter or digit at both ends; put anything else into an annotation",
                shortened(key),
                shortened(value)
            )));
        }
        if key == label::FUNCTION || key == label::MANAGED_BY {
            return Err(ProviderError::Invalid(format!(
                "label {key}: is the platform's: what belongs to a function is found by it; choose another name"
            )));
        }
    }
    Ok(())
}

fn annotations(annotations: &TextMap) -> Result<()> {
    if let Some(key) = annotations.keys().find(|key| !is_key(key)) {
        return Err(ProviderError::Invalid(format!(
            "annotation {}: is no name of an annotation, such as example.com/owner",
            shortened(key)
        )));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    match size <= MAX_ANNOTATIONS {
        true => Ok(()),
        false => Err(ProviderError::Invalid(format!(
            "annotations: {size} bytes are too many, Kubernetes takes {MAX_ANNOTATIONS}: keep large values in a secret \
             or in the image"
        ))),
    }
}

/// `label=value` of a node.
fn constraint(text: &str) -> Result<()> {
    let pair = text.split_once('=').map(|(key, value)| (key.trim(), value.trim_start_matches('=').trim()));
    match pair {
        Some((key, value)) if is_key(key) && (value.is_empty() || is_part(value)) => Ok(()),
        _ => Err(ProviderError::Invalid(format!(
            "constraint {:?}: give a node's label and its value, such as kubernetes.io/arch=arm64",
            shortened(text)
        ))),
    }
}

/// Nothing may be set aside beyond what may be used.
fn resources(deployment: &FunctionDeployment) -> Result<()> {
    let (Some(limits), Some(requests)) = (&deployment.limits, &deployment.requests) else { return Ok(()) };
    for (what, limit, request, read) in [
        ("memory", &limits.memory, &requests.memory, quantity::memory as fn(&str) -> _),
        ("cpu", &limits.cpu, &requests.cpu, quantity::cpu),
    ] {
        // What is empty is not set.
        if let (Ok(most), Ok(asked)) = (read(limit), read(request))
            && asked > most
        {
            return Err(ProviderError::Invalid(format!(
                "requests.{what}: {request} is more than limits.{what} allows ({limit})"
            )));
        }
    }
    Ok(())
}

/// Whether it is `name` or `domain/name`.
pub(crate) fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_part(key),
        Some((domain, name)) => wire::name::check_subdomain("domain", domain).is_ok() && is_part(name),
    }
}

fn is_part(part: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = part.as_bytes();
    part.len() <= MAX_PART
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::function::Resources;

    fn of(change: impl FnOnce(&mut FunctionDeployment)) -> Result<(Checked, FunctionDeployment)> {
        let mut wanted = FunctionDeployment {
            service: "hello".to_owned(),
            image: "owner/hello:1".to_owned(),
            ..FunctionDeployment::default()
        };
        change(&mut wanted);
        deployment(wanted)
    }

    fn put(map: &mut TextMap, key: &str, value: &str) {
        map.insert(key.to_owned(), value.to_owned());
    }

    #[test]
    fn what_kubernetes_would_refuse_is_refused_with_the_reason() {
        let long = "x".repeat(64);
        let refused = [
            (of(|wanted| "1hello".clone_into(&mut wanted.service)), "1hello"),
            (of(|wanted| put(&mut wanted.labels, "team", "core team")), "core team"),
            (of(|wanted| put(&mut wanted.labels, "a b", "core")), "a b"),
            (of(|wanted| put(&mut wanted.labels, "team", &long)), "team"),
            (of(|wanted| put(&mut wanted.labels, "team", "-x")), "team"),
            (of(|wanted| put(&mut wanted.labels, label::FUNCTION, "other")), label::FUNCTION),
            (of(|wanted| wanted.constraints.push("disk".to_owned())), "disk"),
            (of(|wanted| wanted.constraints.push("node.hostname != a".to_owned())), "node.hostname"),
            (
                of(|wanted| {
                    let memory = |text: &str| Some(Resources { memory: text.to_owned(), ..Resources::default() });
                    (wanted.limits, wanted.requests) = (memory("64Mi"), memory("65Mi"));
                }),
                "requests.memory",
            ),
            (of(|wanted| put(&mut wanted.annotations, "a b", "")), "a b"),
            (of(|wanted| put(&mut wanted.annotations, "a/b/c", "")), "a/b/c"),
            (
                of(|wanted| {
                    put(&mut wanted.annotations, "a", &"x".repeat(200 * 1024));
                    put(&mut wanted.annotations, "b", &"x".repeat(100 * 1024));
                }),
                "annotations",
            ),
            (
                of(|wanted| {
                    put(&mut wanted.annotations, annotation::DATA_PATH, "/data");
                    put(&mut wanted.labels, wire::label::SCALE_MIN, "2");
                }),
                annotation::DATA_PATH,
            ),
        ];
        for (result, named) in refused {
            let Err(ProviderError::Invalid(text)) = result else { panic!("{named} was taken") };
            assert!(text.contains(named), "{text} does not name {named}");
        }
    }

    #[test]
    fn what_we_say_of_a_function_is_not_deployed() {
        let (checked, wanted) = of(|wanted| {
            for said in [annotation::STATUS, label::ORIGIN, "example.com/owner"] {
                put(&mut wanted.annotations, said, "x");
            }
            put(&mut wanted.labels, "com.openfaas.scale.max", "5");
            put(&mut wanted.labels, "empty", "");
            wanted.constraints = ["disk=ssd", "kubernetes.io/arch == arm64"].map(str::to_owned).into();
        })
        .unwrap();
        assert_eq!(wanted.annotations.keys().collect::<Vec<_>>(), ["example.com/owner"]);
        assert_eq!(wanted.namespace, checked.name.namespace());
    }
}
