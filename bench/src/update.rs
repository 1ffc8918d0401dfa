//! Updates under load: calls come at a fixed rate whether or not earlier ones are answered.

use crate::control::{BODY, Control};
use crate::http::Client;
use crate::process::{children, wait_for};
use crate::table::{Table, percentile, percentiles};
use crate::world::World;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, park_timeout};
use std::time::{Duration, Instant};

const RATE: u32 = 500;
/// Connections that share the rate. One that is late is late for its own next call only.
const CALLERS: u32 = 50;
const BEFORE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// When a call was due, and how long its answer took from then; `None`: it failed.
type Call = (Instant, Option<Duration>);

pub(crate) fn measure(world: &World, level: &str, updates: usize, table: &mut Table) -> anyhow::Result<()> {
    let platform = world.bare_platform(level)?;
    let mut control = Control::of(&platform);
    let mut running = control.wait_processes(1)?;
    let (calls, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let begun = Instant::now();
    let (first, last) = thread::scope(|scope| {
        for number in 0..CALLERS {
            let (calls, over, gateway) = (&calls, &over, &platform.gateway);
            scope.spawn(move || {
                let made = call_on(gateway, begun + number * (Duration::from_secs(1) / RATE), over);
                calls.lock().expect("no panic").extend(made);
            });
        }
        park_until(begun + BEFORE);
        let first = Instant::now();
        let updated = (1..=updates).try_for_each(|version| {
            control.update("bench", version)?;
            // The new one alone is left.
            running = wait_for("the update", PATIENCE, || {
                children(platform.process.id()).ok().filter(|now| now.len() == 1 && *now != running)
            })?;
            anyhow::Ok(())
        });
        let last = Instant::now();
        over.store(true, Ordering::Relaxed);
        updated.map(|()| (first, last))
    })?;
    let calls = calls.into_inner().expect("no panic");
    let within = |from: Instant, to: Instant| calls.iter().filter(move |(due, _)| (from..to).contains(due));
    let times = |from, to| -> Vec<Duration> { within(from, to).filter_map(|(_, took)| *took).collect() };
    // The first second warms up.
    let (before, during) = (times(begun + Duration::from_secs(1), first), times(first, last));
    let p99 = percentile(&during, 0.99).as_secs_f64() / percentile(&before, 0.99).as_secs_f64();
    let failed = calls.iter().filter(|(_, took)| took.is_none()).count();
    let what = format!("{updates} updates under {RATE}/s, {level}");
    table.row(&what, "before", percentiles(before), "");
    let each = (last - first).as_secs_f64() / updates as f64;
    table.row(&what, "during", format!("{}, {each:.2} s an update", percentiles(during)), "");
    let figure = format!("{failed} failed of {}, p99 during {p99:.2} × before", calls.len());
    table.row(&what, "ratio", figure, "0 failed, p99 ≤ 3 ×");
    platform.process.stop()
}

/// One connection's calls, each at its time or as soon as the one before is answered.
fn call_on(gateway: &str, first: Instant, over: &AtomicBool) -> Vec<Call> {
    let mut client = Client::new(gateway);
    let (mut calls, mut due) = (Vec::new(), first);
    while !over.load(Ordering::Relaxed) {
        park_until(due);
        let answer = client.call("POST", "/function/bench", BODY);
        calls.push((due, answer.is_ok_and(|answer| answer.status == 200).then(|| due.elapsed())));
        due += Duration::from_secs(1) / RATE * CALLERS;
    }
    calls
}

fn park_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        park_timeout(left);
    }
}
