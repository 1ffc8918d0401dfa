use super::*;
use crate::{restock, stock};

const MINUTE: i64 = 60_000;

/// A shop with the schema's menu, and what is done to it.
struct Shop(Connection);

impl Shop {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../schema/1.sql")).unwrap();
        Self(connection)
    }

    fn with<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> T {
        let transaction = self.0.transaction().unwrap();
        let result = work(&transaction).unwrap();
        transaction.commit().unwrap();
        result
    }

    fn reserve(&mut self, id: &str, lines: &[(&str, i64)]) -> Result<Reservation, Refusal> {
        let lines = lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect();
        self.with(|transaction| reserve(transaction, id, &lines, 0, MINUTE))
    }

    fn commit(&mut self, id: &str) -> Result<Reservation, Refusal> {
        self.with(|transaction| commit(transaction, id, 7))
    }

    fn release(&mut self, id: &str) -> Result<Reservation, Refusal> {
        self.with(|transaction| release(transaction, id, 0))
    }

    fn expire(&mut self, now_ms: i64) -> usize {
        self.with(|transaction| expire(transaction, now_ms))
    }

    fn restock(&mut self, id: &str, sku: &str, quantity: i64) -> Result<stock::Item, Refusal> {
        self.with(|transaction| restock::restock(transaction, id, sku, quantity, 0))
    }

    fn reorders(&mut self) -> Vec<(String, i64)> {
        self.with(|transaction| reorder::list(transaction, 10))
            .into_iter()
            .map(|reorder| (reorder.sku, reorder.on_hand))
            .collect()
    }

    /// On hand, and reserved of it.
    fn stock(&mut self, sku: &str) -> (i64, i64) {
        let item = self.with(|transaction| stock::find(transaction, sku)).unwrap();
        (item.on_hand, item.reserved)
    }
}

#[test]
fn reserved_stock_is_taken_by_a_commit_and_given_back_by_a_release() {
    let mut shop = Shop::new();
    shop.reserve("one", &[("cheesecake", 4), ("tea", 1)]).unwrap();
    shop.reserve("two", &[("cheesecake", 2)]).unwrap();
    assert_eq!(shop.stock("cheesecake"), (24, 6));
    shop.commit("one").unwrap();
    shop.release("two").unwrap();
    assert_eq!(shop.stock("cheesecake"), (20, 0));
    assert_eq!(shop.stock("tea"), (299, 0));
}

#[test]
fn each_call_may_be_repeated_and_counts_once() {
    let mut shop = Shop::new();
    let lines = [("cheesecake", 4)];
    let first = shop.reserve("one", &lines).unwrap();
    assert_eq!(shop.reserve("one", &lines).unwrap(), first);
    assert_eq!(shop.stock("cheesecake"), (24, 4));
    let first = shop.commit("one").unwrap();
    assert_eq!(shop.commit("one").unwrap(), first);
    assert_eq!(shop.reserve("one", &lines).unwrap().state, State::Committed);
    assert_eq!(shop.stock("cheesecake"), (20, 0));
    shop.reserve("two", &lines).unwrap();
    shop.release("two").unwrap();
    shop.release("two").unwrap();
    assert_eq!(shop.stock("cheesecake"), (20, 0));
}

#[test]
fn a_reservation_is_made_whole_or_not_at_all() {
    let mut shop = Shop::new();
    let short = shop.reserve("one", &[("cheesecake", 25), ("a-first", 1)]);
    assert_eq!(short, Err(Refusal::UnknownSku { sku: "a-first".into() }));
    let short = shop.reserve("one", &[("cappuccino", 5), ("cheesecake", 25)]);
    assert_eq!(short, Err(Refusal::OutOfStock { sku: "cheesecake".into(), wanted: 25, available: 24 }));
    assert_eq!(shop.stock("cappuccino"), (800, 0));
    // The refused id is free: nothing was made under it.
    shop.reserve("one", &[("cheesecake", 24)]).unwrap();
    let short = shop.reserve("two", &[("cheesecake", 1)]);
    assert_eq!(short, Err(Refusal::OutOfStock { sku: "cheesecake".into(), wanted: 1, available: 0 }));
}

