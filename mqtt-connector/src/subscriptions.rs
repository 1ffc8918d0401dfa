//! Keeps what is subscribed at the broker equal to what functions want.

use crate::link::Orders;
use dispatch::covers;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// What is subscribed, what should be, and what has been asked.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    wanted: BTreeSet<String>,
    /// What the broker has, as far as it told.
    held: BTreeSet<String>,
    /// What an earlier process left in the session; unsubscribed when no one wants it.
    left: BTreeSet<String>,
    /// What the broker does not let us have. Asked again after the next connection.
    refused: BTreeSet<String>,
    /// Asked, without a packet number yet.
    asked: VecDeque<Request>,
    /// Asked, waiting for an answer.
    waiting: HashMap<u16, Request>,
    connected: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Request {
    Subscribe(String),
    Unsubscribe(String),
}

impl Subscriptions {
    /// Knows what an earlier process left in the session.
    pub(crate) fn new(left: BTreeSet<String>) -> Self {
        Self { left, ..Self::default() }
    }

    /// What is wanted from now on. A filter that another one covers is left out, because a broker may send a message
    /// once for each filter it matches. Filters that merely overlap stay, and may bring a message twice.
    pub(crate) fn want<'a>(&mut self, filters: impl IntoIterator<Item = &'a str> + Clone, orders: &impl Orders) {
        let wanted = filters
            .clone()
            .into_iter()
            .filter(|filter| !filters.clone().into_iter().any(|other| other != *filter && covers(other, filter)))
            .map(str::to_owned)
            .collect();
        if self.wanted != wanted {
            self.wanted = wanted;
            self.refused.clear();
            self.settle(orders);
        }
    }

    /// What should be subscribed.
    pub(crate) fn wanted(&self) -> &BTreeSet<String> {
        &self.wanted
    }

    /// A new connection; `session` tells whether the broker still knows us.
    pub(crate) fn connected(&mut self, session: bool, orders: &impl Orders) {
        if !session {
            self.held.clear();
            self.left.clear();
        }
        self.refused.clear();
        self.connected = true;
        self.settle(orders);
    }

    /// The connection is gone, and with it every question.
    pub(crate) fn lost(&mut self) {
        self.connected = false;
        // Whether the broker did what was asked is unknown: subscribing twice does no harm.
        for request in self.waiting.drain().map(|(_, request)| request).chain(self.asked.drain(..)) {
            if let Request::Unsubscribe(filter) = request {
                self.left.insert(filter);
            }
        }
    }

    /// The oldest question was sent as this packet.
    pub(crate) fn sent(&mut self, packet: u16) {
        if let Some(request) = self.asked.pop_front() {
            self.waiting.insert(packet, request);
        }
    }

    /// A question was answered.
    pub(crate) fn answered(&mut self, packet: u16, refusal: Option<String>, orders: &impl Orders) {
        match (self.waiting.remove(&packet), refusal) {
            (Some(Request::Subscribe(filter)), None) => {
                tracing::info!(filter, "Subscribed");
                self.held.insert(filter);
            }
            (Some(Request::Unsubscribe(filter)), None) => tracing::info!(filter, "Unsubscribed"),
            (Some(Request::Subscribe(filter)), Some(reason)) => {
                tracing::error!(filter, reason, "The MQTT broker refuses a subscription; allow it in the broker's ACL");
                self.refused.insert(filter);
            }
            (Some(Request::Unsubscribe(filter)), Some(reason)) => {
                tracing::warn!(filter, reason, "The MQTT broker does not end a subscription");
            }
            (None, _) => {}
        }
        self.settle(orders);
    }

    /// Asks for what is missing first, so that nothing is missed where a wider filter takes a narrower one's place;
    /// ends what no one wants after all that is wanted is held.
    fn settle(&mut self, orders: &impl Orders) {
        if !self.connected {
            return;
        }
        let asked = |request: &Request, this: &Self| {
            this.asked.contains(request) || this.waiting.values().any(|waiting| waiting == request)
        };
        for filter in &self.wanted {
            let request = Request::Subscribe(filter.clone());
            let known = self.held.contains(filter) || self.refused.contains(filter);
            if !known && !asked(&request, self) && orders.subscribe(filter) {
                self.asked.push_back(request);
            }
        }
        let open = |filter: &String| !self.held.contains(filter) && !self.refused.contains(filter);
        if self.wanted.iter().any(open) {
            return;
        }
        let surplus: Vec<String> =
            self.held.union(&self.left).filter(|filter| !self.wanted.contains(*filter)).cloned().collect();
        for filter in surplus {
            if orders.unsubscribe(&filter) {
                self.held.remove(&filter);
                self.asked.push_back(Request::Unsubscribe(filter));
            }
        }
        self.left.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Log(RefCell<Vec<String>>);

    impl Orders for Log {
        fn acknowledge(&self, _: u16) -> bool {
            true
        }
        fn subscribe(&self, filter: &str) -> bool {
            self.0.borrow_mut().push(format!("+{filter}"));
            true
        }
        fn unsubscribe(&self, filter: &str) -> bool {
            self.0.borrow_mut().push(format!("-{filter}"));
            true
        }
        fn leave(&self) -> bool {
            true
        }
    }

    impl Log {
        fn take(&self) -> Vec<String> {
            self.0.take()
        }
    }

    /// Answers all questions, as a broker would.
    fn answer(subscriptions: &mut Subscriptions, log: &Log) {
        let mut packet = 1;
        while !subscriptions.asked.is_empty() {
            subscriptions.sent(packet);
            subscriptions.answered(packet, None, log);
            packet += 1;
        }
    }

    #[test]
    fn subscriptions_follow_what_is_wanted() {
        let log = Log::default();
        let mut subscriptions = Subscriptions::new(["old".to_owned(), "a/+".to_owned()].into());
        subscriptions.want(["a/+", "a/b", "c"], &log);
        assert!(log.take().is_empty(), "nothing is asked without a connection");
        subscriptions.connected(true, &log);
        answer(&mut subscriptions, &log);
        assert_eq!(log.take(), ["+a/+", "+c", "-old"]);
        subscriptions.want(["a/#"], &log);
        answer(&mut subscriptions, &log);
        assert_eq!(log.take(), ["+a/#", "-a/+", "-c"]);
    }

    #[test]
    fn a_session_that_is_still_there_is_not_asked_again() {
        let log = Log::default();
        let mut subscriptions = Subscriptions::default();
        subscriptions.want(["a"], &log);
        subscriptions.connected(false, &log);
        answer(&mut subscriptions, &log);
        assert_eq!(log.take(), ["+a"]);
        subscriptions.lost();
        subscriptions.connected(true, &log);
        assert!(log.take().is_empty());
        subscriptions.lost();
        subscriptions.connected(false, &log);
        assert_eq!(log.take(), ["+a"]);
    }

    #[test]
    fn a_question_that_was_lost_is_asked_again_and_a_refusal_only_after_connecting_again() {
        let log = Log::default();
        let mut subscriptions = Subscriptions::default();
        subscriptions.want(["a"], &log);
        subscriptions.connected(false, &log);
        subscriptions.sent(1);
        subscriptions.lost();
        subscriptions.connected(true, &log);
        assert_eq!(log.take(), ["+a", "+a"]);
        subscriptions.sent(2);
        subscriptions.answered(2, Some("NotAuthorized".to_owned()), &log);
        assert!(log.take().is_empty());
        subscriptions.lost();
        subscriptions.connected(true, &log);
        assert_eq!(log.take(), ["+a"]);
    }
}
