//! Probes as annotations give them, in OpenFaaS's words.

use super::DEFAULT_PATH;
use hyper::{StatusCode, Uri};
use std::time::Duration;
use wire::annotation::{HEALTH_PROBE, READY_PROBE};
use wire::function::TextMap;

/// How long one answer about readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same about health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions about health.
pub(super) const DEFAULT_PERIOD: Duration = Duration::from_secs(2);
/// Failures in a row that make a replica sick.
const DEFAULT_FAILURES: u32 = 3;
/// The path SDK and watchdog answer health on.
const HEALTH_PATH: &str = "/_/health";

/// What a function's annotations say of its probes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Probes {
    pub(crate) ready: Probe,
    /// Only a function that asks for it is asked for its health: at rest it is to do nothing.
    pub(crate) health: Option<Health>,
    /// How long a start may take by what the probes allow; 0 when they say nothing.
    pub(crate) start: Duration,
}

/// How to ask.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// `None` is the one of SDK and watchdog.
    pub(crate) path: Option<String>,
    pub(crate) initial_delay: Duration,
    /// `None` is as soon as it makes sense.
    pub(crate) period: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
}

/// The question that goes on while a replica runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    pub(super) probe: Probe,
    pub(super) failures: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { path: None, initial_delay: Duration::ZERO, period: None, timeout: READY_TIMEOUT, successes: 1 }
    }
}

impl Probe {
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(DEFAULT_PATH)
    }

    /// Whether an answer is a yes. Who knows nothing of SDK and watchdog's path, and answers, listens: that is enough.
    pub(super) fn is_passed_by(&self, status: StatusCode) -> bool {
        match self.path {
            Some(_) => status.is_success() || status.is_redirection(),
            None => !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// The annotations of one probe.
struct Settings<'a> {
    annotations: &'a TextMap,
    prefix: &'static str,
}

impl Settings<'_> {
    fn get(&self, name: &str) -> Option<(String, &str)> {
        let key = format!("{}{name}", self.prefix);
        let value = self.annotations.get(&key)?.trim();
        (!value.is_empty()).then_some((key, value))
    }

    fn path(&self) -> Result<Option<String>, String> {
        let Some((key, path)) = self.get("path") else { return Ok(None) };
        let path = format!("/{}", path.trim_start_matches('/'));
        match path.parse::<Uri>() {
            Ok(_) => Ok(Some(path)),
            Err(_) => Err(format!("annotation {key}: {path:?} is no path of a URL, such as /ready")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u32>, String> {
        let Some((key, text)) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= 86_400);
        number.map(Some).ok_or_else(|| format!("annotation {key}: {text:?} is no whole number from 0 to 86400"))
    }

    /// Whole seconds; or, by an older name without `Seconds`, a Go duration.
    fn time(&self, name: &str) -> Result<Option<Duration>, String> {
        if let Some((key, text)) = self.get(name) {
            let time = wire::duration::parse(text).map_err(|error| format!("annotation {key}: {error}"))?;
            return Ok(Some(time));
        }
        let seconds = self.number(&format!("{name}Seconds"))?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }

    fn count(&self, name: &str) -> Result<Option<u32>, String> {
        Ok(self.number(name)?.map(|count| count.max(1)))
    }

    fn is_given(&self) -> bool {
        self.annotations.keys().any(|key| key.starts_with(self.prefix))
    }
}

impl Probes {
    /// Reads them; the error names the annotation and what is wrong with it.
    pub(crate) fn of(annotations: &TextMap) -> Result<Self, String> {
        let settings = Settings { annotations, prefix: READY_PROBE };
        let path_of_health = Settings { annotations, prefix: HEALTH_PROBE }.path()?;
        let defaults = Probe::default();
        let ready = Probe {
            path: settings.path()?.or(path_of_health),
            initial_delay: settings.time("initialDelay")?.unwrap_or_default(),
            period: settings.time("period")?.filter(|period| !period.is_zero()),
            timeout: settings.time("timeout")?.filter(|time| !time.is_zero()).unwrap_or(defaults.timeout),
            successes: settings.count("successThreshold")?.unwrap_or(defaults.successes),
        };
        let failures = settings.count("failureThreshold")?.unwrap_or(DEFAULT_FAILURES);
        let start = ready.initial_delay + ready.period.unwrap_or_default() * failures;
        let health = Health::of(annotations)?;
        let start = start.max(health.as_ref().map_or(Duration::ZERO, Health::start));
        Ok(Self { ready, health, start })
    }
}

impl Health {
    fn of(annotations: &TextMap) -> Result<Option<Self>, String> {
        let settings = Settings { annotations, prefix: HEALTH_PROBE };
        if !settings.is_given() {
            return Ok(None);
        }
        let probe = Probe {
            path: Some(settings.path()?.unwrap_or_else(|| HEALTH_PATH.to_owned())),
            initial_delay: settings.time("initialDelay")?.unwrap_or_default(),
            period: settings.time("period")?.filter(|period| !period.is_zero()),
            timeout: settings.time("timeout")?.filter(|time| !time.is_zero()).unwrap_or(HEALTH_TIMEOUT),
            successes: 1,
        };
        Ok(Some(Self { probe, failures: settings.count("failureThreshold")?.unwrap_or(DEFAULT_FAILURES) }))
    }

    fn start(&self) -> Duration {
        self.probe.initial_delay + self.probe.period.unwrap_or(DEFAULT_PERIOD) * self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(pairs: &[(&str, &str)]) -> Result<Probes, String> {
        let pairs = pairs.iter().map(|(key, value)| (format!("com.openfaas.{key}"), (*value).to_owned()));
        Probes::of(&pairs.collect())
    }

    #[test]
    fn without_annotations_the_first_yes_is_enough_and_health_is_not_asked_for() {
        let none = probes(&[]).unwrap();
        assert_eq!(none, Probes::default());
        assert_eq!((none.ready.path(), none.start), (DEFAULT_PATH, Duration::ZERO));
    }

    #[test]
    fn annotations_are_honoured() {
        let given = probes(&[
            ("health.http.path", "/healthz"),
            ("health.http.initialDelay", "90s"),
            ("ready.http.periodSeconds", "3"),
            ("ready.http.successThreshold", "2"),
            ("ready.http.initialDelaySeconds", "1"),
        ])
        .unwrap();
        assert_eq!(given.ready.path(), "/healthz", "without one of its own, readiness is asked for where health is");
        assert_eq!((given.ready.period, given.ready.successes), (Some(Duration::from_secs(3)), 2));
        assert_eq!(given.start, Duration::from_secs(96));
        let health = given.health.unwrap();
        assert_eq!((health.probe.path(), health.failures), ("/healthz", 3));
        assert_eq!(probes(&[("ready.http.path", "up")]).unwrap().ready.path(), "/up");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (key, value) in
            [("ready.http.path", "/a b"), ("health.http.periodSeconds", "often"), ("ready.http.failureThreshold", "-1")]
        {
            let error = probes(&[(key, value)]).unwrap_err();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn who_does_not_know_the_default_path_is_ready_and_who_was_given_one_is_not() {
        let given = Probe { path: Some("/up".to_owned()), ..Probe::default() };
        for (status, by_default, by_path) in
            [(200, true, true), (404, true, false), (429, false, false), (503, false, false), (302, true, true)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!((Probe::default().is_passed_by(status), given.is_passed_by(status)), (by_default, by_path));
        }
    }
}
