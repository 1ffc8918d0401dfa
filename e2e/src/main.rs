//! The big counts: `cargo run -p e2e -- --long [MINUTES]`.
//!
//! First many kills during updates, and many functions at zero. Then the crash loop: orders come in all the time while
//! the platform or one of its functions is killed (-9), again and again on the same state. Every few lives everything is
//! counted; the first order that is lost, half done or sold twice ends it with an error.
#![allow(clippy::print_stdout, reason = "figures are for people")]

use e2e::actors::levels;
use e2e::eventually;
use e2e::load::{Placed, Tills, processes_of_function};
use e2e::many::many;
use e2e::platform::{State, signal};
use e2e::shop::{Ended, books_agree, plenty, shop};
use e2e::system::processes_of;
use e2e::update_kills::kill_during_updates;
use rustix::process::Signal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const DEFAULT_MINUTES: u64 = 10;
const KILLS_DURING_UPDATES: u32 = 80;
const MANY: usize = 500;
const TILLS: usize = 4;
/// After so many lives everything is counted.
const LIVES_A_COUNT: u32 = 8;
/// The platform's life between two kills; functions are killed meanwhile.
const LONGEST_LIFE: Duration = Duration::from_secs(6);
const VICTIMS: [&str; 3] = ["order", "payment", "inventory"];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let minutes = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--long"] => Some(DEFAULT_MINUTES),
        ["--long", minutes] => minutes.parse().ok(),
        _ => None,
    };
    let Some(minutes) = minutes else {
        println!("usage: e2e --long [MINUTES]   (default {DEFAULT_MINUTES}); the tests run with cargo test -p e2e");
        return ExitCode::from(64);
    };
    for level in levels() {
        match kill_during_updates(level, KILLS_DURING_UPDATES, "killed during updates").await {
            Some(killed) => println!("{level}: {killed:?} during updates, nothing half done, nothing left"),
            None => println!("{level}: not to be had here"),
        }
    }
    println!("{MANY} functions at zero, each called once, 8 at a time: {:?}", many(levels()[0], MANY).await);
    crash_loop(Duration::from_secs(60 * minutes)).await;
    ExitCode::SUCCESS
}

/// Part `number` of a sequence that fills what is between 0 and 1 evenly.
fn golden(number: u32) -> f64 {
    (f64::from(number) * 0.618_033_988_75).fract()
}

#[derive(Debug, Default)]
struct Figures {
    acknowledged: usize,
    platform_kills: u32,
    function_kills: u32,
}

async fn crash_loop(lasts: Duration) {
    let state = State::default();
    let platform = shop(&state).await;
    let mut before = plenty(&platform).await;
    platform.stop().await;
    let begun = Instant::now();
    let (mut figures, mut others) = (Figures::default(), Vec::new());
    let ended = loop {
        let mut placed = Placed::default();
        for _ in 0..LIVES_A_COUNT {
            one_life(&state, &mut figures, &mut placed).await;
        }
        figures.acknowledged += placed.acknowledged.len();
        // What was not acknowledged may still come: it is looked at each time.
        others.append(&mut placed.others);
        let platform = shop(&state).await;
        let ended = books_agree(&platform, &placed.acknowledged, &others, before).await;
        platform.stop().await;
        before -= i64::try_from(placed.acknowledged.len()).expect("orders are counted in thousands");
        println!(
            "{:>4} s: {} orders acknowledged, 0 lost; killed: platform {} times, functions {} times",
            begun.elapsed().as_secs(),
            figures.acknowledged,
            figures.platform_kills,
            figures.function_kills,
        );
        if begun.elapsed() >= lasts {
            break Ended { confirmed: ended.confirmed - placed.acknowledged.len(), ..ended };
        }
    };
    println!(
        "Not acknowledged: {} orders, of which {} confirmed, {} cancelled, {} never taken",
        others.len(),
        ended.confirmed,
        ended.cancelled,
        ended.unknown,
    );
}

/// Starts the platform, has it sell, and kills it; in every second life one function dies halfway through.
async fn one_life(state: &State, figures: &mut Figures, placed: &mut Placed) {
    let life = figures.platform_kills;
    let platform = shop(state).await;
    let begun = Instant::now();
    let tills = Tills::open(&platform, &format!("l{life}"), TILLS, |till| till % 2 == 0);
    let lasts = LONGEST_LIFE.mul_f64(golden(life));
    if life % 2 == 1 {
        tokio::time::sleep(lasts / 2).await;
        let victim = VICTIMS[(life / 2) as usize % VICTIMS.len()];
        for pid in processes_of_function(state, victim) {
            signal(pid, Signal::KILL);
            figures.function_kills += 1;
        }
    }
    tokio::time::sleep_until((begun + lasts).into()).await;
    platform.kill();
    figures.platform_kills += 1;
    tills.close(placed).await;
    eventually("its functions die with it", || async {
        let left = processes_of(&state.path());
        left.is_empty().then_some(()).ok_or(left)
    })
    .await;
}
