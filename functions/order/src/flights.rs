//! Orders that are being worked on in this process: whoever asks for the same one waits for the one who was first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::watch;

/// Who works on which order. `T` is what comes of it.
#[derive(Debug)]
pub struct Flights<T>(Rc<RefCell<HashMap<String, watch::Receiver<Option<T>>>>>);

/// The right to work on an order. Dropped without landing, those who wait are free to work on it themselves.
#[derive(Debug)]
pub struct Flight<T> {
    id: String,
    result: watch::Sender<Option<T>>,
    flights: Rc<RefCell<HashMap<String, watch::Receiver<Option<T>>>>>,
}

/// What is there for one who wants to work on an order.
#[derive(Debug)]
pub enum Entry<T> {
    /// Nobody else does.
    First(Flight<T>),
    /// Somebody does.
    Waits(Waiting<T>),
}

/// Somebody else's flight.
#[derive(Debug)]
pub struct Waiting<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flights<T> {
    /// Begins to work on an order, or finds who does.
    pub fn enter(&self, id: &str) -> Entry<T> {
        let mut flights = self.0.borrow_mut();
        if let Some(result) = flights.get(id) {
            return Entry::Waits(Waiting(result.clone()));
        }
        let (result, waiting) = watch::channel(None);
        flights.insert(id.to_owned(), waiting);
        Entry::First(Flight { id: id.to_owned(), result, flights: Rc::clone(&self.0) })
    }
}

impl<T> Flight<T> {
    /// Tells everyone who waits what came of it.
    pub fn land(self, result: T) {
        self.result.send_replace(Some(result));
    }
}

impl<T: Clone> Waiting<T> {
    /// Waits for the other one; `None` when that one gave up.
    pub async fn result(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.flights.borrow_mut().remove(&self.id);
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(flights: &Flights<u8>) -> Flight<u8> {
        match flights.enter("a") {
            Entry::First(flight) => flight,
            Entry::Waits(_) => panic!("somebody is there"),
        }
    }

    fn waiting(flights: &Flights<u8>) -> Waiting<u8> {
        match flights.enter("a") {
            Entry::Waits(waiting) => waiting,
            Entry::First(_) => panic!("nobody is there"),
        }
    }

    #[tokio::test]
    async fn all_who_wait_get_what_came_of_the_first() {
        let flights = Flights::default();
        let flight = first(&flights);
        let (one, two) = (waiting(&flights), waiting(&flights));
        flight.land(7);
        assert_eq!((one.result().await, two.result().await), (Some(7), Some(7)));
        drop(first(&flights));
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_way_free() {
        let flights = Flights::default();
        let flight = first(&flights);
        let waiting = waiting(&flights);
        drop(flight);
        assert_eq!(waiting.result().await, None);
        drop(first(&flights));
    }
}
