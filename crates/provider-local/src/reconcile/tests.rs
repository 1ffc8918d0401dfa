//! The loop against a runtime that does what a script says.

use super::*;
use crate::config::LogLimits;
use crate::readiness::Probe;
use crate::runtime::Running;
use crate::runtime::{Sample, StartError};
use async_trait::async_trait;
use daemon::{Stopper, TestClock};
use provider::{Address, ReplicaTable};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::function::FunctionDeployment;

/// How a replica of one version plays; the number is its generation.
#[derive(Clone, Copy, Default)]
struct Part {
    never_ready: bool,
    ends_at_once: bool,
    cannot_start: bool,
    is_stubborn: bool,
}

struct Scripted {
    parts: HashMap<u64, Part>,
    table: ReplicaTable,
    name: FunctionName,
    story: watch::Sender<Vec<String>>,
    cues: Mutex<HashMap<u64, Vec<Arc<watch::Sender<bool>>>>>,
}

struct Player {
    generation: u64,
    part: Part,
    stage: Arc<Scripted>,
    ended: Arc<watch::Sender<bool>>,
    address: PathBuf,
}

struct Stage(Arc<Scripted>);

impl Scripted {
    fn tell(&self, line: String) {
        self.story.send_modify(|story| story.push(line));
    }
}

#[async_trait]
impl Runtime for Stage {
    async fn clear_survivors(&self) {
        self.0.tell("clear".to_owned());
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Running>, StartError> {
        let generation = order.desired.generation;
        let part = self.0.parts.get(&generation).copied().unwrap_or_default();
        self.0.tell(format!("start {generation}"));
        if part.cannot_start {
            return Err(StartError::new("play", "no costume"));
        }
        let ended = Arc::new(watch::Sender::new(part.ends_at_once));
        self.0.cues.lock().unwrap().entry(generation).or_default().push(Arc::clone(&ended));
        let address = PathBuf::from(&order.id);
        Ok(Arc::new(Player { generation, part, stage: Arc::clone(&self.0), ended, address }))
    }

    async fn close(&self) {}
}

#[async_trait]
impl Running for Player {
    fn address(&self) -> Address {
        Address::Unix((&self.address).into())
    }

    async fn ready(&self, _: &Probe) {
        if self.part.never_ready || self.part.ends_at_once {
            std::future::pending::<()>().await;
        }
    }

    async fn ended(&self) -> String {
        self.ended.subscribe().wait_for(|ended| *ended).await.map(drop).unwrap_or_default();
        "ended".to_owned()
    }

    fn terminate(&self) {
        let found = self.stage.table.get(&self.stage.name);
        let is_listed = found.is_some_and(|found| found.ready.iter().any(|replica| replica.address == self.address()));
        self.stage.tell(format!("terminate {}{}", self.generation, if is_listed { " while listed" } else { "" }));
        if !self.part.is_stubborn {
            self.ended.send_replace(true);
        }
    }

    fn kill(&self) {
        self.stage.tell(format!("kill {}", self.generation));
        self.ended.send_replace(true);
    }

