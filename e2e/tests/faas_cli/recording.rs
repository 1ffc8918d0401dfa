//! Reads the recordings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One run of faas-cli.
#[derive(Deserialize)]
pub(crate) struct Run {
    pub(crate) case: String,
    pub(crate) credentials: String,
    #[serde(default)]
    pub(crate) auth_off: bool,
    pub(crate) exchanges: Vec<Exchange>,
}

/// One request of a run and its answer.
#[derive(Deserialize)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    /// None when the server hung up.
    pub(crate) response: Option<Response>,
    /// Who was asked, when it was not the gateway.
    pub(crate) server: Option<String>,
    /// Whether the answer was forced.
    #[serde(default)]
    pub(crate) injected: bool,
}

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Response {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) body: String,
}

/// What a command takes as success.
#[derive(Deserialize)]
struct Accepted {
    request: String,
    taken_as_success: Vec<u16>,
}

impl Request {
    pub(crate) fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (_, Some(encoded)) => STANDARD.decode(encoded).unwrap(),
            (text, None) => text.clone().unwrap_or_default().into_bytes(),
        }
    }

    /// Whether it is authorised by a token, not by a password.
    pub(crate) fn bears_a_token(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "Authorization" && value.starts_with("Bearer "))
    }

    /// The request as it goes over the wire; only `Host` is another.
    pub(crate) fn bytes(&self, host: &str) -> Vec<u8> {
        let question = if self.query.is_empty() { "" } else { "?" };
        let mut bytes = format!("{} {}{question}{} HTTP/1.1\r\n", self.method, self.path, self.query).into_bytes();
        let mut chunked = false;
        for (name, value) in &self.headers {
            let value = if name == "Host" { host } else { value };
            chunked |= name == "Transfer-Encoding";
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let body = self.body();
        if chunked {
            bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&body);
        }
        bytes
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/faas-cli")
}

/// A JSON file among the recordings.
pub(crate) fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixtures().join(name)).unwrap()).unwrap()
}

/// All runs, by file and in their order.
pub(crate) fn runs() -> Vec<Run> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let recordings = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    let texts = recordings.map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Run>>()).collect()
}

/// Request, as `PUT /system/functions` or `GET /system/function/NAME` → the codes faas-cli takes as success.
pub(crate) fn accepted() -> BTreeMap<String, Vec<u16>> {
    let mut codes: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for Accepted { request, taken_as_success } in json::<BTreeMap<String, Accepted>>("accepts.json").into_values() {
        let request = request.strip_suffix("/hello").map_or(request.clone(), |path| format!("{path}/NAME"));
        let known = codes.entry(request).or_insert_with(|| taken_as_success.clone());
        known.retain(|code| taken_as_success.contains(code));
    }
    codes
}
