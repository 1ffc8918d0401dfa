//! What is told of events to whoever collects figures.

use crate::{DispatchCounts, Dispatcher};
use daemon::health::Figure;

/// What became of events so far, and how many functions there are.
#[must_use]
pub fn figures(dispatcher: &Dispatcher) -> Vec<Figure> {
    let DispatchCounts { accepted, unwanted, delayed, refused } = dispatcher.counts();
    let functions = dispatcher.list().current().map_or(0, |functions| functions.len());
    let functions = u64::try_from(functions).unwrap_or(u64::MAX);
    vec![
        Figure::counter("crema_events_accepted_total", "Events on disk for every function that wants them.", accepted),
        Figure::counter("crema_events_unwanted_total", "Events that no function wants.", unwanted),
        Figure::counter("crema_events_delayed_total", "Events that failed for now and are sent again.", delayed),
        Figure::counter("crema_events_refused_total", "Events refused for good.", refused),
        Figure::gauge("crema_functions_known", "Functions known.", functions),
    ]
}
