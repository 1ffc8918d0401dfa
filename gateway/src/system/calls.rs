//! `/system/calls/ID` and `/system/dead-letters`: what became of asynchronous calls.

use super::query;
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use queue::{Queue, QueueError};

type Answer = Result<HttpResponse, Refusal>;

/// How many dead letters are told unless `limit` says otherwise, and at most.
const USUAL_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 10_000;

/// One call.
pub(super) async fn get(id: web::Path<String>, state: web::Data<State>) -> Answer {
    let call = queue(&state)?.call(&id).await.map_err(|error| unreadable(&error))?;
    let call = call.ok_or_else(|| {
        Refusal::NotFound(format!("call {id:.100} not found: it never was, or it ended long ago and is forgotten"))
    })?;
    Ok(HttpResponse::Ok().json(call))
}

/// The newest calls that were given up.
pub(super) async fn dead_letters(request: HttpRequest, state: web::Data<State>) -> Answer {
    let limit = query::number(&request, "limit")?.unwrap_or(USUAL_LIMIT);
    let limit = usize::try_from(limit).ok().filter(|_| (1..=MAX_LIMIT).contains(&limit));
    let limit =
        limit.ok_or_else(|| Refusal::BadRequest(format!("limit: give a whole number from 1 to {MAX_LIMIT}")))?;
    let letters = queue(&state)?.dead_letters(limit).await.map_err(|error| unreadable(&error))?;
    Ok(HttpResponse::Ok().json(letters))
}

fn queue(state: &State) -> Result<&dyn Queue, Refusal> {
    state
        .queue
        .as_deref()
        .ok_or_else(|| Refusal::NotFound("this gateway has no queue for asynchronous calls".to_owned()))
}

fn unreadable(error: &QueueError) -> Refusal {
    Refusal::Unavailable {
        text: format!("the gateway cannot read its queue: {error}; try again later"),
        retry_after: None,
    }
}
