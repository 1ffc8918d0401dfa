use super::*;
use Action::{Start, Stop};
use Phase::{Ready, Starting, Stopping};

fn wanted(generation: u64, replicas: u32) -> Option<Wanted> {
    Some(Wanted { generation, replicas, exclusive: false })
}

fn exclusive(generation: u64, replicas: u32) -> Option<Wanted> {
    Some(Wanted { generation, replicas, exclusive: true })
}

fn there(replicas: &[(ReplicaId, u64, Phase)]) -> Vec<Observed> {
    replicas.iter().map(|&(id, generation, phase)| Observed { id, generation, phase }).collect()
}

fn actions(wanted: Option<Wanted>, observed: &[(ReplicaId, u64, Phase)]) -> Vec<Action> {
    plan(wanted, &there(observed), &History::default(), Instant::now()).actions
}

fn failed(history: &mut History, generation: u64, now: Instant, ready_for: Option<Duration>) {
    history.failed(Failure { generation, ready_for, was_late: false }, now);
}

#[test]
fn what_is_missing_is_started() {
    assert_eq!(actions(wanted(1, 2), &[]), [Start, Start]);
    assert_eq!(actions(wanted(1, 2), &[(1, 1, Starting)]), [Start]);
    assert_eq!(actions(wanted(1, 2), &[(1, 1, Starting), (2, 1, Ready)]), []);
}

#[test]
fn one_that_is_stopping_does_not_count() {
    assert_eq!(actions(wanted(1, 1), &[(1, 1, Stopping)]), [Start]);
}

#[test]
fn of_too_many_those_not_ready_go_first_then_the_youngest() {
    let three = [(1, 1, Ready), (2, 1, Starting), (3, 1, Ready)];
    assert_eq!(actions(wanted(1, 2), &three), [Stop(2)]);
    assert_eq!(actions(wanted(1, 1), &three), [Stop(3), Stop(2)]);
    assert_eq!(actions(wanted(1, 0), &three), [Stop(1), Stop(3), Stop(2)]);
}

#[test]
fn a_deleted_function_is_stopped_once() {
    assert_eq!(actions(None, &[(1, 1, Ready), (2, 1, Stopping), (3, 2, Starting)]), [Stop(1), Stop(3)]);
}

#[test]
fn the_old_version_serves_until_the_new_one_is_ready() {
    assert_eq!(actions(wanted(2, 1), &[(1, 1, Ready)]), [Start]);
    assert_eq!(actions(wanted(2, 1), &[(1, 1, Ready), (2, 2, Starting)]), []);
    assert_eq!(actions(wanted(2, 1), &[(1, 1, Ready), (2, 2, Ready)]), [Stop(1)]);
}

#[test]
fn old_replicas_go_one_for_one() {
    let half_way = [(1, 1, Ready), (2, 1, Ready), (3, 2, Ready), (4, 2, Starting)];
    assert_eq!(actions(wanted(2, 2), &half_way), [Stop(1)]);
}

#[test]
fn an_old_version_that_never_served_goes_at_once() {
    assert_eq!(actions(wanted(3, 1), &[(1, 1, Ready), (2, 2, Starting)]), [Stop(2), Start]);
}

#[test]
fn at_zero_old_versions_go_too() {
    assert_eq!(actions(wanted(2, 0), &[(1, 1, Ready)]), [Stop(1)]);
}

#[test]
fn with_a_data_directory_the_old_one_is_gone_before_the_new_one_starts() {
    assert_eq!(actions(exclusive(2, 1), &[(1, 1, Ready)]), [Stop(1)]);
    assert_eq!(actions(exclusive(2, 1), &[(1, 1, Stopping)]), []);
    assert_eq!(actions(exclusive(2, 1), &[]), [Start]);
    // Also when it is the same version: stopped by scaling to zero, wanted again before it has ended.
    assert_eq!(actions(exclusive(1, 1), &[(1, 1, Stopping)]), []);
}

#[test]
fn pauses_grow_to_a_minute_and_are_kept() {
    let now = Instant::now();
    let mut history = History::default();
    history.turn_to(1);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        failed(&mut history, 1, now, None);
        pauses.push(history.pause().as_secs());
        let plan = plan(wanted(1, 1), &[], &history, now);
        assert_eq!(plan, Plan { actions: vec![], wake_at: Some(now + history.pause()) });
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let later = now + Duration::from_secs(60);
    assert_eq!(plan(wanted(1, 1), &[], &history, later).actions, [Start]);
}

#[test]
fn what_worked_is_started_again_at_once_but_not_for_ever() {
    let now = Instant::now();
    let mut history = History::default();
    history.turn_to(1);
    failed(&mut history, 1, now, Some(Duration::from_secs(5)));
    assert_eq!(plan(wanted(1, 1), &[], &history, now).actions, [Start]);
    failed(&mut history, 1, now, Some(Duration::from_secs(5)));
    assert_eq!(history.pause(), Duration::from_secs(2));
}