    fn sample(&self) -> Option<Sample> {
        None
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(50)
    }
}

/// A loop at work on a stage.
struct Theatre {
    state: Arc<State>,
    stage: Arc<Scripted>,
    name: FunctionName,
    stopper: Stopper,
    running: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Theatre {
    fn new<const N: usize>(parts: [(u64, Part); N]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name: FunctionName = "play".parse().unwrap();
        let state = Arc::new(State::new(BTreeMap::new()));
        let stage = Arc::new(Scripted {
            parts: parts.into(),
            table: state.table(),
            name: name.clone(),
            story: watch::Sender::default(),
            cues: Mutex::default(),
        });
        let clock = Arc::new(TestClock::new(jiff::Timestamp::UNIX_EPOCH));
        let logs = Arc::new(Logs::new(dir.path(), LogLimits::default(), clock));
        let patience = Patience { start: Duration::from_millis(100), shutdown: Duration::from_millis(50) };
        let save: Save = Arc::new({
            let (stage, state) = (Arc::clone(&stage), Arc::clone(&state));
            move |name| {
                let Some(Entry::Known(desired)) = state.get(name) else { return };
                let standing = match &desired.standing {
                    Standing::Proven => "works",
                    Standing::New => "is new",
                    Standing::TakenBack(_) => "is taken back",
                };
                stage.tell(format!("{} {standing}", desired.generation));
            }
        });
        let runtime = Arc::new(Stage(Arc::clone(&stage)));
        let (stopper, stop) = daemon::stop::pair();
        let running = tokio::spawn(Reconciler::new(Arc::clone(&state), runtime, logs, patience, save).run(stop));
        Self { state, stage, name, stopper, running, _dir: dir }
    }

    /// Wishes for a version; one after another has that one before it.
    fn wish(&self, generation: u64, replicas: u32, has_data: bool) {
        let mut deployment = FunctionDeployment { service: "play".to_owned(), ..FunctionDeployment::default() };
        if has_data {
            deployment.annotations.insert(wire::annotation::DATA_PATH.to_owned(), "/data".to_owned());
        }
        let before = match self.state.get(&self.name) {
            Some(Entry::Known(before)) if before.generation != generation => before.worked(),
            _ => None,
        };
        let is_same = |desired: &Desired| desired.generation == generation;
        if self.state.change(&self.name, |desired| is_same(desired).then(|| Desired { replicas, ..desired.clone() })) {
            return;
        }
        let desired = Desired::new(deployment, "sha256:0".to_owned(), String::new(), generation);
        self.state.put(&self.name, Arc::new(Desired { replicas, before, ..desired }));
    }

    /// Waits for the next lines of the story; gives all of it.
    async fn until(&self, line: &str) -> Vec<String> {
        let mut story = self.stage.story.subscribe();
        let told = story.wait_for(|story| story.iter().any(|told| told == line));
        let told = timeout(Duration::from_secs(20), told).await;
        told.unwrap_or_else(|_| panic!("never {line:?}: {:?}", self.stage.story.borrow())).unwrap().clone()
    }

    async fn ready(&self, count: usize) {
        let mut table = self.state.table();
        let ready = table.wait_for(&self.name, |found| found.is_some_and(|found| found.ready.len() == count));
        assert!(timeout(Duration::from_secs(20), ready).await.is_ok_and(|alive| alive));
    }

    /// Ends a replica of a version from outside.
    fn end(&self, generation: u64) {
        self.stage.cues.lock().unwrap()[&generation].iter().for_each(|ended| {
            ended.send_replace(true);
        });
    }

    /// Waits until a version has proved itself, or is known not to work.
    async fn standing(&self, generation: u64, wanted: impl Fn(&Standing) -> bool) -> Standing {
        let mut standing = Standing::New;
        eventually(|| match self.state.get(&self.name) {
            Some(Entry::Known(desired)) if desired.generation == generation => {
                standing = desired.standing.clone();
                wanted(&standing)
            }
            _ => false,
        })
        .await;
        standing
    }

    async fn is_proven(&self, generation: u64) {
        self.standing(generation, |standing| *standing == Standing::Proven).await;
    }

    async fn is_taken_back(&self, generation: u64) -> String {
        match self.standing(generation, |standing| matches!(standing, Standing::TakenBack(_))).await {
            Standing::TakenBack(why) => why,
            other => panic!("{other:?}"),
        }
    }

    /// The story but for what is put on disk.
    fn acts(&self) -> Vec<String> {
        let is_act = |line: &&String| !line.starts_with(|first: char| first.is_ascii_digit());
        self.stage.story.borrow().iter().filter(is_act).cloned().collect()
    }

    fn trouble(&self) -> Option<String> {
        self.state.table().get(&self.name).unwrap().trouble.clone()
    }
}

#[tokio::test]
async fn an_update_starts_the_new_one_first_and_the_old_one_leaves_the_table_before_it_ends() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 1, false);
    theatre.ready(1).await;
    theatre.is_proven(1).await;
    theatre.wish(2, 1, false);
    theatre.until("terminate 1").await;
    assert_eq!(theatre.acts(), ["clear", "start 1", "start 2", "terminate 1"]);
}

