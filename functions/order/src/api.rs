//! Orders as HTTP: which call does what, and what each outcome is called.

use crate::order::{Order, Reason, Status};
use crate::placement::{OrderId, Placement};
use crate::shop::Shop;
use crate::store::Store;
use crate::till::{Placed, Till};
use function_sdk::sqlite::{DatabaseError, OpenError};
use function_sdk::{Context, Handler, Method, Request, Response, log};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// How long one call of another function may take, where the environment does not say.
const DEFAULT_CALL_SECONDS: u32 = 5;
/// How long an order is worked on while its customer waits. Below the time limit of a call (`exec_timeout`, 30 s).
const DEFAULT_ORDER_SECONDS: u32 = 20;
/// When sweeps are tried after a start: the gateway and the other functions may be starting as well.
const START_SWEEPS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// What the cron connector calls its events.
const CRON_TOPIC: &str = "cron-function";

/// The function.
#[derive(Debug)]
pub struct Orders {
    till: Rc<Till>,
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
    #[error("{name}={value:?} is no time: expected whole seconds, at least 1")]
    Seconds {
        /// Which variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
}

impl Orders {
    /// Opens the orders in the function's data directory.
    pub fn open(context: &Context) -> Result<Self, StartError> {
        let directory = context.data_dir().ok_or(StartError::NoData)?;
        let shop = Shop::new(context, seconds(context, "call_seconds", DEFAULT_CALL_SECONDS)?);
        let patience = seconds(context, "order_seconds", DEFAULT_ORDER_SECONDS)?;
        let till = Till::new(Store::open(&directory)?, shop, context.clock(), patience);
        Ok(Self { till: Rc::new(till) })
    }

    /// Opens the orders, and takes up what was left pending beside the first calls.
    pub async fn start(context: Context) -> Result<Self, StartError> {
        let orders = Self::open(&context)?;
        // It ends by itself, and with the function's thread.
        drop(tokio::task::spawn_local(take_up(Rc::clone(&orders.till))));
        Ok(orders)
    }

    async fn place(&self, request: &Request) -> Response {
        let (id, placement) = match Placement::read(&request.body, &request.call_id) {
            Ok(read) => read,
            Err(error) => {
                let body = json!({ "error": error.to_string(), "field": error.field() });
                return Response::new(error.status()).json(&body);
            }
        };
        let placed = self.till.place(&id, &placement).await;
        answer(&id, &placed)
    }

    async fn show(&self, id: &str) -> Response {
        match self.till.store().find(id).await {
            Ok(Some(order)) => Response::ok().json(&view(&order)),
            Ok(None) => error(404, &format!("there is no order {id:?}")),
            Err(failure) => unavailable(&failure),
        }
    }

    async fn list(&self, request: &Request) -> Response {
        let status = match request.query_param("status").filter(|status| !status.is_empty()) {
            None => None,
            Some(text) => match Status::parse(&text) {
                Some(status) => Some(status),
                None => return error(400, "status: expected pending, confirmed or cancelled"),
            },
        };
        let Ok(limit @ 1..=1000) = request.query_param("limit").as_deref().unwrap_or("100").parse() else {
            return error(400, "limit: expected a number from 1 to 1000");
        };
        match self.till.store().list(status, limit).await {
            Ok(orders) => {
                let orders: Vec<_> = orders.iter().map(view).collect();
                Response::ok().json(&json!({ "orders": orders }))
            }
            Err(failure) => unavailable(&failure),
        }
    }

    /// The schedule's call. Whoever else makes it does no harm: orders only get where they have to.
    async fn sweep(&self) -> Response {
        match self.till.sweep().await {
            Ok(swept) => Response::ok().json(&swept),
            Err(failure) => unavailable(&failure),
        }
    }
}

impl Handler for Orders {
    async fn handle(&self, request: Request) -> Response {
        let path = request.path.trim_matches('/');
        match (&request.method, path) {
            (&Method::POST, "") if request.header("x-topic") == Some(CRON_TOPIC) => self.sweep().await,
            (&Method::POST, "") => self.place(&request).await,
            (&Method::GET, "") => self.list(&request).await,
            (&Method::GET, id) if !id.contains('/') => self.show(id).await,
            _ => error(404, "expected POST /, GET /{id} or GET /?status="),
        }
    }
}

/// Sweeps until nothing is pending; after the last try it is the schedule's.
async fn take_up(till: Rc<Till>) {
    for wait in START_SWEEPS {
        tokio::time::sleep(wait).await;
        match till.sweep().await {
            Ok(swept) if swept.pending == 0 => return,
            Ok(_) => {}
            Err(failure) => log(format_args!("Pending orders are not taken up: {failure}")),
        }
    }
}

fn seconds(context: &Context, name: &'static str, default: u32) -> Result<Duration, StartError> {
    let seconds = match context.env(name) {
        None => default,
        Some(value) => match value.trim().parse() {
            Ok(seconds) if seconds > 0 => seconds,
            _ => return Err(StartError::Seconds { name, value }),
        },
    };
    Ok(Duration::from_secs(seconds.into()))
}

/// The one place that chooses statuses for what became of an order.
fn answer(id: &OrderId, placed: &Placed) -> Response {
    match placed {
        Placed::Ended(order) => {
            let status = match (order.progress.status, &order.progress.reason) {
                (Status::Confirmed, _) => 201,
                (_, Some(Reason::Declined { .. })) => 402,
                _ => 409,
            };
            Response::new(status).json(&view(order))
        }
        Placed::Pending(order, trouble) => {
            let mut body = view(order);
            body["error"] = format!(
                "the order is taken and has not ended: {trouble}; it will, by itself: GET /{0}, or POST it again as {0:?}",
                order.id
            )
            .into();
            Response::new(503).header("retry-after", "5").json(&body)
        }
        Placed::Taken => {
            let text = format!("there is another order {:?}; give this one another id", id.as_str());
            Response::new(409).json(&json!({ "error": text, "reason": "id_taken", "id": id.as_str() }))
        }
        Placed::Invalid { field, problem } => {
            Response::new(422).json(&json!({ "error": format!("{field}: {problem}"), "field": field }))
        }
        Placed::Unavailable(trouble) => {
            let text = format!("{trouble}; nothing was done about order {:?}; try again", id.as_str());
            error(503, &text).header("retry-after", "5")
        }
    }
}

/// An order as its customer sees it: the same each time once it has ended.
fn view(order: &Order) -> Value {
    let mut view = json!({
        "id": order.id,
        "status": order.progress.status,
        "items": order.lines,
        "total": { "amount": order.total, "currency": order.currency },
        "payment": order.payment_id(),
        "created_ms": order.created_ms,
    });
    if let Some(reason) = &order.progress.reason {
        view["error"] = reason.to_string().into();
        if let (Value::Object(view), Value::Object(reason)) = (&mut view, json!(reason)) {
            view.extend(reason);
        }
    }
    view
}

fn error(status: u16, text: &str) -> Response {
    Response::new(status).json(&json!({ "error": text }))
}

fn unavailable(failure: &DatabaseError) -> Response {
    log(format_args!("{failure}"));
    error(503, "the orders cannot be read or written now; try again").header("retry-after", "1")
}
