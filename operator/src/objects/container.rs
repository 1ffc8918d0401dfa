//! The pod: one container that may do nothing but serve. The strictest of Kubernetes' Pod Security Standards,
//! `restricted`, lets it pass.

use super::data::Data;
use super::probe::Probes;
use super::profile::{self, Merged};
use super::secrets::Secrets;
use super::{PORT, PORT_NAME, placement, resources};
use crate::{Config, Stalled};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, Lifecycle, LifecycleHandler,
    PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, SleepAction, Volume, VolumeMount,
};
use kubernetes::{FunctionSpec, label};
use std::time::Duration;
use wire::env;
use wire::function::{FunctionDeployment, TextMap};

/// Who a function runs as, unless its profile says otherwise, and who owns its data directory.
const USER: i64 = 12000;
const TEMPORARY: (&str, &str) = ("temp", "/tmp");
/// How long a replica serves on before it is told to stop: until everyone has heard that it is to be left alone.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a watchdog takes new calls once it is told to stop. By then none come, see [`SETTLE`].
const ENV_HEALTHCHECK_INTERVAL: &str = "healthcheck_interval";
const HEALTHCHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a call may take, and so how long the last ones may, once a replica is told to stop.
const ENV_WRITE_TIMEOUT: &str = "write_timeout";
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the process to end after its last call.
const EXIT: Duration = Duration::from_secs(2);

pub(super) fn pod(
    name: &str,
    deployment: &FunctionDeployment,
    spec: &FunctionSpec,
    profile: &Merged,
    secrets: &Secrets,
    data: Option<&Data>,
    config: &Config,
) -> Result<PodSpec, Stalled> {
    let read_only = spec.read_only_root_filesystem.unwrap_or(config.readonly_root);
    let temporary = read_only.then(temporary);
    let volumes = [temporary, secrets.volume(), data.map(|data| data.volume(name))];
    let (volumes, mounts): (Vec<_>, Vec<_>) = volumes.into_iter().flatten().unzip();
    let probes = Probes::of(&deployment.annotations, &config.probes)?;
    let account = deployment.annotations.get(label::SERVICE_ACCOUNT).filter(|account| !account.is_empty());
    let container = Container {
        name: name.to_owned(),
        image: Some(deployment.image.clone()),
        image_pull_policy: Some(config.image_pull_policy.clone()),
        env: Some(variables(deployment, data, config)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        startup_probe: Some(probes.startup),
        readiness_probe: Some(probes.readiness),
        liveness_probe: Some(probes.liveness),
        lifecycle: Some(settle()),
        resources: Some(resources::requirements(spec, profile.spec.resources.as_ref(), &config.resources)?),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(read_only),
            ..SecurityContext::default()
        }),
        volume_mounts: some(mounts),
        ..Container::default()
    };
    Ok(PodSpec {
        containers: vec![container],
        volumes: some(volumes),
        security_context: Some(security(profile, data.is_some(), config)),
        automount_service_account_token: Some(account.is_some()),
        service_account_name: account.cloned(),
        enable_service_links: Some(false),
        image_pull_secrets: secrets.pull(),
        node_selector: placement::node_selector(&deployment.constraints)?,
        termination_grace_period_seconds: Some(grace(&deployment.env_vars)),
        tolerations: profile.spec.tolerations.clone(),
        runtime_class_name: profile.spec.runtime_class_name.clone(),
        affinity: profile.spec.affinity.clone(),
        topology_spread_constraints: profile.spec.topology_spread_constraints.clone(),
        dns_policy: profile.spec.dns_policy.clone(),
        dns_config: profile.spec.dns_config.clone(),
        priority_class_name: profile.spec.priority_class_name.clone(),
        ..PodSpec::default()
    })
}

/// What was deployed wins over defaults, but not over what the replica cannot be reached or cannot work without.
fn variables(deployment: &FunctionDeployment, data: Option<&Data>, config: &Config) -> Vec<EnvVar> {
    let mut variables = TextMap::new();
    let mut set = |key: &str, value: &str| drop(variables.insert(key.to_owned(), value.to_owned()));
    set(env::GATEWAY_URL, &config.gateway_url);
    set(ENV_HEALTHCHECK_INTERVAL, &wire::duration::format(HEALTHCHECK_INTERVAL));
    deployment.env_vars.iter().for_each(|(key, value)| set(key, value));
    if !deployment.env_process.is_empty() {
        set(env::FPROCESS, &deployment.env_process);
    }
    set(env::FUNCTION_NAME, &deployment.service);
    set(env::FUNCTION_NAMESPACE, &deployment.namespace);
    set(env::SECRET_MOUNT_PATH, wire::SECRET_MOUNT_PATH);
    set(env::PORT, &PORT.to_string());
    if let Some(data) = data {
        set(env::DATA_PATH, &data.path);
    }
    let variable = |(name, value)| EnvVar { name, value: Some(value), value_from: None };
    variables.into_iter().map(variable).collect()
}

fn security(profile: &Merged, data: bool, config: &Config) -> PodSecurityContext {
    let mut context = Some(PodSecurityContext {
        // `restricted` wants it said, whatever the image's user is; a Profile may say otherwise.
        run_as_non_root: Some(true),
        run_as_user: config.nonroot_user.then_some(USER),
        run_as_group: config.nonroot_user.then_some(USER),
        fs_group: data.then_some(USER),
        fs_group_change_policy: data.then(|| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    });
    profile::fields(&mut context, profile.spec.pod_security_context.as_ref());
    context.unwrap_or_default()
}

fn temporary() -> (Volume, VolumeMount) {
    let (name, path) = TEMPORARY;
    let volume =
        Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    (volume, VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() })
}

/// Without a process in the container: images may hold no other than the function's.
fn settle() -> Lifecycle {
    let sleep = SleepAction { seconds: i64::try_from(SETTLE.as_secs()).unwrap_or(i64::MAX) };
    let handler = LifecycleHandler { sleep: Some(sleep), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() }
}

/// From being told to stop until being killed: a call that has just begun may take its whole time.
fn grace(variables: &TextMap) -> i64 {
    let read = |name: &str, default| {
        let given = variables.get(name).and_then(|text| wire::duration::parse(text).ok());
        given.unwrap_or(default)
    };
    let total =
        SETTLE + read(ENV_HEALTHCHECK_INTERVAL, HEALTHCHECK_INTERVAL) + read(ENV_WRITE_TIMEOUT, WRITE_TIMEOUT) + EXIT;
    i64::try_from(total.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}