#[tokio::test]
async fn with_data_the_old_one_has_ended_before_the_new_one_starts() {
    let theatre = Theatre::new([(1, Part { is_stubborn: true, ..Part::default() })]);
    theatre.wish(1, 1, true);
    theatre.is_proven(1).await;
    theatre.wish(2, 1, true);
    theatre.until("start 2").await;
    assert_eq!(theatre.acts(), ["clear", "start 1", "terminate 1", "kill 1", "start 2"]);
}

#[tokio::test]
async fn what_was_deleted_serves_nobody_when_its_name_is_deployed_again_at_once() {
    let theatre = Theatre::new([(2, Part { never_ready: true, ..Part::default() })]);
    theatre.wish(1, 1, false);
    theatre.is_proven(1).await;
    // Before the loop has looked: nothing here waits.
    theatre.state.remove(&theatre.name);
    theatre.wish(2, 1, false);
    let ready = |theatre: &Theatre| theatre.state.table().get(&theatre.name).map(|found| found.ready.len());
    assert_eq!(ready(&theatre), Some(0));
    theatre.until("start 2").await;
    assert_eq!(ready(&theatre), Some(0));
    theatre.until("terminate 1").await;
    assert_eq!(ready(&theatre), Some(0));
}

#[tokio::test]
async fn one_that_ends_by_itself_is_started_again() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 1, false);
    theatre.ready(1).await;
    theatre.end(1);
    let mut story = theatre.stage.story.subscribe();
    let again = story.wait_for(|story| story.iter().filter(|line| *line == "start 1").count() == 2);
    timeout(Duration::from_secs(20), again).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_new_version_that_fails_is_taken_back_while_the_old_one_serves() {
    for part in [Part { cannot_start: true, ..Part::default() }, Part { ends_at_once: true, ..Part::default() }] {
        let theatre = Theatre::new([(2, part)]);
        theatre.wish(1, 1, false);
        theatre.is_proven(1).await;
        theatre.wish(2, 1, false);
        let why = theatre.is_taken_back(2).await;
        assert!(why.contains("failure 3 in a row"), "{why}");
        theatre.ready(1).await;
        assert_eq!(theatre.acts(), ["clear", "start 1", "start 2", "start 2", "start 2"]);
        eventually(|| theatre.trouble().is_none()).await;
        // What comes after it goes back to the version that worked.
        theatre.wish(3, 1, false);
        theatre.until("terminate 1").await;
        let Some(Entry::Known(desired)) = theatre.state.get(&theatre.name) else { panic!() };
        assert_eq!(Arc::new(desired.taken_back("")).to_run().generation, 1);
    }
}

#[tokio::test]
async fn one_that_does_not_get_ready_in_time_is_not_tried_twice() {
    let theatre = Theatre::new([(2, Part { never_ready: true, ..Part::default() })]);
    theatre.wish(1, 1, false);
    theatre.is_proven(1).await;
    theatre.wish(2, 1, false);
    let why = theatre.is_taken_back(2).await;
    assert!(why.contains("was not ready within 0.1 s"), "{why}");
    assert_eq!(theatre.acts(), ["clear", "start 1", "start 2", "kill 2"]);
}

#[tokio::test]
async fn when_nobody_serves_the_first_failure_is_enough() {
    let theatre = Theatre::new([(2, Part { ends_at_once: true, ..Part::default() })]);
    theatre.wish(1, 1, true);
    theatre.is_proven(1).await;
    theatre.wish(2, 1, true);
    theatre.is_taken_back(2).await;
    theatre.ready(1).await;
    assert_eq!(theatre.acts(), ["clear", "start 1", "terminate 1", "start 2", "start 1"]);
}