#[test]
fn an_id_stands_for_one_set_of_items() {
    let mut shop = Shop::new();
    shop.reserve("one", &[("tea", 1)]).unwrap();
    assert_eq!(shop.reserve("one", &[("tea", 2)]), Err(Refusal::Mismatch { id: "one".into() }));
    assert_eq!(shop.stock("tea"), (300, 1));
}

#[test]
fn only_what_is_stale_expires_and_then_nothing_can_be_done_with_it() {
    let mut shop = Shop::new();
    shop.reserve("one", &[("tea", 3)]).unwrap();
    shop.reserve("two", &[("tea", 2)]).unwrap();
    shop.commit("two").unwrap();
    assert_eq!(shop.expire(MINUTE - 1), 0);
    assert_eq!(shop.expire(MINUTE), 1);
    assert_eq!(shop.expire(MINUTE), 0);
    assert_eq!(shop.stock("tea"), (298, 0));
    let gone = Refusal::Gone { id: "one".into(), state: State::Expired };
    assert_eq!(shop.commit("one"), Err(gone.clone()));
    assert_eq!(shop.reserve("one", &[("tea", 3)]), Err(gone));
    assert_eq!(shop.release("one").unwrap().state, State::Expired);
}

#[test]
fn a_stale_reservation_that_still_holds_can_be_committed() {
    let mut shop = Shop::new();
    shop.reserve("one", &[("tea", 3)]).unwrap();
    shop.with(|transaction| commit(transaction, "one", 2 * MINUTE)).unwrap();
    assert_eq!(shop.stock("tea"), (297, 0));
}

#[test]
fn what_is_out_of_order_is_refused() {
    let mut shop = Shop::new();
    assert_eq!(shop.commit("never"), Err(Refusal::Unknown { id: "never".into() }));
    shop.reserve("one", &[("tea", 1)]).unwrap();
    shop.commit("one").unwrap();
    assert_eq!(shop.release("one"), Err(Refusal::Committed { id: "one".into() }));
    // A release that overtakes its reserve wins.
    shop.release("late").unwrap();
    assert!(matches!(shop.reserve("late", &[("tea", 1)]), Err(Refusal::Gone { .. })));
    assert_eq!(shop.stock("tea"), (299, 0));
}

#[test]
fn one_reorder_is_written_per_fall_to_the_low_mark() {
    let mut shop = Shop::new();
    let sell = |shop: &mut Shop, id: &str, quantity| {
        shop.reserve(id, &[("cheesecake", quantity)]).unwrap();
        shop.commit(id).unwrap();
    };
    sell(&mut shop, "a", 17);
    assert_eq!(shop.reorders(), []);
    sell(&mut shop, "b", 1);
    sell(&mut shop, "c", 2);
    assert_eq!(shop.reorders(), [("cheesecake".to_owned(), 6)]);
    assert_eq!(shop.with(|transaction| reorder::check(transaction, 0)), 0);
    // Still low after it: that is no new fall.
    shop.restock("d1", "cheesecake", 1).unwrap();
    sell(&mut shop, "d", 1);
    assert_eq!(shop.reorders().len(), 1);
    shop.restock("d2", "cheesecake", 20).unwrap();
    sell(&mut shop, "e", 20);
    assert_eq!(shop.reorders(), [("cheesecake".to_owned(), 4), ("cheesecake".to_owned(), 6)]);
}

#[test]
fn a_delivery_is_counted_once() {
    let mut shop = Shop::new();
    assert_eq!(shop.restock("truck-1", "tea", 10).unwrap().on_hand, 310);
    assert_eq!(shop.restock("truck-1", "tea", 10).unwrap().on_hand, 310);
    assert_eq!(shop.restock("truck-1", "tea", 11), Err(Refusal::Mismatch { id: "truck-1".into() }));
    assert_eq!(shop.restock("truck-2", "beer", 1), Err(Refusal::UnknownSku { sku: "beer".into() }));
}
