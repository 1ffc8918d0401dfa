//! How long a start takes: from the command to the function's program running. Figures, no promises.

use crate::room::{Room, finish, levels, start};
use sandbox::{Level, Network};
use std::time::Instant;

const STARTS: usize = 200;

#[tokio::test]
#[ignore = "a measurement; run it alone, with --release"]
async fn a_start_is_measured_at_each_level() {
    let Some(room) = Room::new("a_start_is_measured_at_each_level") else { return };
    for level in levels(Level::None) {
        for network in [Network::Host, Network::Own { listen: Vec::new(), agent: None }] {
            let mut spec = room.spec(level, &["/bin/busybox", "true"]);
            spec.network = network;
            if std::env::args().any(|a| a == "noseccomp") {
                spec.seccomp = None;
            }
            let mut taken = Vec::new();
            for _ in 0..STARTS {
                let begun = Instant::now();
                let started = start(&spec).await.unwrap();
                taken.push(begun.elapsed());
                assert!(finish(started).await.status.success());
            }
            taken.sort();
            let at = |part: usize| taken.get(STARTS * part / 100).copied().unwrap_or_default();
            eprintln!(
                "{level} {:?}: p10 {:?}, p50 {:?}, p90 {:?}, p99 {:?}",
                spec.network,
                at(10),
                at(50),
                at(90),
                at(99)
            );
        }
    }
}
