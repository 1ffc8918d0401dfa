//! `/system/calls/ID` and `/system/dead-letters`: what became of asynchronous calls, whichever gateway took them, and
//! dead ones that begin anew.

use super::{peer, query};
use crate::peers::Round;
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use queue::{Queue, QueueError, Requeued};
use std::cmp::Reverse;
use std::time::Duration;
use wire::call::CallStatus;

type Answer = Result<HttpResponse, Refusal>;

/// How many dead letters are told unless `limit` says otherwise, and at most.
const USUAL_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 10_000;
/// When it is worth asking again for a call that a silent gateway may know.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// One call. Where no gateway that answers knows it and one is silent, that is no "not found".
pub(super) async fn get(request: HttpRequest, id: web::Path<String>, state: web::Data<State>) -> Answer {
    let peers = peer::to_ask(&request, &state)?;
    let here = queue(&state)?.call(&id).await.map_err(|error| unreadable(&error));
    if let Ok(Some(call)) = &here {
        return Ok(HttpResponse::Ok().json(call));
    }
    let silent = match peers {
        None => Vec::new(),
        Some(peers) => match peers.find::<CallStatus>(peer::question(&request)).await {
            Ok(call) => return Ok(HttpResponse::Ok().json(call)),
            Err(silent) => silent,
        },
    };
    here?;
    Err(unknown(&id, &silent))
}

/// A dead letter begins anew, at the gateway that gave it up.
pub(super) async fn requeue(request: HttpRequest, id: web::Path<String>, state: web::Data<State>) -> Answer {
    let peers = peer::to_ask(&request, &state)?;
    let here = queue(&state)?.requeue(&id, state.clock.unix_millis()).await;
    if peers.is_none() && state.peers.is_some() {
        // A peer says itself what it means for the client.
        return Ok(HttpResponse::Ok().json(here?));
    }
    let Round { answers, silent } = match peers {
        Some(peers) if !matches!(here, Ok(Requeued::Queued)) => peers.tell::<Requeued>(peer::question(&request)).await,
        _ => Round { answers: Vec::new(), silent: Vec::new() },
    };
    let told = answers.into_iter().max().unwrap_or(Requeued::Unknown);
    let became = if told == Requeued::Queued { told } else { told.max(here?) };
    match became {
        Requeued::Queued => Ok(HttpResponse::Accepted().finish()),
        Requeued::NotKept => Err(Refusal::Conflict(format!(
            "call {id:.100} cannot begin anew: the version of crema that gave it up kept no bodies; send it once more"
        ))),
        Requeued::NotDead => {
            let text = format!("call {id:.100} is no dead letter; GET /system/calls/ID tells where it stands");
            Err(Refusal::Conflict(text))
        }
        Requeued::Unknown => Err(unknown(&id, &silent)),
    }
}

/// Where one is silent that may know the call, that is no "not found".
fn unknown(id: &str, silent: &[String]) -> Refusal {
    if silent.is_empty() {
        let text = format!("call {id:.100} not found: it never was, or it ended long ago and is forgotten");
        return Refusal::NotFound(text);
    }
    let text = format!(
        "call {id:.100} is known to no gateway that answers, and {} did not answer: ask again when all of them run",
        silent.join(", ")
    );
    Refusal::Unavailable { text, retry_after: Some(ASK_AGAIN) }
}

/// The newest calls that were given up.
pub(super) async fn dead_letters(request: HttpRequest, state: web::Data<State>) -> Answer {
    let peers = peer::to_ask(&request, &state)?;
    let limit = query::number(&request, "limit")?.unwrap_or(USUAL_LIMIT);
    let limit = usize::try_from(limit).ok().filter(|_| (1..=MAX_LIMIT).contains(&limit));
    let limit =
        limit.ok_or_else(|| Refusal::BadRequest(format!("limit: give a whole number from 1 to {MAX_LIMIT}")))?;
    let mut letters = queue(&state)?.dead_letters(limit).await.map_err(|error| unreadable(&error))?;
    let mut answer = HttpResponse::Ok();
    if let Some(peers) = peers {
        let round = peers.ask::<Vec<CallStatus>>(peer::question(&request)).await;
        peer::incomplete(&mut answer, &round.silent);
        letters.extend(round.answers.into_iter().flatten());
        // Stable: of one gateway, and of one moment, they stay in their order.
        letters.sort_by_cached_key(|letter| Reverse(ended(letter)));
        letters.truncate(limit);
    }
    Ok(answer.json(letters))
}

fn ended(letter: &CallStatus) -> Option<Timestamp> {
    letter.finished_at.as_deref()?.parse().ok()
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
