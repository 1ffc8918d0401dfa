//! Modes streaming and serializing: a process for every call.

use crate::config::Config;
use crate::environment;
use crate::lines::Lines;
use crate::output::{Failure, Input, Output};
use crate::process::{Process, SpawnError};
use crate::reply::Reply;
use bytes::{Bytes, BytesMut};
use function_sdk::log;
use function_sdk::server::{BoxError, CallInfo, refuse, stamp};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::io::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::time::Instant;

/// A process for every call.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    command: Vec<String>,
    content_type: HeaderValue,
    lines: Lines,
    body_limit: usize,
    read_timeout: std::time::Duration,
}

impl Fork {
    pub(crate) fn new(config: &Config) -> Self {
        let octets = HeaderValue::from_static("application/octet-stream");
        Self {
            command: config.command.clone(),
            content_type: HeaderValue::from_str(&config.content_type).unwrap_or(octets),
            lines: Lines { prefix: config.prefix_logs, longest: config.longest_line },
            body_limit: config.settings.body_limit,
            read_timeout: config.settings.read_timeout.unwrap_or(config.settings.write_timeout),
        }
    }

    /// Body to stdin and stdout to the answer, as they come. An end that is not good breaks the answer off, or is a
    /// 500 (504 when the time is up) while nothing of it has gone out.
    pub(crate) async fn stream(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let mut output = match self.start(request, &call) {
            Ok(output) => output,
            Err(error) => return self.failed(&error.to_string(), StatusCode::INTERNAL_SERVER_ERROR, &call),
        };
        match output.next().await {
            None => self.answer(Reply::from(Bytes::new())),
            Some(Ok(first)) => self.answer(Reply::streamed(first, output)),
            Some(Err(failure)) => {
                let status = match failure {
                    Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                    Failure::Input(_) => StatusCode::BAD_REQUEST,
                    Failure::Ended(_) | Failure::Output(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                self.failed(&failure.to_string(), status, &call)
            }
        }
    }

    /// Whole body to stdin, whole stdout to the answer.
    pub(crate) async fn serialize(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let body = match tokio::time::timeout(self.read_timeout, Limited::new(body, self.body_limit).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let text = format!("the body has more than {} bytes (setting body_limit)\n", self.body_limit);
                return refuse(StatusCode::PAYLOAD_TOO_LARGE, text, call.started).map(Reply::from);
            }
            Ok(Err(error)) => return self.failed(&error.to_string(), StatusCode::BAD_REQUEST, &call),
            Err(_) => {
                let text = format!("the body did not arrive within {:?} (setting read_timeout)\n", self.read_timeout);
                return refuse(StatusCode::REQUEST_TIMEOUT, text, call.started).map(Reply::from);
            }
        };
        let whole = match self.start(Request::from_parts(parts, Full::new(body)), &call) {
            Ok(output) => collect(output).await.map_err(|failure| failure.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match whole {
            Ok(whole) => {
                let mut response = self.answer(Reply::from(whole));
                stamp(response.headers_mut(), call.started);
                response
            }
            Err(text) => self.failed(&text, StatusCode::INTERNAL_SERVER_ERROR, &call),
        }
    }

    fn start<B>(&self, request: Request<B>, call: &CallInfo) -> Result<Output, SpawnError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
    {
        let (parts, body) = request.into_parts();
        let variables = environment::of(&parts.method, &parts.uri, &parts.headers);
        let mut process = Process::spawn(&self.command, variables, true)?;
        self.lines.copy_stderr(&mut process);
        let input = Input(process.stdin().map(|stdin| tokio::task::spawn_local(feed(body, stdin))));
        let deadline = call.limit.map(|limit| Instant::from_std(call.started) + limit);
        Ok(Output::new(process, input, deadline))
    }

    fn answer(&self, body: Reply) -> Response<Reply> {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        response
    }

    fn failed(&self, text: &str, status: StatusCode, call: &CallInfo) -> Response<Reply> {
        let command = self.command.join(" ");
        log(format_args!("{command}: {text} [{}]", call.id));
        refuse(status, text.to_owned(), call.started).map(Reply::from)
    }
}

async fn collect(mut output: Output) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    let mut only = Bytes::new();
    while let Some(chunk) = output.next().await {
        let chunk = chunk?;
        if only.is_empty() && whole.is_empty() {
            only = chunk;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut only));
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(if whole.is_empty() { only } else { whole.freeze() })
}

/// Feeds a body to a process. A process that does not want all of it is no error.
async fn feed<B>(mut body: B, mut stdin: ChildStdin) -> Result<(), BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        match stdin.write_all(&data).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
