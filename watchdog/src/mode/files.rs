//! Mode static: the files of a directory.

mod condition;
mod path;
mod range;
mod tree;

use crate::reply::Reply;
use bytes::{Bytes, BytesMut};
use condition::Verdict;
use function_sdk::log;
use function_sdk::server::{CallInfo, refuse};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
    LOCATION,
};
use hyper::{Method, Request, Response, StatusCode};
use path::Asked;
use range::Part;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tree::{Entry, Found, Tree};

/// What is read of a file at a time.
const CHUNK: u64 = 64 * 1024;

/// The files of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    tree: Arc<Tree>,
}

impl Files {
    /// Looks whether the directory is there.
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let tree = Tree::new(directory);
        tree.look()?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// Answers with the file that the path names, a directory's `index.html`, or a part of either.
    pub(crate) async fn call(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let told = |status, text: &'static str| refuse(status, text, call.started).map(Reply::from);
        // Invocations are POSTs as a rule, from `faas-cli invoke` at least.
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
            let mut response = told(StatusCode::METHOD_NOT_ALLOWED, "files are read with GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            return response;
        }
        let Some(asked) = Asked::of(request.uri()) else {
            return told(StatusCode::BAD_REQUEST, "the path is not one of a file\n");
        };
        match self.find(asked.path.clone(), asked.is_directory).await {
            Ok(Found::File(entry)) => answer(&request, entry).await.unwrap_or_else(|error| {
                log(format_args!("{}: {error} [{}]", asked.path.display(), call.id));
                told(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
            }),
            Ok(Found::Directory) => moved(&asked.with_slash()),
            Ok(Found::Nothing) => told(StatusCode::NOT_FOUND, "there is no such file\n"),
            Err(error) => {
                log(format_args!("{}: {error} [{}]", asked.path.display(), call.id));
                told(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
            }
        }
    }

    async fn find(&self, path: PathBuf, is_directory: bool) -> io::Result<Found> {
        let tree = Arc::clone(&self.tree);
        aside(move || tree.find(&path, is_directory)).await
    }
}

/// Does what may wait for a disk on another thread.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn moved(to: &str) -> Response<Reply> {
    let mut response = Response::new(Reply::from(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    set(&mut response, LOCATION, to);
    response
}

async fn answer(request: &Request<Incoming>, entry: Entry) -> io::Result<Response<Reply>> {
    let whole = Part { from: 0, length: entry.size };
    let (status, part) = match condition::verdict(request.method(), request.headers(), &entry) {
        Verdict::Whole => (StatusCode::OK, whole),
        Verdict::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Verdict::Without(status) => (status, Part { from: 0, length: 0 }),
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    set(&mut response, ETAG, &entry.tag);
    if let Some(modified) = entry.last_modified() {
        set(&mut response, LAST_MODIFIED, &modified);
    }
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            set(&mut response, CONTENT_TYPE, &entry.content_type);
            response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(part.length));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => set(&mut response, CONTENT_RANGE, &format!("bytes */{}", entry.size)),
        _ => {}
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let last = part.from + part.length - 1;
        set(&mut response, CONTENT_RANGE, &format!("bytes {}-{last}/{}", part.from, entry.size));
    }
    let has_body = request.method() != Method::HEAD && part.length > 0;
    let body = if has_body { body(entry.file, part).await? } else { Reply::from(Bytes::new()) };
    Ok(response.map(|()| body))
}

fn set<B>(response: &mut Response<B>, name: HeaderName, value: &str) {
    // Made of a path or numbers; what is no header's value is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A part of a file: held when it is small, read as it goes out when it is not.
async fn body(file: File, part: Part) -> io::Result<Reply> {
    let file = Arc::new(file);
    let first = read(Arc::clone(&file), part).await?;
    let read_so_far = first.len() as u64;
    if read_so_far == part.length {
        return Ok(Reply::from(first));
    }
    let rest = Part { from: part.from + read_so_far, length: part.length - read_so_far };
    Ok(Reply::file(futures_util::stream::unfold((Some(first), rest), move |(first, rest)| {
        let file = Arc::clone(&file);
        async move {
            if let Some(first) = first {
                return Some((Ok(first), (None, rest)));
            }
            if rest.length == 0 {
                return None;
            }
            let chunk = read(file, rest).await;
            let length = chunk.as_ref().map_or(rest.length, |chunk| chunk.len() as u64);
            Some((chunk, (None, Part { from: rest.from + length, length: rest.length - length })))
        }
    })))
}

/// The beginning of a part.
async fn read(file: Arc<File>, part: Part) -> io::Result<Bytes> {
    let length = usize::try_from(part.length.min(CHUNK)).unwrap_or_default();
    aside(move || {
        let mut buffer = BytesMut::zeroed(length);
        let read = file.read_at(&mut buffer, part.from)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        buffer.truncate(read);
        Ok(buffer.freeze())
    })
    .await
}