#[tokio::test]
async fn a_decision_on_disk_holds_at_the_next_start() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 0, false);
    theatre.state.change(&theatre.name, |desired| Some(desired.proven()));
    theatre.wish(2, 0, false);
    let wanted = |desired: &Desired| Some(Desired { replicas: 1, ..desired.taken_back("it was bad") });
    theatre.state.change(&theatre.name, wanted);
    theatre.ready(1).await;
    assert_eq!(theatre.acts(), ["clear", "start 1"]);
}

#[tokio::test]
async fn a_version_with_data_that_comes_back_has_one_replica() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 0, true);
    theatre.state.change(&theatre.name, |desired| Some(desired.proven()));
    theatre.wish(2, 0, false);
    let wanted = |desired: &Desired| Some(Desired { replicas: 3, ..desired.taken_back("it was bad") });
    theatre.state.change(&theatre.name, wanted);
    let Some(Entry::Known(desired)) = theatre.state.get(&theatre.name) else { panic!("it is not there") };
    assert_eq!(desired.to_run().replicas, 1);
    theatre.ready(1).await;
    assert_eq!(theatre.acts(), ["clear", "start 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_crashes_again_and_again_after_twenty_seconds_is_taken_back() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 1, false);
    theatre.is_proven(1).await;
    theatre.wish(2, 1, false);
    theatre.until("terminate 1").await;
    for starts in 1..=3 {
        eventually(|| theatre.acts().iter().filter(|line| *line == "start 2").count() == starts).await;
        theatre.ready(1).await;
        tokio::time::advance(Duration::from_secs(20)).await;
        theatre.end(2);
    }
    let why = theatre.is_taken_back(2).await;
    assert!(why.contains("failure 3 in a row"), "{why}");
    theatre.ready(1).await;
    let starts = ["start 2", "start 2", "start 1"];
    assert_eq!(theatre.acts()[..], [&["clear", "start 1", "start 2", "terminate 1"][..], &starts].concat());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_stays_ready_for_a_minute_is_never_taken_back() {
    let theatre = Theatre::new([]);
    theatre.wish(1, 1, false);
    theatre.is_proven(1).await;
    theatre.wish(2, 1, false);
    theatre.until("terminate 1").await;
    // At zero in between, as functions are: the time counts on.
    tokio::time::advance(Duration::from_secs(40)).await;
    theatre.wish(2, 0, false);
    theatre.until("terminate 2").await;
    theatre.ready(0).await;
    theatre.wish(2, 1, false);
    theatre.ready(1).await;
    tokio::time::advance(Duration::from_secs(19)).await;
    tokio::task::yield_now().await;
    assert!(matches!(theatre.state.get(&theatre.name), Some(Entry::Known(desired)) if desired.is_on_probation()));
    theatre.is_proven(2).await;
}

#[tokio::test]
async fn one_that_takes_too_long_to_get_ready_is_ended_and_said_so() {
    let theatre = Theatre::new([(1, Part { never_ready: true, ..Part::default() })]);
    theatre.wish(1, 1, false);
    theatre.until("kill 1").await;
    eventually(|| theatre.trouble().is_some_and(|text| text.contains("was not ready within 0.1 s"))).await;
    theatre.wish(1, 0, false);
    eventually(|| theatre.trouble().is_none()).await;
}

#[tokio::test]
async fn a_stop_ends_all_within_its_limit() {
    let theatre = Theatre::new([(1, Part { is_stubborn: true, ..Part::default() })]);
    theatre.wish(1, 3, false);
    theatre.ready(3).await;
    theatre.stopper.stop();
    let mut theatre = theatre;
    timeout(Duration::from_secs(5), &mut theatre.running).await.unwrap().unwrap();
    assert_eq!(theatre.acts()[4..], ["terminate 1", "terminate 1", "terminate 1", "kill 1", "kill 1", "kill 1"]);
}

async fn eventually(mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
