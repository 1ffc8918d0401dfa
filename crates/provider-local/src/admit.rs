//! What a deployment must be before anything of it happens: whatever can be checked without starting it.

use crate::data::Data;
use crate::desired;
use crate::images::Images;
use crate::isolation::Isolation;
use crate::namespaces::Namespaces;
use crate::secrets::Secrets;
use image::Image;
use provider::check::{self, Checked};
use provider::{ProviderError, Result};
use sandbox::Level;
use std::path::Path;
use wire::annotation;
use wire::function::FunctionDeployment;

/// Places inside that are every function's.
const TAKEN: [&str; 6] = ["/proc", "/dev", "/etc", "/tmp", "/run/crema", "/var/openfaas"];

/// A deployment that can be taken.
pub(crate) struct Admitted {
    pub(crate) checked: Checked,
    /// As it is kept: its namespace written out.
    pub(crate) deployment: FunctionDeployment,
    pub(crate) image: Image,
}

/// Checks a deployment against the rules and against what is there.
pub(crate) fn admit(
    deployment: FunctionDeployment,
    namespaces: &Namespaces,
    secrets: &Secrets,
    images: &Images,
    isolation: &Isolation,
) -> Result<Admitted> {
    let checked = check::deployment(&deployment)?;
    namespaces.find(checked.name.namespace())?;
    for secret in &deployment.secrets {
        if !secrets.has(checked.name.namespace(), secret) {
            return Err(check::missing_secret(&checked.name, secret));
        }
    }
    check::replicas(&deployment, checked.at_least)?;
    data_path(&deployment)?;
    let image = images.find(&checked.image)?;
    isolation.admit(&deployment, &image)?;
    let deployment = FunctionDeployment { namespace: checked.name.namespace().to_owned(), ..deployment };
    Ok(Admitted { checked, deployment, image })
}

/// What was deployed and is kept, but not enforced at this level of isolation; `None` when there is nothing.
pub(crate) fn not_enforced(deployment: &FunctionDeployment, isolation: &Isolation, data: &Data) -> Option<String> {
    let (memory, cpu) = isolation.controlled();
    // Without control groups each process's own private memory is bounded.
    let memory = memory || isolation.level() >= Level::Process;
    let limits = deployment.limits.as_ref();
    let given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let has_root = isolation.level() >= Level::Userns;
    let named = [
        (!memory && given(limits.map(|limits| limits.memory.as_str())), "limits.memory"),
        (!cpu && given(limits.map(|limits| limits.cpu.as_str())), "limits.cpu"),
        (deployment.requests.is_some(), "requests"),
        (!has_root && deployment.read_only_root_filesystem, "readOnlyRootFilesystem"),
        (!deployment.constraints.is_empty(), "constraints"),
    ];
    let mut named: Vec<String> = named.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned()).collect();
    if check::has_data(&deployment.annotations)
        && desired::data_size(deployment).is_some()
        && let Err(why) = data.can_bound(isolation.has_users())
    {
        named.push(format!("{} (it is measured: {why})", annotation::DATA_SIZE));
    }
    (!named.is_empty()).then(|| {
        format!("kept and reported, but not enforced at isolation level {}: {}", isolation.level(), named.join(", "))
    })
}

/// Checks that a data directory is not where something else is.
fn data_path(deployment: &FunctionDeployment) -> Result<()> {
    let Some(path) = deployment.annotations.get(annotation::DATA_PATH) else { return Ok(()) };
    let path = Path::new(path);
    match TAKEN.iter().find(|taken| path.starts_with(taken) || Path::new(taken).starts_with(path)) {
        None => Ok(()),
        Some(taken) => Err(ProviderError::Invalid(format!(
            "annotation {}: {} cannot be a data directory, since {taken} is what every function has there; give another \
             path, such as /data",
            annotation::DATA_PATH,
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_not_put_where_something_else_is() {
        let check = |path: &str| {
            let annotations = [(annotation::DATA_PATH.to_owned(), path.to_owned())].into();
            data_path(&FunctionDeployment { annotations, ..FunctionDeployment::default() })
        };
        for good in ["/data", "/var/lib/shop", "/run/shop", "/etcetera"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["/", "/etc", "/proc/1", "/tmp/x", "/run", "/var", "/var/openfaas/secrets", "/run/crema/x"] {
            assert!(matches!(check(bad), Err(ProviderError::Invalid(_))), "{bad}");
        }
    }
}
