//! Every recorded request, sent as it was, to a gateway set up as the recorder was: the status steers the CLI, and what
//! comes as JSON must say what the CLI was told.

use crate::judge::{OURS, judge_status, left_out};
use crate::raw::{Answer, exchange};
use crate::recording::{Exchange, accepted, runs};
use crate::world::{Stage, World};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use wire::function::FunctionStatus;
use wire::info::Info;
use wire::log::LogLine;
use wire::namespace::Namespace;
use wire::secret::Secret;

/// Fewer replayed exchanges than this mean that recordings were lost, not that the gateway is right.
const FLOOR: usize = 280;

#[tokio::test]
async fn the_gateway_answers_as_faas_cli_needs_it() {
    let world = World::recorded();
    let codes = accepted();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut replayed, mut ours) = (0, 0);
    let mut wrong = Vec::new();
    for run in runs() {
        let mut wanted = Vec::new();
        for exchange in &run.exchanges {
            match left_out(&run, exchange) {
                Some(why) => *skipped.entry(why).or_default() += 1,
                None => wanted.push(exchange),
            }
        }
        if wanted.is_empty() {
            continue;
        }
        let stage = Stage::set(&world, !run.auth_off).await;
        for exchange in wanted {
            replayed += 1;
            match replay(&stage, &run.case, exchange, &codes).await {
                Ok(as_recorded) => ours += usize::from(!as_recorded),
                Err(why) => {
                    let request = &exchange.request;
                    wrong.push(format!("{}: {} {}: {why}", run.case, request.method, request.path));
                }
            }
        }
        stage.strike().await;
    }
    eprintln!("replayed {replayed} exchanges, {ours} of them with an answer of our own; left out: {skipped:?}");
    assert!(wrong.is_empty(), "{} of {replayed}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(replayed >= FLOOR, "only {replayed} exchanges were replayed, expected {FLOOR}: were recordings lost?");
    assert_eq!(ours, OURS.len(), "not every documented difference showed");
}

/// Sends one request and judges the answer. `Ok(false)` when it is a documented difference.
async fn replay(
    stage: &Stage,
    case: &str,
    recorded: &Exchange,
    codes: &BTreeMap<String, Vec<u16>>,
) -> Result<bool, String> {
    let (request, told) = (&recorded.request, recorded.response.as_ref().unwrap());
    let lines = if request.path == "/system/logs" { told.body.matches("\"timestamp\"").count() } else { 0 };
    let enough = |body: &[u8]| lines > 0 && body.iter().filter(|byte| **byte == b'\n').count() >= lines;
    let answer = exchange(&stage.address, &request.bytes(&stage.address), enough).await;
    let asked = format!("{} {}", request.method, request.path);
    if let Some((.., status, _)) = OURS.iter().find(|(ours, what, ..)| *ours == case && *what == asked) {
        return if answer.status == *status { Ok(false) } else { Err(format!("expected our {status}: {answer:?}")) };
    }
    judge_status(&asked, told.status, &answer, codes)?;
    if answer.status == 200 {
        judge_content(&asked, &told.body, &answer)?;
    }
    if answer.status == 202 && request.path.starts_with("/async-function/") {
        judge_accepted(stage, &answer, request.body()).await?;
    }
    Ok(true)
}

/// What came must be what the CLI was told, but for what nobody can repeat.
fn judge_content(asked: &str, told: &str, answer: &Answer) -> Result<(), String> {
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let comparable = |mut status: FunctionStatus| {
        (status.invocation_count, status.usage) = (0.0, None);
        status
    };
    match path {
        "/system/functions" if asked.starts_with("GET ") => {
            let of = |statuses: Vec<FunctionStatus>| statuses.into_iter().map(comparable).collect::<Vec<_>>();
            same(of(decode(told)?), of(decode(&answer.text())?))
        }
        "/system/secrets" if asked.starts_with("GET ") => {
            let of = |secrets: Vec<Secret>| secrets;
            same(of(decode(told)?), of(decode(&answer.text())?))
        }
        "/system/namespaces" => same::<Vec<String>>(decode(told)?, decode(&answer.text())?),
        "/system/info" => decode::<Info>(&answer.text()).map(drop),
        "/system/logs" => {
            if answer.header("content-type") != Some("application/x-ndjson") {
                return Err(format!("logs of type {:?}", answer.header("content-type")));
            }
            same(lines(told)?, lines(&answer.text())?)
        }
        "/healthz" => same("OK".to_owned(), answer.text()),
        _ if path.starts_with("/system/function/") => {
            same(comparable(decode(told)?), comparable(decode(&answer.text())?))
        }
        _ if path.starts_with("/system/namespace/") && asked.starts_with("GET ") => {
            same(decode::<Namespace>(told)?.name, decode::<Namespace>(&answer.text())?.name)
        }
        _ if path.starts_with("/function/") => same(told.to_owned(), answer.text()),
        _ => Ok(()),
    }
}

/// What was accepted is in the queue and reaches the function.
async fn judge_accepted(stage: &Stage, answer: &Answer, body: Vec<u8>) -> Result<(), String> {
    let id = answer.header("x-call-id").ok_or("a 202 without X-Call-Id")?;
    let kept = stage.queue.call(id).await.map_err(|error| error.to_string())?;
    same("hello.openfaas-fn".to_owned(), kept.ok_or("a 202 for what is not in the queue")?.function)?;
    e2e::eventually("the call is delivered", async || if stage.heard.has(&body) { Ok(()) } else { Err("not yet") })
        .await;
    Ok(())
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

/// A stream of JSON objects.
fn lines(text: &str) -> Result<Vec<LogLine>, String> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error} in {text}"))
}

fn same<T: PartialEq + std::fmt::Debug>(told: T, given: T) -> Result<(), String> {
    if told == given { Ok(()) } else { Err(format!("told {told:?}\n    but given {given:?}")) }
}
