//! Which recorded exchanges are replayed, and whether the status of an answer steers faas-cli as it was steered.

use crate::raw::Answer;
use crate::recording::{Exchange, Run};
use std::collections::BTreeMap;

const DEPLOY: &str = "POST /system/functions";
const EXISTS: &str = "what is deployed is replaced by PUT only";

/// Where our answer is another on purpose: case, method and path, our status, why.
pub(crate) const OURS: [(&str, &str, u16, &str); 9] = [
    ("deploy-yaml/update-false", DEPLOY, 409, EXISTS),
    ("deploy-yaml/answer-302", DEPLOY, 409, EXISTS),
    ("deploy/replace-delete-500", DEPLOY, 409, EXISTS),
    ("deploy/answer-302", DEPLOY, 409, EXISTS),
    ("store/deploy-replace", DEPLOY, 409, EXISTS),
    ("namespace/remove", "DELETE /system/namespace/staging-fn", 409, "a namespace with functions stays"),
    ("namespace/rm", "DELETE /system/namespace/staging-fn", 409, "a namespace with functions stays"),
    ("secret/remove", "DELETE /system/secrets", 409, "a secret that a function mounts stays"),
    ("secret/apply-list-without-namespace", "DELETE /system/secrets", 409, "a secret that a function mounts stays"),
];

/// Why an exchange is not replayed; `None` when it is.
pub(crate) fn left_out(run: &Run, exchange: &Exchange) -> Option<&'static str> {
    match exchange {
        _ if exchange.server.is_some() => Some("it went to somebody else"),
        _ if exchange.injected => Some("the answer was forced"),
        _ if run.credentials == "oauth2" || exchange.request.path == "/oauth/token" => {
            Some("it needs an identity provider")
        }
        _ if exchange.request.bears_a_token() => Some("it needs an identity provider"),
        _ if exchange.request.path == "/elsewhere" => Some("it follows a forced redirect"),
        _ if exchange.request.path.starts_with("/base/") => Some("it needs a proxy that takes a base path off"),
        _ if exchange.response.is_none() => Some("the recorder hung up"),
        _ => None,
    }
}

/// Judges a status; an error when faas-cli would go another way.
pub(crate) fn judge_status(
    asked: &str,
    told: u16,
    answer: &Answer,
    codes: &BTreeMap<String, Vec<u16>>,
) -> Result<(), String> {
    let given = answer.status;
    let good = match told {
        200..300 => codes.get(&pattern(asked)).map_or(given == 200, |codes| codes.contains(&given)),
        404 if asked.contains(" /function/") => given == 404 || given == 503,
        _ => given == told,
    };
    if good { Ok(()) } else { Err(format!("{given} instead of {told}: {}", answer.text())) }
}

/// A request as `accepts.json` names it.
fn pattern(asked: &str) -> String {
    for path in ["/function/", "/async-function/"] {
        if asked.split(' ').nth(1).is_some_and(|asked| asked.starts_with(path)) {
            return format!("POST {path}NAME");
        }
    }
    for path in ["/system/function/", "/system/namespace/"] {
        if let Some((method, rest)) = asked.split_once(path) {
            return if rest.is_empty() { asked.to_owned() } else { format!("{method}{path}NAME") };
        }
    }
    asked.to_owned()
}
