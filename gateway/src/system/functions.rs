//! `/system/functions`, `/system/function/NAME`, `/system/scale-function/NAME`.

use super::{body, peer, query, whole};
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use provider::check::MAX_REPLICAS;
use wire::FunctionName;
use wire::function::{DeleteFunction, FunctionDeployment, FunctionStatus, ScaleFunction};

type Answer = Result<HttpResponse, Refusal>;

/// The functions of a namespace, with how often each was called.
pub(super) async fn list(request: HttpRequest, state: web::Data<State>) -> Answer {
    let mut functions = state.provider.list(&query::namespace(&request, &state)).await?;
    functions.iter_mut().for_each(|function| count(&state, function));
    Ok(peer::counted(&state).json(functions))
}

/// Deploys a new function; 409 when there is one of that name.
pub(super) async fn deploy(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let deployment = deployment(&request, payload, &state).await?;
    whole::change(&state.provider, |provider| async move { provider.deploy(deployment).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Replaces a function. 404 when there is none: clients then deploy it.
pub(super) async fn update(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let deployment = deployment(&request, payload, &state).await?;
    whole::change(&state.provider, |provider| async move { provider.update(deployment).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn deployment(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<FunctionDeployment, Refusal> {
    let mut deployment: FunctionDeployment = body::json("a function deployment", payload, state).await?;
    deployment.namespace = query::namespace_or(request, state, &deployment.namespace);
    Ok(deployment)
}

/// Removes a function. Its data directory stays unless the query says `purge=true`.
pub(super) async fn delete(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let wanted: DeleteFunction = body::json("{\"functionName\": …}", payload, &state).await?;
    let name = named(&wanted.function_name, &query::namespace_or(&request, &state, &wanted.namespace))?;
    let purge = query::flag(&request, "purge")?;
    let counted = state.clone();
    whole::change(&state.provider, move |provider| async move {
        provider.delete(&name, purge).await?;
        counted.counters.forget(&name);
        Ok(())
    })
    .await?;
    Ok(HttpResponse::Accepted().finish())
}

/// One function; with `usage=1` what it uses.
pub(super) async fn status(request: HttpRequest, name: web::Path<String>, state: web::Data<State>) -> Answer {
    let name = named(&name, &query::namespace(&request, &state))?;
    let mut function = state.provider.status(&name, query::flag(&request, "usage")?).await?;
    count(&state, &mut function);
    Ok(peer::counted(&state).json(function))
}

/// Asks for so many replicas. The path names the function, whatever the body says.
pub(super) async fn scale(
    request: HttpRequest,
    name: web::Path<String>,
    payload: web::Payload,
    state: web::Data<State>,
) -> Answer {
    let wanted: ScaleFunction = body::json("{\"replicas\": …}", payload, &state).await?;
    let namespace = query::get(&request, "namespace");
    let namespace = namespace.unwrap_or_else(|| query::namespace_or(&request, &state, &wanted.namespace));
    let name = named(&name, &namespace)?;
    let replicas = u32::try_from(wanted.replicas).ok().filter(|replicas| *replicas <= MAX_REPLICAS);
    let replicas = replicas.ok_or_else(|| {
        Refusal::BadRequest(format!("replicas: {}: give a number from 0 to {MAX_REPLICAS}", wanted.replicas))
    })?;
    whole::change(&state.provider, move |provider| async move { provider.scale(&name, replicas).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// A checked name; the namespace stands beside it and is not split off.
pub(super) fn named(name: &str, namespace: &str) -> Result<FunctionName, Refusal> {
    FunctionName::new(name, namespace).map_err(|error| Refusal::BadRequest(error.to_string()))
}

/// Fills in how often a function was called.
#[expect(clippy::cast_precision_loss, reason = "OpenFaaS counts in floating point")]
fn count(state: &State, function: &mut FunctionStatus) {
    if let Ok(name) = FunctionName::new(&function.name, &function.namespace) {
        let by_peers = state.peers.as_ref().map_or(0, |peers| peers.called(&name));
        function.invocation_count = (state.counters.count(&name) + by_peers) as f64;
    }
}
