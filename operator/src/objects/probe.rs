//! Probes: by HTTP, on the paths and at the times a function's annotations name.
//!
//! Both ask the health path unless told otherwise: that is the one path every watchdog answers. `/_/ready` is not: a
//! classic watchdog takes it for a call of the function, and others answer 429 there under load, which would take the
//! last replica out of service. A third probe covers the start: it looks every second, so that a function is called as
//! soon as it can be, and gives a slow one a minute before liveness counts.

use super::{PORT, PORT_NAME};
use crate::Stalled;
use crate::config::{Probe as Settings, Probes as Defaults};
use k8s_openapi::api::core::v1::{HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wire::annotation::{HEALTH_PATH, HEALTH_PROBE, READY_PATH, READY_PROBE};
use wire::function::TextMap;

const DEFAULT_PATH: &str = "/_/health";
/// How often the start is looked at, in seconds.
const START_PERIOD: i32 = 1;
/// How many looks a start is given.
const START_LOOKS: i32 = 60;

/// The probes of a function.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) startup: Probe,
    pub(super) readiness: Probe,
    pub(super) liveness: Probe,
}

impl Probes {
    pub(super) fn of(annotations: &TextMap, defaults: &Defaults) -> Result<Self, Stalled> {
        let health = path(annotations, HEALTH_PATH)?;
        let ready = path(annotations, READY_PATH)?.or_else(|| health.clone());
        let liveness = settings(annotations, HEALTH_PROBE, defaults.liveness)?;
        let readiness = settings(annotations, READY_PROBE, defaults.readiness)?;
        let start = Settings {
            initial_delay: readiness.initial_delay,
            period: START_PERIOD,
            timeout: readiness.timeout,
            successes: 1,
            failures: liveness.initial_delay.saturating_add(START_LOOKS),
        };
        let probe = |path: &Option<String>, settings: Settings| probe(path.as_deref(), settings, defaults.http);
        Ok(Self {
            startup: probe(&ready, start),
            readiness: probe(&ready, readiness),
            // Kubernetes allows no other number of successes.
            liveness: probe(&health, Settings { successes: 1, ..liveness }),
        })
    }
}

fn probe(path: Option<&str>, settings: Settings, http: bool) -> Probe {
    let port = IntOrString::String(PORT_NAME.to_owned());
    let mut probe = Probe {
        initial_delay_seconds: Some(settings.initial_delay).filter(|&delay| delay > 0),
        period_seconds: Some(settings.period),
        timeout_seconds: Some(settings.timeout),
        success_threshold: Some(settings.successes),
        failure_threshold: Some(settings.failures),
        ..Probe::default()
    };
    // Who names a path serves HTTP.
    if http || path.is_some() {
        let path = path.unwrap_or(DEFAULT_PATH).to_owned();
        probe.http_get =
            Some(HTTPGetAction { path: Some(path), port, scheme: Some("HTTP".to_owned()), ..Default::default() });
    } else {
        probe.tcp_socket = Some(TCPSocketAction { port: IntOrString::Int(PORT), host: None });
    }
    probe
}

fn path(annotations: &TextMap, name: &str) -> Result<Option<String>, Stalled> {
    let Some(path) = annotations.get(name).map(|path| path.trim()).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    if !path.starts_with('/') {
        return Err(Stalled::annotation(name, path, "give a path that begins with /"));
    }
    Ok(Some(path.to_owned()))
}

fn settings(annotations: &TextMap, prefix: &str, defaults: Settings) -> Result<Settings, Stalled> {
    let seconds = |name: &str, default: i32, least: i32| {
        // Also as it was written once, without the unit in the name.
        let short = name.strip_suffix("Seconds").unwrap_or(name);
        let found = [name, short].into_iter().find_map(|name| annotations.get_key_value(&format!("{prefix}{name}")));
        let Some((key, text)) = found else { return Ok(default) };
        let refuse = || Stalled::annotation(key, text, format!("give whole seconds from {least} on, like 5 or 30s"));
        let duration = wire::duration::parse(text).map_err(|_| refuse())?;
        let value = i32::try_from(duration.as_millis().div_ceil(1000)).map_err(|_| refuse())?;
        if value < least { Err(refuse()) } else { Ok(value) }
    };
    let times = |name: &str, default: i32| {
        let Some((key, text)) = annotations.get_key_value(&format!("{prefix}{name}")) else { return Ok(default) };
        let times: Option<i32> = text.trim().parse().ok().filter(|&times| times > 0);
        times.ok_or_else(|| Stalled::annotation(key, text, "give a number from 1 on"))
    };
    Ok(Settings {
        initial_delay: seconds("initialDelaySeconds", defaults.initial_delay, 0)?,
        period: seconds("periodSeconds", defaults.period, 1)?,
        timeout: seconds("timeoutSeconds", defaults.timeout, 1)?,
        successes: times("successThreshold", defaults.successes)?,
        failures: times("failureThreshold", defaults.failures)?,
    })
}
