//! The rest of the shop as an order meets it: a gateway, and behind it an inventory and a payment of a few lines each,
//! which do as they are told: refuse, lose an answer, or be there when the order's process dies.

use function_sdk::testing::{self, Running};
use function_sdk::{Request, Response};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tokio::sync::Notify;

/// What goes wrong with one of the calls an order makes, counted from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The caller dies before the call is carried out.
    DieBefore(usize),
    /// The caller dies after it was carried out, before it has the answer.
    DieAfter(usize),
    /// The call is answered 502 without being carried out.
    FailBefore(usize),
    /// It is carried out and answered 502.
    FailAfter(usize),
}

/// What the shop does by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Of so many reservations, the stock is given back just before their commit.
    pub(crate) expiring: usize,
    /// When a reservation expires, somebody else buys all that is left.
    pub(crate) sold_out_on_expiry: bool,
    /// The processor declines captures.
    pub(crate) capture_declined: bool,
}

/// What there is in the shop.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    /// On hand and reserved, by sku.
    pub(crate) stock: BTreeMap<String, (i64, i64)>,
    /// Items and state, by reservation.
    reservations: BTreeMap<String, (BTreeMap<String, i64>, &'static str)>,
    /// Amount, captured, refunded, and whether it was let go of, by payment.
    payments: BTreeMap<String, (i64, i64, i64, bool)>,
    /// What was done with payments, by the caller's names.
    operations: BTreeSet<String>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    rules: Rules,
    fault: Option<Fault>,
    calls: Vec<String>,
    died: Rc<Notify>,
}

/// The rest of the shop, served.
pub(crate) struct World {
    inner: Rc<RefCell<Inner>>,
    running: Running,
    died: Rc<Notify>,
}

impl World {
    pub(crate) fn new(rules: Rules) -> Self {
        let stock = [("tea", 300), ("cheesecake", 3)].map(|(sku, on_hand)| (sku.to_owned(), (on_hand, 0)));
        let state = State { stock: stock.into(), ..State::default() };
        let died = Rc::new(Notify::new());
        let inner = Inner { state, rules, fault: None, calls: Vec::new(), died: Rc::clone(&died) };
        let inner = Rc::new(RefCell::new(inner));
        let served = Rc::clone(&inner);
        let running = testing::start(move |request: Request| answer(Rc::clone(&served), request));
        Self { inner, running, died }
    }

    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// Lets one of the next calls go wrong, counted from now; the ones after it go right.
    pub(crate) fn expect(&self, fault: Fault) {
        let mut inner = self.inner.borrow_mut();
        inner.calls.clear();
        inner.fault = Some(fault);
    }

    /// Lets everything go right.
    pub(crate) fn heal(&self) {
        self.inner.borrow_mut().fault = None;
    }

    /// Ends when a fault says that the caller dies.
    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner.borrow().calls.clone()
    }

    pub(crate) fn state(&self) -> State {
        self.inner.borrow().state.clone()
    }

    /// What was taken and not given back, of all cards.
    pub(crate) fn taken(&self) -> i64 {
        self.inner.borrow().state.payments.values().map(|(_, captured, refunded, _)| captured - refunded).sum()
    }
}

async fn answer(inner: Rc<RefCell<Inner>>, request: Request) -> Response {
    let (index, fault) = {
        let mut inner = inner.borrow_mut();
        let path = request.path.replace("/function/", "").replace(".openfaas-fn", "");
        inner.calls.push(path);
        (inner.calls.len() - 1, inner.fault)
    };
    let lost = Response::new(502).text("the answer got lost");
    match fault {
        Some(Fault::FailBefore(at)) if at == index => return lost,
        Some(Fault::FailAfter(at)) if at == index => {
            inner.borrow_mut().carry_out(&request);
            return lost;
        }
        Some(Fault::DieBefore(at)) if at == index => {}
        Some(Fault::DieAfter(at)) if at == index => drop(inner.borrow_mut().carry_out(&request)),
        _ => return inner.borrow_mut().carry_out(&request),
    }
    inner.borrow().died.notify_one();
    std::future::pending().await
}

