//! Payment as HTTP: which call does what, and what each outcome is called.

use crate::body;
use crate::books::{self, Begun, Payment, Refusal};
use crate::ledger;
use crate::operation::{Kind, Verdict};
use crate::processor::Processor;
use crate::test_processor::{self, TestProcessor};
use function_sdk::sqlite::{Database, DatabaseError, OpenError};
use function_sdk::{Access, Clock, Context, Handler, Method, Request, Response, log};
use serde_json::{Map, Value, json};

/// The schema's versions, oldest first.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];
/// Who may move money: the secret, and the header that tells it.
const KEY_SECRET: &str = "shop-key";
const KEY_HEADER: &str = "x-shop-key";

/// The function, charging cards at `P`.
#[derive(Debug)]
pub struct Payments<P> {
    database: Database,
    context: Context,
    clock: Clock,
    processor: P,
}

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No data directory.
    #[error("there is no data directory: set the annotation com.crema.data.path (or the variable data_path)")]
    NoData,
    /// The data does not open.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// A processor nobody wrote.
    #[error("processor={0:?} is unknown: the only one is \"test\"")]
    Processor(String),
}

impl Payments<TestProcessor> {
    /// Opens the books in the function's data directory, with the processor the environment names.
    pub async fn open(context: Context) -> Result<Self, StartError> {
        match context.env("processor") {
            Some(other) if other != test_processor::NAME => Err(StartError::Processor(other)),
            _ => Self::with(context, TestProcessor),
        }
    }
}

impl<P: Processor> Payments<P> {
    /// Opens the books in the function's data directory.
    pub fn with(context: Context, processor: P) -> Result<Self, StartError> {
        let directory = context.data_dir().ok_or(StartError::NoData)?;
        let database = Database::open(&directory, "payment.db", &MIGRATIONS)?;
        Ok(Self { database, clock: context.clock(), context, processor })
    }

    async fn answer(&self, request: &Request) -> (u16, Value) {
        let path = request.path.trim_matches('/');
        let kind = match path {
            "authorise" => Kind::Authorise,
            "capture" => Kind::Capture,
            "void" => Kind::Void,
            "refund" => Kind::Refund,
            "ledger" if request.method == Method::GET => return self.ledger().await,
            id if request.method == Method::GET && !id.is_empty() && !id.contains('/') => return self.show(id).await,
            _ => return nowhere(),
        };
        if request.method != Method::POST {
            return nowhere();
        }
        match Access::of(&self.context, KEY_SECRET, request.header(KEY_HEADER)) {
            Access::Allowed => self.operate(kind, request).await,
            Access::Denied => (401, json!({ "error": "money is moved only with the shop's key in X-Shop-Key" })),
            Access::NoSecret => (503, json!({ "error": "this function has no shop key; see its log" })),
        }
    }

    async fn operate(&self, kind: Kind, request: &Request) -> (u16, Value) {
        let (id, demand) = match body::read(kind, &request.body) {
            Ok(read) => read,
            Err(error) => {
                let body = json!({ "error": error.to_string(), "reason": "bad_request", "field": error.field() });
                return (error.status(), body);
            }
        };
        let (key, now) = (id.clone(), self.now());
        let operation =
            match self.database.write(move |transaction| books::begin(transaction, &key, &demand, now)).await {
                Ok(Ok(Begun::Ask(operation))) => operation,
                Ok(Ok(Begun::Known(payment, verdict))) => return done(&id, kind, &payment, &verdict),
                Ok(Err(refusal)) => return refuse(&refusal),
                Err(error) => return unavailable(&error),
            };
        let verdict = match self.processor.perform(&operation).await {
            Ok(verdict) => verdict,
            Err(error) => {
                log(format_args!("{kind:?} {id} is not known to be done: {error}"));
                return (503, json!({ "error": error.to_string(), "reason": "processor_unavailable", "id": id }));
            }
        };
        let (processor, now) = (self.processor.name(), self.now());
        let finished = self
            .database
            .write(move |transaction| books::finish(transaction, &operation, &verdict, processor, now))
            .await;
        match finished {
            Ok(Ok((payment, verdict))) => done(&id, kind, &payment, &verdict),
            Ok(Err(refusal)) => refuse(&refusal),
            Err(error) => unavailable(&error),
        }
    }

    async fn show(&self, id: &str) -> (u16, Value) {
        let wanted = id.to_owned();
        match self.database.read(move |transaction| books::find(transaction, &wanted)).await {
            Ok(Some(payment)) => (200, json!(payment)),
            Ok(None) => refuse(&Refusal::Unknown { payment: id.to_owned() }),
            Err(error) => unavailable(&error),
        }
    }

    async fn ledger(&self) -> (u16, Value) {
        match self.database.read(|transaction| ledger::read(transaction)).await {
            Ok(ledger) => (200, json!(ledger)),
            Err(error) => unavailable(&error),
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX)
    }
}

impl<P: Processor> Handler for Payments<P> {
    /// Whatever is answered, it says which processor it is about.
    async fn handle(&self, request: Request) -> Response {
        let (status, body) = self.answer(&request).await;
        let mut answer = Map::from_iter([("processor".to_owned(), self.processor.name().into())]);
        if let Value::Object(fields) = body {
            answer.extend(fields);
        }
        let response = Response::new(status).json(&answer);
        if status == 503 { response.header("retry-after", "1") } else { response }
    }
}

fn nowhere() -> (u16, Value) {
    let error = "expected GET /{payment}, GET /ledger, or POST /authorise, /capture, /void, /refund";
    (404, json!({ "error": error }))
}

fn done(id: &str, kind: Kind, payment: &Payment, verdict: &Verdict) -> (u16, Value) {
    match verdict {
        Verdict::Approved => (200, json!({ "id": id, "operation": kind, "result": "approved", "payment": payment })),
        Verdict::Declined { code } => (
            402,
            json!({ "id": id, "operation": kind, "result": "declined", "reason": "declined", "code": code,
                    "error": format!("{} declined: {code}", kind.as_column()), "payment": payment }),
        ),
    }
}

fn unavailable(failure: &DatabaseError) -> (u16, Value) {
    log(format_args!("{failure}"));
    (503, json!({ "error": "the books cannot be read or written now; try again", "reason": "unavailable" }))
}

/// `reason` is for programs, `error` for people.
fn refuse(refusal: &Refusal) -> (u16, Value) {
    let (status, reason) = match refusal {
        Refusal::Mismatch { .. } => (409, "mismatch"),
        Refusal::Unknown { .. } => (404, "unknown_payment"),
        Refusal::State { .. } => (409, "state"),
        Refusal::TooMuch { .. } => (409, "too_much"),
        Refusal::Captured { .. } => (409, "captured"),
    };
    (status, json!({ "error": refusal.to_string(), "reason": reason }))
}
