//! What is due: pure, told the time by its caller.
//!
//! Firings that were missed (the machine slept, the clock was set forwards, the process was away) are not made up for.
//! When the clock is set back a little, nothing fires again for a moment it has fired for; set back by more than
//! [`CORRECTION`], the time before was wrong and schedules begin anew.
//!
//! An interval counts from when its function was made, so that a machine that is switched off each night does not begin
//! it anew each morning.

use crate::{ScheduleError, Timetable};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use wire::function::{self, FunctionStatus};
use wire::{CRON_TOPIC, FunctionName, annotation};

/// How late a firing may be. Later ones were missed.
const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// From here on a clock that is set back was wrong before.
const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

/// Which functions are scheduled, and when they are due.
#[derive(Debug)]
pub(crate) struct Ticker {
    zone: TimeZone,
    entries: BTreeMap<FunctionName, Entry>,
    /// The latest time told.
    now: Timestamp,
}

#[derive(Debug)]
struct Entry {
    schedule: String,
    timetable: Timetable,
    problems: Vec<String>,
    base: Timestamp,
    /// When the function was made, until the clock has shown it: one that has not is wrong.
    made: Option<Timestamp>,
    next: Option<Timestamp>,
}

/// A function is due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Firing {
    pub(crate) function: FunctionName,
    /// For which moment.
    pub(crate) at: Timestamp,
    /// When it is due next: until then the gateway is asked to take this one.
    pub(crate) until: Option<Timestamp>,
}

/// A schedule that cannot be followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Whose.
    pub function: FunctionName,
    /// What is wrong, in words.
    pub why: String,
}

impl Ticker {
    /// Nothing is scheduled yet. `zone` is for expressions that name none.
    pub(crate) fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self { zone, entries: BTreeMap::new(), now }
    }

    /// Takes over the functions as they are now. Unchanged schedules go on as they were; true when something changed.
    pub(crate) fn follow(&mut self, functions: &[FunctionStatus], now: Timestamp) -> bool {
        let mut changed = false;
        let mut entries = BTreeMap::new();
        for function in functions {
            let scheduled = annotation::topics(&function.annotations).contains(&CRON_TOPIC);
            let Ok(name) = FunctionName::new(&function.name, &function.namespace) else { continue };
            if !scheduled {
                continue;
            }
            let schedule = function.annotations.get(annotation::SCHEDULE).map_or("", String::as_str);
            let entry = match self.entries.remove(&name) {
                Some(entry) if entry.schedule == schedule => entry,
                _ => {
                    changed = true;
                    Entry::new(&name, schedule, made(function), &self.zone, now)
                }
            };
            entries.insert(name, entry);
        }
        changed |= !self.entries.is_empty();
        self.entries = entries;
        changed
    }

    /// Whether a function is scheduled at all.
    pub(crate) fn has(&self, function: &FunctionName) -> bool {
        self.entries.contains_key(function)
    }

    /// What cannot be followed.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let problems = |(function, entry): (&FunctionName, &Entry)| {
            let function = function.clone();
            entry.problems.clone().into_iter().map(move |why| Problem { function: function.clone(), why })
        };
        self.entries.iter().flat_map(problems).collect()
    }

    /// When something is due next.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.entries.values().filter_map(|entry| entry.next).min()
    }

    /// It is `now`: what is due.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Firing> {
        let back = self.now.duration_since(now);
        if back > SignedDuration::ZERO {
            self.set_back(now, back);
        }
        self.now = now;
        let mut firings = Vec::new();
        for (function, entry) in &mut self.entries {
            entry.count_from_made(now);
            let Some(at) = entry.next.filter(|next| *next <= now) else { continue };
            entry.next = entry.timetable.next(now, entry.base);
            let late = now.duration_since(at);
            if late > GRACE {
                tracing::warn!(%function, %at, %late, "A firing was missed and is not made up for");
                continue;
            }
            firings.push(Firing { function: function.clone(), at, until: entry.next });
        }
        firings
    }

    fn set_back(&mut self, now: Timestamp, back: SignedDuration) {
        let wrong = back >= CORRECTION;
        if wrong {
            tracing::warn!(%back, "The clock was set back; schedules begin anew");
        }
        for entry in self.entries.values_mut() {
            if wrong {
                entry.base = entry.base.min(now);
                entry.next = entry.timetable.next(now, entry.base);
            } else if entry.timetable.counts_from_base() {
                // An interval is no moment on the clock: it goes on as if the clock had not moved.
                entry.base = entry.base.checked_sub(back).unwrap_or(now);
                let fired = entry.next.is_some_and(|next| next <= now);
                if !fired {
                    entry.next = entry.timetable.next(now, entry.base);
                }
            }
        }
    }
}

