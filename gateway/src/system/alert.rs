//! `/system/alert`: scaling by Alertmanager's webhook, as OpenFaaS CE has it.
//!
//! A firing alert adds a step of replicas, a resolved one goes back to the fewest.

use super::{body, whole};
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpResponse, web};
use provider::FunctionReplicas;
use serde::Deserialize;
use wire::label;

/// The most replicas unless the label says otherwise.
const USUAL_MOST: u32 = 20;
/// The share of the most replicas that one alert adds, in percent.
const USUAL_FACTOR: u32 = 10;

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    status: String,
    #[serde(default)]
    labels: AlertLabels,
}

#[derive(Default, Deserialize)]
struct AlertLabels {
    #[serde(default)]
    function_name: String,
}

pub(super) async fn receive(payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let Alerts { alerts } = body::json("an alert of Alertmanager's", payload, &state).await?;
    let mut failures = Vec::new();
    for (number, alert) in alerts.iter().enumerate() {
        if let Err(error) = scale(&state, alert).await {
            failures.push(format!("[{number}] {error}"));
        }
    }
    if failures.is_empty() { Ok(HttpResponse::Ok().finish()) } else { Err(Refusal::Internal(failures.join("\n"))) }
}

async fn scale(state: &State, alert: &Alert) -> Result<(), Refusal> {
    let name = state.name(&alert.labels.function_name);
    let name = name.map_err(|error| Refusal::BadRequest(format!("function_name: {error}")))?;
    let Some(function) = state.provider.replicas().get(&name) else {
        return Err(Refusal::NotFound(format!("function {name} not found")));
    };
    let wanted = wanted(&function, alert.status == "firing");
    if wanted != function.desired {
        whole::change(&state.provider, move |provider| async move { provider.scale(&name, wanted).await }).await?;
    }
    Ok(())
}

/// How many replicas a function should have after an alert.
fn wanted(function: &FunctionReplicas, firing: bool) -> u32 {
    if !firing {
        return function.at_least;
    }
    let number = |key: &str, usual| function.labels.get(key).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let most: u32 = number(label::SCALE_MAX, USUAL_MOST).min(provider::check::MAX_REPLICAS);
    let step = most.saturating_mul(number(label::SCALE_FACTOR, USUAL_FACTOR).min(100)).div_ceil(100);
    // Never down: someone may have asked for more than the label.
    function.desired.saturating_add(step).min(most).max(function.desired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_go_up_by_steps_and_back_to_the_fewest() {
        let function = |desired, labels: &[(&str, &str)]| FunctionReplicas {
            desired,
            at_least: 1,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..FunctionReplicas::default()
        };
        assert_eq!(wanted(&function(1, &[]), true), 3);
        assert_eq!(wanted(&function(19, &[]), true), 20);
        assert_eq!(wanted(&function(20, &[]), true), 20);
        assert_eq!(wanted(&function(30, &[]), true), 30);
        assert_eq!(wanted(&function(7, &[]), false), 1);
        assert_eq!(wanted(&function(1, &[(label::SCALE_MAX, "5")]), true), 2);
        assert_eq!(wanted(&function(1, &[(label::SCALE_FACTOR, "0")]), true), 1);
        assert_eq!(wanted(&function(1, &[(label::SCALE_FACTOR, "100")]), true), 20);
    }
}
