//! `/system/namespaces` and `/system/namespace/NAME`.

use super::{body, whole};
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use provider::ProviderError;
use wire::namespace::{MARK, Namespace};

type Answer = Result<HttpResponse, Refusal>;

/// The names of all namespaces.
pub(super) async fn list(state: web::Data<State>) -> Answer {
    let namespaces = state.provider.namespaces().await?;
    Ok(HttpResponse::Ok().json(namespaces.into_iter().map(|namespace| namespace.name).collect::<Vec<_>>()))
}

/// One namespace with labels and annotations.
pub(super) async fn get(request: HttpRequest, state: web::Data<State>) -> Answer {
    let name = in_path(&request);
    provider::check::namespace(name)?;
    let mut namespaces = state.provider.namespaces().await?.into_iter();
    let found = namespaces.find(|namespace| namespace.name == name);
    Ok(HttpResponse::Ok().json(found.ok_or_else(|| ProviderError::NoNamespace(name.to_owned()))?))
}

/// Makes a namespace; its name stands in the body, and in the path if the client likes.
pub(super) async fn create(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let namespace = marked(&request, payload, &state).await?;
    whole::change(&state.provider, |provider| async move { provider.create_namespace(namespace).await }).await?;
    Ok(HttpResponse::Created().finish())
}

/// Replaces a namespace's labels and annotations.
pub(super) async fn update(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let namespace = marked(&request, payload, &state).await?;
    whole::change(&state.provider, |provider| async move { provider.update_namespace(namespace).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Removes a namespace and its secrets; 409 while it has functions, and always for the default one.
pub(super) async fn delete(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let namespace: Namespace = body::optional_json("a namespace", payload, &state).await?;
    let name = name(&request, namespace.name)?;
    whole::change(&state.provider, |provider| async move { provider.delete_namespace(&name).await }).await?;
    Ok(HttpResponse::Accepted().finish())
}

fn in_path(request: &HttpRequest) -> &str {
    request.match_info().get("namespace").unwrap_or_default()
}

/// The name that path and body agree on.
fn name(request: &HttpRequest, in_body: String) -> Result<String, Refusal> {
    let in_path = in_path(request);
    match (in_path.is_empty(), in_body.is_empty()) {
        (true, _) => Ok(in_body),
        (false, true) => Ok(in_path.to_owned()),
        (false, false) if in_path == in_body => Ok(in_body),
        (false, false) => Err(Refusal::BadRequest(format!(
            "the path names namespace {in_path:.80}, the body {in_body:.80}: give the same name twice or leave one out"
        ))),
    }
}

/// The namespace in the body, if it is marked as one for functions.
async fn marked(request: &HttpRequest, payload: web::Payload, state: &State) -> Result<Namespace, Refusal> {
    let mut namespace: Namespace = body::json("a namespace", payload, state).await?;
    namespace.name = name(request, namespace.name)?;
    let (key, value) = MARK;
    let has = |map: &wire::function::TextMap| map.get(key).is_some_and(|found| found == value);
    if has(&namespace.labels) || has(&namespace.annotations) {
        return Ok(namespace);
    }
    Err(Refusal::BadRequest(format!(
        "request does not have {key}={value} label: a namespace for functions carries it as label or annotation"
    )))
}