impl Entry {
    fn new(function: &FunctionName, schedule: &str, made: Option<Timestamp>, zone: &TimeZone, now: Timestamp) -> Self {
        let (timetable, errors) = Timetable::read(schedule, zone);
        let problems: Vec<String> = errors.iter().map(ScheduleError::to_string).collect();
        for problem in &problems {
            tracing::error!(%function, problem, "A function's schedule cannot be followed; change its annotation");
        }
        let next = timetable.next(now, now);
        let mut entry = Self { schedule: schedule.to_owned(), timetable, problems, base: now, made, next };
        entry.count_from_made(now);
        entry
    }

    /// A machine without a clock of its own starts in the past and learns the time later.
    fn count_from_made(&mut self, now: Timestamp) {
        let Some(made) = self.made.take_if(|made| *made <= now) else { return };
        self.base = made;
        if self.timetable.counts_from_base() {
            self.next = self.timetable.next(now, made);
        }
    }
}

/// When a function was made, where its provider knows.
fn made(function: &FunctionStatus) -> Option<Timestamp> {
    let text = Some(&function.created_at).filter(|text| **text != function::never())?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn function(name: &str, topic: &str, schedule: &str) -> FunctionStatus {
        FunctionStatus {
            name: name.to_owned(),
            annotations: [("topic".to_owned(), topic.to_owned()), ("schedule".to_owned(), schedule.to_owned())].into(),
            ..FunctionStatus::default()
        }
    }

    fn made_at(created_at: &str, schedule: &str) -> FunctionStatus {
        FunctionStatus { created_at: created_at.to_owned(), ..function("f", "cron-function", schedule) }
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn ticker(schedule: &str, now: &str) -> Ticker {
        let mut ticker = Ticker::new(TimeZone::UTC, at(now));
        ticker.follow(&[function("f", "cron-function", schedule)], at(now));
        ticker
    }

    fn fired(ticker: &mut Ticker, now: &str) -> Vec<String> {
        ticker.tick(at(now)).iter().map(|firing| firing.at.to_string()).collect()
    }

    #[test]
    fn only_functions_with_topic_and_schedule_are_scheduled() {
        let mut ticker = Ticker::new(TimeZone::UTC, at("00:00:00"));
        let functions = [
            function("a", "cron-function", "* * * * *"),
            function("b", "orders, cron-function", "* * * * *"),
            function("c", "orders", "* * * * *"),
            function("d", "cron-function", ""),
            function("e", "cron-function", "TZ=UTC"),
        ];
        assert!(ticker.follow(&functions, at("00:00:00")));
        assert!(!ticker.follow(&functions, at("00:00:10")), "nothing changed");
        let names: Vec<String> =
            ticker.tick(at("00:01:00")).iter().map(|firing| firing.function.name().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
        let problems = ticker.problems();
        let names: Vec<&str> = problems.iter().map(|problem| problem.function.name()).collect();
        assert_eq!(names, ["d", "e"]);
        assert!(ticker.follow(&functions[..1], at("00:01:10")));
        assert!(ticker.problems().is_empty());
    }

    #[test]
    fn a_changed_schedule_begins_anew_and_an_unchanged_one_goes_on() {
        let mut ticker = ticker("@every 10s", "00:00:00");
        ticker.follow(&[function("f", "cron-function", "@every 10s")], at("00:00:07"));
        assert_eq!(ticker.due(), Some(at("00:00:10")));
        ticker.follow(&[function("f", "cron-function", "@every 20s")], at("00:00:07"));
        assert_eq!(ticker.due(), Some(at("00:00:27")));
        ticker.follow(&[], at("00:00:08"));
        assert_eq!(ticker.due(), None);
    }

    #[test]
    fn missed_firings_are_not_made_up_for() {
        let mut ticker = ticker("* * * * *", "00:00:30");
        assert_eq!(fired(&mut ticker, "00:01:00"), ["2026-11-23T00:01:00Z"]);
        assert_eq!(fired(&mut ticker, "00:02:05"), ["2026-11-23T00:02:00Z"], "late, not missed");
        assert!(fired(&mut ticker, "05:00:30").is_empty(), "hours late");
        assert_eq!(fired(&mut ticker, "05:01:00"), ["2026-11-23T05:01:00Z"]);
    }

    #[test]
    fn a_clock_set_back_a_little_fires_nothing_twice() {
        let mut ticker = ticker("0 * * * *", "00:30:00");
        assert_eq!(fired(&mut ticker, "01:00:00").len(), 1);
        assert!(fired(&mut ticker, "00:59:50").is_empty());
        assert!(fired(&mut ticker, "01:00:00").is_empty(), "that moment had its firing");
        assert_eq!(fired(&mut ticker, "02:00:00").len(), 1);
    }

    #[test]
    fn a_clock_set_back_a_lot_was_wrong_and_schedules_begin_anew() {
        let mut ticker = ticker("0 * * * *", "20:30:00");
        assert_eq!(fired(&mut ticker, "21:00:00").len(), 1);
        assert!(fired(&mut ticker, "08:10:00").is_empty());
        assert_eq!(fired(&mut ticker, "09:00:00").len(), 1);
    }

    #[test]
    fn an_interval_keeps_its_pace_whatever_the_clock_does() {
        let mut ticker = ticker("@every 10s", "01:00:00");
        assert_eq!(fired(&mut ticker, "01:00:10").len(), 1);
        assert!(fired(&mut ticker, "00:30:12").is_empty());
        let due = ticker.due().unwrap();
        assert!(due > at("00:30:12") && due <= at("00:30:22"), "{due}");
        assert_eq!(ticker.tick(due).len(), 1);
    }

    #[test]
    fn an_interval_counts_from_when_its_function_was_made() {
        let daily = [made_at("2026-11-20T08:00:00Z", "@every 24h")];
        // The machine is switched off each night.
        let mut ticker = Ticker::new(TimeZone::UTC, at("07:00:00"));
        ticker.follow(&daily, at("07:00:00"));
        assert_eq!(fired(&mut ticker, "08:00:00"), ["2026-11-23T08:00:00Z"]);
        for unknown in [function::never(), String::new(), "2026-11-24T00:00:00Z".to_owned()] {
            let mut ticker = Ticker::new(TimeZone::UTC, at("07:00:00"));
            ticker.follow(&[made_at(&unknown, "@every 2h")], at("07:00:00"));
            assert_eq!(ticker.due(), Some(at("09:00:00")), "{unknown:?}");
        }
    }

    #[test]
    fn an_interval_counts_from_there_also_once_a_wrong_clock_is_set_right() {
        let start = "1970-01-01T00:00:10Z".parse().unwrap();
        let mut ticker = Ticker::new(TimeZone::UTC, start);
        let both = "@every 24h; 0 12 * * *";
        ticker.follow(&[made_at("2026-11-20T08:00:00Z", both)], start);
        assert!(fired(&mut ticker, "07:00:00").is_empty());
        assert_eq!(fired(&mut ticker, "08:00:00").len(), 1);
        assert_eq!(fired(&mut ticker, "12:00:00").len(), 1);
        let ahead = "2027-11-23T00:00:10Z".parse().unwrap();
        let mut ticker = Ticker::new(TimeZone::UTC, ahead);
        ticker.follow(&[made_at("2026-11-20T08:00:00Z", both)], ahead);
        assert!(fired(&mut ticker, "07:00:00").is_empty());
        assert_eq!(fired(&mut ticker, "08:00:00").len(), 1);
    }

    proptest! {
        /// Whatever the clock does within the correction, no moment fires twice.
        #[test]
        fn no_moment_fires_twice(steps in prop::collection::vec(-3_000..3_000i64, 1..60)) {
            let mut ticker = ticker("*/5 * * * *; 3 * * * *", "12:00:00");
            let mut now = at("12:00:00");
            let mut latest = now;
            let mut seen = std::collections::BTreeSet::new();
            for step in steps {
                now += SignedDuration::from_secs(step);
                // Keep within the correction of the latest time, so that the clock counts as right.
                now = now.max(latest - CORRECTION + SignedDuration::from_secs(1));
                latest = latest.max(now);
                for firing in ticker.tick(now) {
                    prop_assert!(seen.insert(firing.at), "{} fired twice", firing.at);
                    prop_assert!(firing.at <= now && firing.until.is_none_or(|until| until > now));
                }
            }
        }
    }
}
