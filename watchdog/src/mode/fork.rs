//! Modes streaming and serializing: a process for every call.

use crate::config::Config;
use crate::environment;
use crate::lines::Lines;
use crate::output::{Failure, Input, Output};
use crate::process::{Process, SpawnError, Streams};
use crate::reply::Reply;
use bytes::{Bytes, BytesMut};
use function_sdk::log;
use function_sdk::server::{BoxError, CallInfo, refuse, stamp};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::ffi::OsString;
use std::io::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::time::Instant;

/// A process for every call.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    command: Vec<String>,
    content_type: HeaderValue,
    pub(super) lines: Lines,
    body_limit: usize,
    read_timeout: std::time::Duration,
}

impl Fork {
    pub(crate) fn new(config: &Config) -> Self {
        let octets = HeaderValue::from_static("application/octet-stream");
        let content_type = config.content_type.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
        Self {
            command: config.command.clone(),
            content_type: content_type.unwrap_or(octets),
            lines: Lines { prefix: config.prefix_logs, longest: config.longest_line },
            body_limit: config.settings.body_limit,
            read_timeout: config.settings.read_timeout.unwrap_or(config.settings.write_timeout),
        }
    }

    /// Body to stdin and stdout to the answer, as they come. An end that is not good breaks the answer off, or is a
    /// 500 (504 when the time is up) while nothing of it has gone out.
    pub(crate) async fn stream(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let variables = environment::of(&parts.method, &parts.uri, &parts.headers);
        let mut output = match self.start(variables, body, Streams::Each, &call) {
            Ok(output) => output,
            Err(error) => return self.failed(&Failure::Start(error), StatusCode::INTERNAL_SERVER_ERROR, &call),
        };
        match output.next().await {
            None => self.answer(Reply::from(Bytes::new())),
            Some(Ok(first)) => self.answer(Reply::streamed(first, output)),
            Some(Err(failure)) => {
                let status = match failure {
                    Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                    Failure::Input(_) => StatusCode::BAD_REQUEST,
                    Failure::Start(_) | Failure::Ended(_) | Failure::Output(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                self.failed(&failure, status, &call)
            }
        }
    }

    /// Whole body to stdin, whole stdout to the answer.
    pub(crate) async fn serialize(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let body = match self.whole(body, &call).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let variables = environment::of(&parts.method, &parts.uri, &parts.headers);
        let Whole { output, failure } = self.run(variables, body, Streams::Each, &call).await;
        match failure {
            None => {
                let mut response = self.answer(Reply::from(output));
                stamp(response.headers_mut(), call.started);
                response
            }
            Some(failure) => self.failed(&failure, StatusCode::INTERNAL_SERVER_ERROR, &call),
        }
    }

    /// The whole body, or what is answered when it cannot be had.
    pub(super) async fn whole(&self, body: Incoming, call: &CallInfo) -> Result<Bytes, Response<Reply>> {
        let (status, text) =
            match tokio::time::timeout(self.read_timeout, Limited::new(body, self.body_limit).collect()).await {
                Ok(Ok(body)) => return Ok(body.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body has more than {} bytes (setting body_limit)\n", self.body_limit),
                ),
                Ok(Err(error)) => return Err(self.failed(&Failure::Input(error), StatusCode::BAD_REQUEST, call)),
                Err(_) => (
                    StatusCode::REQUEST_TIMEOUT,
                    format!("the body did not arrive within {:?} (setting read_timeout)\n", self.read_timeout),
                ),
            };
        Err(refuse(status, text, call.started).map(Reply::from))
    }

    /// Runs the process to its end.
    pub(super) async fn run(
        &self,
        variables: Vec<(OsString, OsString)>,
        input: Bytes,
        streams: Streams,
        call: &CallInfo,
    ) -> Whole {
        match self.start(variables, Full::new(input), streams, call) {
            Ok(output) => collect(output).await,
            Err(error) => Whole { output: Bytes::new(), failure: Some(Failure::Start(error)) },
        }
    }

    fn start<B>(
        &self,
        variables: Vec<(OsString, OsString)>,
        input: B,
        streams: Streams,
        call: &CallInfo,
    ) -> Result<Output, SpawnError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
    {
        let mut process = Process::spawn(&self.command, variables, streams)?;
        self.lines.copy_stderr(&mut process);
        let input = Input(process.stdin().map(|stdin| tokio::task::spawn_local(feed(input, stdin))));
        let deadline = call.limit.map(|limit| Instant::from_std(call.started) + limit);
        Ok(Output::new(process, input, deadline))
    }

    fn answer(&self, body: Reply) -> Response<Reply> {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        response
    }

    fn failed(&self, failure: &Failure, status: StatusCode, call: &CallInfo) -> Response<Reply> {
        self.log(failure, call);
        refuse(status, failure.to_string(), call.started).map(Reply::from)
    }

    pub(super) fn log(&self, failure: &Failure, call: &CallInfo) {
        log(format_args!("{}: {failure} [{}]", self.command.join(" "), call.id));
    }
}

/// All that a process has written, and why it failed if it has.
pub(super) struct Whole {
    pub(super) output: Bytes,
    pub(super) failure: Option<Failure>,
}

async fn collect(mut output: Output) -> Whole {
    let mut whole = BytesMut::new();
    let mut only = Bytes::new();
    let failure = loop {
        match output.next().await {
            None => break None,
            Some(Err(failure)) => break Some(failure),
            Some(Ok(chunk)) if only.is_empty() && whole.is_empty() => only = chunk,
            Some(Ok(chunk)) => {
                whole.extend_from_slice(&std::mem::take(&mut only));
                whole.extend_from_slice(&chunk);
            }
        }
    };
    Whole { output: if whole.is_empty() { only } else { whole.freeze() }, failure }
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
