//! `/system/secrets`. Values come in and never go out, neither in answers nor in the log.

use super::{body, query, whole};
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use provider::{Provider, ProviderError};
use std::sync::Arc;
use wire::secret::Secret;

type Answer = Result<HttpResponse, Refusal>;

/// Names and namespaces.
pub(super) async fn list(request: HttpRequest, state: web::Data<State>) -> Answer {
    let namespace = query::namespace(&request, &state);
    let names = state.provider.secrets(&namespace).await?;
    let listed: Vec<Secret> = names
        .into_iter()
        .map(|name| Secret { name, namespace: namespace.clone(), value: None, raw_value: None })
        .collect();
    Ok(HttpResponse::Ok().json(listed))
}

/// Makes a secret; 409 when there is one, which clients turn into an update.
pub(super) async fn create(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let secret = secret(payload, &state).await?;
    let namespace = query::namespace_or(&request, &state, &secret.namespace);
    let (name, value) = (secret.name.clone(), value(&secret)?);
    let place = namespace.clone();
    let made =
        whole::change(&state.provider, |provider| async move { provider.create_secret(&place, &name, value).await });
    made.await.map_err(|error| match error {
        Refusal::Provider(ProviderError::Exists(_)) => Refusal::Conflict(format!(
            "secret {} already exists in namespace {namespace}: update it instead (PUT, faas-cli secret update)",
            secret.name
        )),
        other => other,
    })?;
    Ok(HttpResponse::Accepted().finish())
}

/// Replaces a secret's value.
pub(super) async fn update(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let secret = secret(payload, &state).await?;
    let namespace = query::namespace_or(&request, &state, &secret.namespace);
    let value = value(&secret)?;
    let change =
        |provider: Arc<dyn Provider>| async move { provider.update_secret(&namespace, &secret.name, value).await };
    whole::change(&state.provider, change).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Removes a secret; 409 while a function mounts it.
pub(super) async fn delete(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Answer {
    let secret = secret(payload, &state).await?;
    let namespace = query::namespace_or(&request, &state, &secret.namespace);
    let change = |provider: Arc<dyn Provider>| async move { provider.delete_secret(&namespace, &secret.name).await };
    whole::change(&state.provider, change).await?;
    Ok(HttpResponse::Accepted().finish())
}

async fn secret(payload: web::Payload, state: &State) -> Result<Secret, Refusal> {
    let secret: Secret = body::confidential_json("a secret", payload, state).await?;
    if secret.name.is_empty() {
        return Err(Refusal::BadRequest("name: is required: name the secret".to_owned()));
    }
    Ok(secret)
}

/// The value's bytes: `rawValue` wins over `value`.
fn value(secret: &Secret) -> Result<Vec<u8>, Refusal> {
    match (&secret.raw_value, &secret.value) {
        (Some(raw), _) if !raw.is_empty() => {
            STANDARD.decode(raw).map_err(|_| Refusal::BadRequest("rawValue: is not base64".to_owned()))
        }
        (_, Some(text)) => Ok(text.clone().into_bytes()),
        (Some(_), None) => Ok(Vec::new()),
        (None, None) => Err(Refusal::BadRequest(
            "value: is required: give the secret's text in value, or its bytes in base64 in rawValue".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_win() {
        let secret = |value: Option<&str>, raw: Option<&str>| Secret {
            name: "a".to_owned(),
            value: value.map(str::to_owned),
            raw_value: raw.map(str::to_owned),
            ..Secret::default()
        };
        assert_eq!(value(&secret(Some("trimmed"), Some("dHJpbW1lZAo="))).unwrap(), b"trimmed\n");
        assert_eq!(value(&secret(Some("text"), None)).unwrap(), b"text");
        assert_eq!(value(&secret(Some("text"), Some(""))).unwrap(), b"text");
        assert_eq!(value(&secret(Some(""), None)).unwrap(), b"");
        assert!(value(&secret(None, None)).is_err());
        assert!(value(&secret(None, Some("***"))).is_err());
    }
}
