//! What gateways tell each other, and how an answer says that one of them was silent.

use crate::peers::{Asker, INCOMPLETE, PeerCounts, Peers};
use crate::respond::Refusal;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

/// How often this gateway alone called functions.
pub(super) async fn counts(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    to_ask(&request, &state)?;
    let instance = state.config.peering.as_ref().map(|peering| peering.instance.clone()).unwrap_or_default();
    Ok(HttpResponse::Ok().json(PeerCounts { instance, counts: state.counters.all() }))
}

/// The peers to ask for what a request wants; none when a peer asks, or there are none.
pub(super) fn to_ask<'a>(request: &HttpRequest, state: &'a State) -> Result<Option<&'a Peers>, Refusal> {
    let Some(peers) = &state.peers else { return Ok(None) };
    match peers.asker(request) {
        Asker::Client => Ok(Some(peers)),
        Asker::Peer => Ok(None),
        Asker::Own => Err(Refusal::Misdirected),
    }
}

/// The request as peers are asked it.
pub(super) fn question(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("/", |path| path.as_str())
}

/// An answer with counts in it, which says whose are old or missing.
pub(super) fn counted(state: &State) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    if let Some(peers) = &state.peers {
        incomplete(&mut answer, &peers.silent());
    }
    answer
}

/// Says who was silent, if anyone was.
pub(super) fn incomplete(answer: &mut HttpResponseBuilder, silent: &[String]) {
    if !silent.is_empty() {
        answer.insert_header((INCOMPLETE, silent.join(",")));
    }
}
