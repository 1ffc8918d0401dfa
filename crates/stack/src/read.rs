//! From the file to the stack: substitution, checks, environment files, template.

use crate::error::StackError;
use crate::expand::expand;
use crate::yaml::{self, Document, EnvironmentFile, FunctionEntry, Template};
use crate::{Function, Stack};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wire::function::TextMap;
use wire::image_reference::ImageReference;

pub(crate) fn stack(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Stack, StackError> {
    let raw = text_of(path, "write one, or name another with -f")?;
    let text =
        expand(&raw, variable).map_err(|error| StackError::new(path, error.to_string()).at_line(Some(error.line())))?;
    let document: Document = yaml::first(path, &text)?;
    let provider = document.provider.unwrap_or_default();
    check(path, document.version.as_deref(), provider.name.as_deref())?;
    let functions = document.functions.unwrap_or_default();
    if functions.is_empty() {
        return Err(StackError::new(path, "it has no functions; add one under `functions:`"));
    }
    let functions = functions
        .into_iter()
        .map(|(name, entry)| function(path, name, entry.unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    let gateway = provider.gateway.filter(|url| !url.is_empty());
    let generate_secrets = document.extension.unwrap_or_default().generate_secrets;
    Ok(Stack { path: path.to_owned(), gateway, functions, generate_secrets })
}

fn check(path: &Path, version: Option<&str>, provider: Option<&str>) -> Result<(), StackError> {
    match version {
        None | Some("" | "1.0") => {}
        Some(other) => {
            let why = format!("version {other} is not known; write `version: 1.0` or leave it out");
            return Err(StackError::new(path, why));
        }
    }
    match provider {
        Some("openfaas") => Ok(()),
        Some(other) => {
            let why = format!("provider {other:?} is not known; write `provider: {{name: openfaas}}`");
            Err(StackError::new(path, why))
        }
        None => Err(StackError::new(path, "it names no provider; write `provider: {name: openfaas}`")),
    }
}

fn function(path: &Path, name: String, entry: FunctionEntry) -> Result<Function, StackError> {
    let refuse = |why: String| StackError::new(path, format!("function {name}: {why}"));
    if entry.image.is_empty() {
        return Err(refuse("it has no image; add one like `image: ghcr.io/owner/name:1.0.0`".to_owned()));
    }
    // What is no reference goes to the gateway as it is, which refuses it by name.
    let image = entry.image.parse::<ImageReference>().map_or(entry.image, |image| image.canonical());
    let environment = environment(path, &name, entry.environment, &entry.environment_file)?;
    let fprocess = match entry.fprocess {
        given if !given.is_empty() => given,
        _ => template_process(path, &entry.lang)?,
    };
    Ok(Function {
        name,
        lang: entry.lang,
        handler: entry.handler.into(),
        image,
        fprocess,
        environment,
        secrets: entry.secrets,
        constraints: entry.constraints,
        labels: entry.labels,
        annotations: entry.annotations,
        limits: entry.limits.map(Into::into),
        requests: entry.requests.map(Into::into),
        readonly_root_filesystem: entry.readonly_root_filesystem.unwrap_or_default(),
        skip_build: entry.skip_build.unwrap_or_default(),
        namespace: entry.namespace,
        build_args: entry.build_args,
    })
}

/// The function's environment with each file's on top of what was before.
fn environment(stack: &Path, name: &str, own: TextMap, files: &[PathBuf]) -> Result<TextMap, StackError> {
    files.iter().try_fold(own, |mut environment, file| {
        let advice = format!("function {name} of {} names it under environment_file", stack.display());
        let place = locate(stack, file);
        let read: EnvironmentFile = yaml::first(&place, &text_of(&place, &advice)?)?;
        environment.extend(read.environment);
        Ok(environment)
    })
}

/// The process the template of a language runs; nothing where there is no template.
fn template_process(stack: &Path, lang: &str) -> Result<String, StackError> {
    let plain = lang.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if lang.is_empty() || !plain || lang.starts_with('.') || lang.eq_ignore_ascii_case("dockerfile") {
        return Ok(String::new());
    }
    let place = locate(stack, &Path::new("template").join(lang).join("template.yml"));
    if !place.exists() {
        return Ok(String::new());
    }
    let template: Template = yaml::first(&place, &text_of(&place, "look at its permissions")?)?;
    Ok(template.fprocess)
}

/// A path of a stack file: from the working directory, or where nothing is there from the file's folder.
pub(crate) fn locate(stack: &Path, path: &Path) -> PathBuf {
    let beside = stack.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path));
    if path.exists() || !beside.exists() { path.to_owned() } else { beside }
}

fn text_of(path: &Path, advice: &str) -> Result<String, StackError> {
    /// A stack file larger than this is none.
    const MOST: u64 = 4 * 1024 * 1024;
    let refuse = |why: &str| StackError::new(path, format!("{why}; {advice}"));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(refuse("it is a directory")),
        Ok(found) if found.len() > MOST => return Err(refuse("it is larger than 4 MiB")),
        _ => {}
    }
    fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => refuse("there is no such file"),
        ErrorKind::InvalidData => refuse("it is not UTF-8 text"),
        _ => refuse(&format!("it cannot be read: {error}")),
    })
}
