//! Inventory as HTTP: which call does what, and what each outcome is called.

use crate::body::{Named, Reserve, Restock};
use crate::reservation::{Outcome, Refusal, State};
use crate::{reorder, reservation, restock, stock};
use function_sdk::json::{self, JsonError};
use function_sdk::sqlite::rusqlite::Transaction;
use function_sdk::sqlite::{Database, DatabaseError, OpenError};
use function_sdk::{Access, Clock, Context, Handler, Method, Request, Response, log};
use serde::Serialize;
use serde_json::json;

/// The schema's versions, oldest first.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];
/// How long a reservation holds where the environment does not say.
const DEFAULT_RESERVATION_SECONDS: u32 = 900;
/// Who may change stock: the secret, and the header that tells it.
const KEY_SECRET: &str = "shop-key";
const KEY_HEADER: &str = "x-shop-key";
/// What the cron connector calls its events.
const CRON_TOPIC: &str = "cron-function";

/// The function.
#[derive(Debug)]
pub struct Inventory {
    database: Database,
    context: Context,
    clock: Clock,
    reservation_ms: i64,
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
    /// A setting is none.
    #[error("reservation_seconds={0:?} is no time: expected whole seconds, at least 1")]
    Reservation(String),
}

impl Inventory {
    /// Opens the stock in the function's data directory.
    pub async fn open(context: Context) -> Result<Self, StartError> {
        let directory = context.data_dir().ok_or(StartError::NoData)?;
        let seconds = match context.env("reservation_seconds") {
            None => DEFAULT_RESERVATION_SECONDS,
            Some(text) => match text.trim().parse() {
                Ok(seconds) if seconds > 0 => seconds,
                _ => return Err(StartError::Reservation(text)),
            },
        };
        let database = Database::open(&directory, "inventory.db", &MIGRATIONS)?;
        Ok(Self { database, clock: context.clock(), context, reservation_ms: i64::from(seconds) * 1000 })
    }

    async fn list(&self) -> Response {
        match self.database.read(|transaction| stock::list(transaction)).await {
            Ok(items) => Response::ok().json(&json!({ "items": items })),
            Err(error) => unavailable(&error),
        }
    }

    async fn show(&self, sku: &str) -> Response {
        let wanted = sku.to_owned();
        match self.database.read(move |transaction| stock::find(transaction, &wanted)).await {
            Ok(Some(item)) => Response::ok().json(&item),
            Ok(None) => error(404, &Refusal::UnknownSku { sku: sku.to_owned() }.to_string()),
            Err(error) => unavailable(&error),
        }
    }

    async fn reorders(&self, request: &Request) -> Response {
        let limit = request.query_param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100).clamp(1, 1000);
        match self.database.read(move |transaction| reorder::list(transaction, limit)).await {
            Ok(reorders) => Response::ok().json(&json!({ "reorders": reorders })),
            Err(error) => unavailable(&error),
        }
    }

    /// The schedule's call. Whoever else makes it does no harm: only what is stale is given up.
    async fn tend(&self) -> Response {
        let now = self.now();
        let tended = self
            .database
            .write(move |transaction| Ok((reservation::expire(transaction, now)?, reorder::check(transaction, now)?)));
        match tended.await {
            Ok((expired, reorders)) => {
                if expired + reorders > 0 {
                    log(format_args!("Stock checked: {expired} reservations expired, {reorders} reorders written"));
                }
                Response::ok().json(&json!({ "expired": expired, "reorders": reorders }))
            }
            Err(error) => unavailable(&error),
        }
    }

    async fn reserve(&self, request: &Request) -> Response {
        let (id, lines) = match Reserve::read(&request.body) {
            Ok(body) => body,
            Err(error) => return bad_body(&error),
        };
        let (now, lasts) = (self.now(), self.reservation_ms);
        self.change(move |transaction| reservation::reserve(transaction, &id, &lines, now, lasts)).await
    }

    async fn commit(&self, request: &Request) -> Response {
        let now = self.now();
        match json::read::<Named>(&request.body) {
            Ok(Named { id }) => self.change(move |transaction| reservation::commit(transaction, &id.0, now)).await,
            Err(error) => bad_body(&error),
        }
    }

    async fn release(&self, request: &Request) -> Response {
        let now = self.now();
        match json::read::<Named>(&request.body) {
            Ok(Named { id }) => self.change(move |transaction| reservation::release(transaction, &id.0, now)).await,
            Err(error) => bad_body(&error),
        }
    }

    async fn restock(&self, request: &Request) -> Response {
        let body: Restock = match json::read(&request.body) {
            Ok(body) => body,
            Err(error) => return bad_body(&error),
        };
        let id = body.id.map_or_else(|| request.call_id.clone(), |id| id.0);
        let now = self.now();
        self.change(move |transaction| restock::restock(transaction, &id, &body.sku.0, body.quantity.0, now)).await
    }

    async fn change<T, F>(&self, change: F) -> Response
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
    {
        match self.database.write(change).await {
            Ok(Ok(done)) => Response::ok().json(&done),
            Ok(Err(refusal)) => refuse(&refusal),
            Err(error) => unavailable(&error),
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX)
    }
}