#[test]
fn what_served_for_a_while_is_started_again_at_once_twice() {
    let now = Instant::now();
    let mut history = History::default();
    history.turn_to(1);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        failed(&mut history, 1, now, Some(SERVED));
        pauses.push(history.pause().as_secs());
    }
    assert_eq!(pauses, [0, 0, 4, 8]);
}

#[test]
fn going_back_takes_three_failures_or_one_that_leaves_callers_waiting() {
    let now = Instant::now();
    let verdict = |failures: &[Option<Duration>], observed: &[(ReplicaId, u64, Phase)]| {
        let mut history = History::default();
        history.turn_to(2);
        failures.iter().for_each(|ready_for| failed(&mut history, 2, now, *ready_for));
        history.says_go_back(&there(observed), now)
    };
    let old_one = [(1, 1, Ready)];
    assert!(!verdict(&[], &[]));
    assert!(verdict(&[None], &[]) && !verdict(&[None, None], &old_one));
    assert!(verdict(&[None, None, None], &old_one));
    let served = Some(SERVED);
    assert!(!verdict(&[served, served], &[]) && verdict(&[served, served, served], &[]));
    assert!(verdict(&[served, None], &[]));
}

#[test]
fn a_minute_without_failure_and_a_new_version_start_afresh() {
    let now = Instant::now();
    let mut history = History::default();
    history.turn_to(1);
    (0..20).for_each(|_| failed(&mut history, 1, now, None));
    failed(&mut history, 1, now, Some(GOOD_AFTER));
    assert_eq!((history.failures(), history.pause()), (1, Duration::ZERO));
    (0..200).for_each(|_| failed(&mut history, 1, now, None));
    assert_eq!(history.pause(), LONGEST_PAUSE);
    history.turn_to(2);
    assert_eq!(history.failures(), 0);
    failed(&mut history, 1, now, None);
    assert_eq!(history.failures(), 0, "an old version's end says nothing of the new one");
}

#[test]
fn a_failing_update_keeps_the_old_one_through_all_pauses() {
    let now = Instant::now();
    let mut history = History::default();
    history.turn_to(2);
    failed(&mut history, 2, now, None);
    let plan = plan(wanted(2, 1), &there(&[(1, 1, Ready)]), &history, now);
    assert_eq!(plan.actions, []);
    assert!(plan.wake_at.is_some());
}

/// Drives the planner with a runtime that does what it is told, in every order of small wishes.
#[test]
fn every_wish_is_reached_and_then_nothing_is_left_to_do() {
    for first in 0..4u32 {
        for second in 0..4u32 {
            for exclusive in [false, true] {
                let bound = |replicas: u32| if exclusive { replicas.min(1) } else { replicas };
                let mut replicas: Vec<Observed> = Vec::new();
                let mut next = 0;
                for (generation, asked) in [(1, first), (2, second), (2, 0), (3, 1)] {
                    let count = bound(asked);
                    let wanted = Wanted { generation, replicas: asked, exclusive };
                    let serving_before = replicas.iter().filter(|replica| replica.phase == Ready).count();
                    for round in 0.. {
                        assert!(round < 50, "never done: {wanted:?} {replicas:?}");
                        let plan = plan(Some(wanted), &replicas, &History::default(), Instant::now());
                        if plan.actions.is_empty() && replicas.iter().all(|replica| replica.phase == Ready) {
                            break;
                        }
                        step(&mut replicas, &plan, generation, &mut next);
                        let serving = replicas.iter().filter(|replica| replica.phase == Ready).count();
                        let kept = serving_before.min(count as usize);
                        assert!(exclusive || serving >= kept, "{serving} of {kept} serve");
                        assert!(!exclusive || replicas.len() <= 1, "two at once: {replicas:?}");
                    }
                    assert_eq!(replicas.len(), count as usize);
                    assert!(replicas.iter().all(|replica| replica.generation == generation));
                }
            }
        }
    }
}

/// One turn of a runtime: what was starting is ready, what was stopping is gone, then the plan is done.
fn step(replicas: &mut Vec<Observed>, plan: &Plan, generation: u64, next: &mut ReplicaId) {
    replicas.retain(|replica| replica.phase != Stopping);
    for replica in replicas.iter_mut().filter(|replica| replica.phase == Starting) {
        replica.phase = Ready;
    }
    for action in &plan.actions {
        match action {
            Start => {
                *next += 1;
                replicas.push(Observed { id: *next, generation, phase: Starting });
            }
            Stop(id) => {
                for replica in replicas.iter_mut().filter(|replica| replica.id == *id) {
                    replica.phase = Stopping;
                }
            }
        }
    }
}
