//! Functions whose behaviour a test chooses, on a platform of their own.

use crate::binaries::{ACTOR, actors};
use crate::platform::{Options, Platform, State};
use crate::system::is_root;
use crate::{eventually, skipped};
use serde_json::{Value, json};

/// A stack has a function; this one does nothing.
const STACK: &str = "version: 1.0
provider:
  name: openfaas
functions:
  idle:
    skip_build: true
    image: actor:1
";
/// The annotation that says how far a function is confined.
const GIVEN: &str = "com.crema.isolation.given";

/// The levels with a file system of their own that this user can have.
#[must_use]
pub fn levels() -> &'static [&'static str] {
    if is_root() { &["full", "userns"] } else { &["userns"] }
}

/// A platform with the actor's images and at most this level of isolation.
pub async fn stage(state: &State, level: &str, environment: &[(&str, &str)]) -> Platform {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    stage_with(state, level, Options { environment, ..Options::default() }).await
}

/// The same with more options.
pub async fn stage_with(state: &State, level: &str, options: Options) -> Platform {
    state.copy_images(actors());
    let stack = state.log().with_file_name("stack.yml");
    std::fs::write(&stack, STACK).unwrap();
    let options = Options { stack, ..options };
    Platform::start(state, &options.with(&["--no-build", "--isolation-max", level])).await
}

/// Whether a function is confined at this level; says so when the machine does not give it.
pub async fn is_given(platform: &Platform, function: &str, level: &str, test: &str) -> bool {
    let status = status(platform, function).await;
    let given = status["annotations"][GIVEN].as_str().is_some_and(|given| given.starts_with(level));
    if !given {
        skipped(&format!("{test} ({level})"), &format!("level {level} is not to be had here: {status}"));
    }
    given
}

/// A deployment of the actor, version by version.
#[must_use]
pub fn actor(function: &str, version: usize) -> Value {
    let image = image_version(version);
    json!({"service": function, "image": format!("{ACTOR}:{image}"), "envVars": {"version": version.to_string()}})
}

/// The same with a data directory.
#[must_use]
pub fn keeper(function: &str, version: usize) -> Value {
    let mut deployment = actor(function, version);
    deployment["annotations"] = json!({"com.crema.data.path": "/data"});
    deployment
}

/// What a version of it answers.
#[must_use]
pub fn answer(version: usize) -> String {
    format!("{}/{version}", image_version(version))
}

/// Whether an answer is a version's, all of it.
#[must_use]
pub fn is_whole(answer: &str) -> bool {
    let version = answer.split_once('/').and_then(|(_, version)| version.parse().ok());
    version.is_some_and(|version| self::answer(version) == answer)
}

const fn image_version(version: usize) -> usize {
    2 - version % 2
}

/// Deploys something new.
pub async fn deploy(platform: &Platform, deployment: &Value) {
    let answer = platform.system("POST", "/system/functions", &deployment.to_string()).await;
    assert!(answer.status < 300, "{}", answer.text());
}

/// Deploys another version.
pub async fn update(platform: &Platform, deployment: &Value) {
    let answer = platform.system("PUT", "/system/functions", &deployment.to_string()).await;
    assert!(answer.status < 300, "{}", answer.text());
}

/// Scales; gives the status.
pub async fn scale(platform: &Platform, function: &str, replicas: u32) -> u16 {
    let body = json!({"serviceName": function, "replicas": replicas}).to_string();
    platform.system("POST", &format!("/system/scale-function/{function}"), &body).await.status
}

/// What is told of a function.
pub async fn status(platform: &Platform, function: &str) -> Value {
    platform.system("GET", &format!("/system/function/{function}"), "").await.json()
}

/// Waits until a function answers as wanted, several times in a row: none of another version is asked any more.
pub async fn answers(platform: &Platform, function: &str, wanted: impl Fn(&str) -> bool) -> String {
    let url = platform.url(&format!("/function/{function}"));
    eventually(&format!("{function} answers as wanted"), || async {
        let mut said = String::new();
        for _ in 0..3 {
            let answer = platform.http.post(&url, "").await?;
            said = answer.text();
            if answer.status != 200 || !wanted(&said) {
                return Err(format!("{}: {said}", answer.status));
            }
        }
        Ok(said)
    })
    .await
}

/// Waits until so many replicas can be called.
pub async fn has_replicas(platform: &Platform, function: &str, count: u32) {
    eventually(&format!("{function} has {count} replicas"), || async {
        let status = status(platform, function).await;
        let ready = status["availableReplicas"].as_u64().unwrap_or(0);
        (ready == u64::from(count)).then_some(()).ok_or(status)
    })
    .await;
}