impl Handler for Inventory {
    async fn handle(&self, request: Request) -> Response {
        let path = request.path.trim_matches('/');
        match (&request.method, path) {
            (&Method::GET, "") => self.list().await,
            (&Method::GET, "reorders") => self.reorders(&request).await,
            (&Method::GET, sku) if !sku.contains('/') => self.show(sku).await,
            (&Method::POST, "") if request.header("x-topic") == Some(CRON_TOPIC) => self.tend().await,
            (&Method::POST, "reserve" | "commit" | "release" | "restock") => {
                match Access::of(&self.context, KEY_SECRET, request.header(KEY_HEADER)) {
                    Access::Allowed => {}
                    Access::Denied => return error(401, "the stock is changed only with the shop's key in X-Shop-Key"),
                    Access::NoSecret => return error(503, "this function has no shop key; see its log"),
                }
                match path {
                    "reserve" => self.reserve(&request).await,
                    "commit" => self.commit(&request).await,
                    "release" => self.release(&request).await,
                    _ => self.restock(&request).await,
                }
            }
            _ => error(404, "expected GET /, GET /{sku}, GET /reorders, or POST /reserve, /commit, /release, /restock"),
        }
    }
}

fn error(status: u16, text: &str) -> Response {
    Response::new(status).json(&json!({ "error": text }))
}

fn bad_body(error: &JsonError) -> Response {
    let body = json!({ "error": error.to_string(), "reason": "bad_request", "field": error.field() });
    Response::new(error.status()).json(&body)
}

fn unavailable(failure: &DatabaseError) -> Response {
    log(format_args!("{failure}"));
    error(503, "the stock cannot be read or written now; try again").header("retry-after", "1")
}

/// `reason` is for programs, `error` for people.
fn refuse(refusal: &Refusal) -> Response {
    let error = refusal.to_string();
    let (status, body) = match refusal {
        Refusal::UnknownSku { sku } => (422, json!({ "error": error, "reason": "unknown_sku", "sku": sku })),
        Refusal::OutOfStock { sku, wanted, available } => (
            409,
            json!({ "error": error, "reason": "out_of_stock", "sku": sku, "wanted": wanted, "available": available }),
        ),
        Refusal::Mismatch { .. } => (409, json!({ "error": error, "reason": "mismatch" })),
        Refusal::Gone { state: State::Expired, .. } => (410, json!({ "error": error, "reason": "expired" })),
        Refusal::Gone { .. } => (410, json!({ "error": error, "reason": "released" })),
        Refusal::Committed { .. } => (409, json!({ "error": error, "reason": "committed" })),
        Refusal::Unknown { .. } => (404, json!({ "error": error, "reason": "unknown_reservation" })),
    };
    Response::new(status).json(&body)
}