impl Inner {
    fn carry_out(&mut self, request: &Request) -> Response {
        let path = request.path.trim_start_matches("/function/");
        if path == "inventory.openfaas-fn/" {
            let item = |sku: &str| json!({ "sku": sku, "name": sku, "price": { "amount": 500, "currency": "USD" } });
            return Response::ok().json(&json!({ "items": [item("cheesecake"), item("tea")] }));
        }
        if request.header("x-shop-key") != Some("k3y") {
            return Response::new(401).json(&json!({ "error": "no" }));
        }
        let body: Value = request.json().unwrap();
        let id = body["id"].as_str().unwrap().to_owned();
        let said = match path {
            "inventory.openfaas-fn/reserve" => self.reserve(id, &body["items"]),
            "inventory.openfaas-fn/commit" => self.commit(&id),
            "inventory.openfaas-fn/release" => self.release(&id),
            "payment.openfaas-fn/authorise" => self.authorise(id, &body),
            "payment.openfaas-fn/capture" => self.capture(&body),
            "payment.openfaas-fn/refund" => self.with_payment(&body, |payment, amount| payment.2 += amount),
            "payment.openfaas-fn/void" => self.with_payment(&body, |payment, _| payment.3 = true),
            other => panic!("nobody serves {other}"),
        };
        match said {
            Ok(()) => Response::ok().json(&json!({})),
            Err((status, said)) => Response::new(status).json(&said),
        }
    }

    fn reserve(&mut self, id: String, items: &Value) -> Result<(), (u16, Value)> {
        let items: BTreeMap<String, i64> = items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["sku"].as_str().unwrap().to_owned(), item["quantity"].as_i64().unwrap()))
            .collect();
        match self.state.reservations.get(&id) {
            Some((_, "held" | "committed")) => return Ok(()),
            Some(_) => return Err((410, json!({ "reason": "expired" }))),
            None => {}
        }
        for (sku, quantity) in &items {
            let (on_hand, reserved) = self.state.stock[sku];
            if on_hand - reserved < *quantity {
                return Err((409, json!({ "reason": "out_of_stock", "sku": sku })));
            }
        }
        for (sku, quantity) in &items {
            self.state.stock.get_mut(sku).unwrap().1 += quantity;
        }
        self.state.reservations.insert(id, (items, "held"));
        Ok(())
    }

    fn commit(&mut self, id: &str) -> Result<(), (u16, Value)> {
        let held = self.state.reservations[id].1 == "held";
        if held && self.rules.expiring > 0 {
            self.rules.expiring -= 1;
            self.give_back(id, "expired");
            if self.rules.sold_out_on_expiry {
                self.state.stock.values_mut().for_each(|(on_hand, _)| *on_hand = 0);
            }
        }
        match self.state.reservations[id].1 {
            "committed" => Ok(()),
            "held" => {
                let items = self.state.reservations[id].0.clone();
                for (sku, quantity) in items {
                    let (on_hand, reserved) = self.state.stock.get_mut(&sku).unwrap();
                    *on_hand -= quantity;
                    *reserved -= quantity;
                }
                self.state.reservations.get_mut(id).unwrap().1 = "committed";
                Ok(())
            }
            _ => Err((410, json!({ "reason": "expired" }))),
        }
    }

    fn release(&mut self, id: &str) -> Result<(), (u16, Value)> {
        if self.state.reservations[id].1 == "held" {
            self.give_back(id, "released");
        }
        Ok(())
    }

    fn give_back(&mut self, id: &str, state: &'static str) {
        let items = self.state.reservations[id].0.clone();
        for (sku, quantity) in items {
            self.state.stock.get_mut(&sku).unwrap().1 -= quantity;
        }
        self.state.reservations.get_mut(id).unwrap().1 = state;
    }

    fn authorise(&mut self, id: String, body: &Value) -> Result<(), (u16, Value)> {
        if body["token"] != "tok_visa" {
            return Err((402, json!({ "reason": "declined", "code": "generic_decline" })));
        }
        self.state.payments.entry(id).or_insert((body["amount"].as_i64().unwrap(), 0, 0, false));
        Ok(())
    }

    fn capture(&mut self, body: &Value) -> Result<(), (u16, Value)> {
        if self.rules.capture_declined {
            return Err((402, json!({ "reason": "declined", "code": "capture_declined" })));
        }
        self.with_payment(body, |payment, amount| payment.1 += amount)
    }

    /// Does it once for each id.
    fn with_payment(
        &mut self,
        body: &Value,
        change: impl FnOnce(&mut (i64, i64, i64, bool), i64),
    ) -> Result<(), (u16, Value)> {
        let payment = self.state.payments.get_mut(body["payment"].as_str().unwrap()).unwrap();
        if self.state.operations.insert(body["id"].as_str().unwrap().to_owned()) {
            change(payment, body["amount"].as_i64().unwrap_or(0));
        }
        Ok(())
    }
}
