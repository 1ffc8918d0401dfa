//! The in-memory provider under the suite, and what its script can do.
#![expect(clippy::unwrap_used, reason = "a test")]

use async_trait::async_trait;
use futures_util::StreamExt;
use provider::memory::{MemoryProvider, Script};
use provider::suite::Subject;
use provider::{LogQuery, Provider, provider_suite};
use std::sync::Arc;
use wire::FunctionName;
use wire::function::FunctionDeployment;
use wire::log::LogLine;

const IMAGES: [&str; 2] = ["owner/one:1", "owner/two:2"];

struct Memory;

#[async_trait]
impl Subject for Memory {
    async fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(MemoryProvider::with_images(IMAGES))
    }

    fn image(&self) -> String {
        IMAGES[0].to_owned()
    }

    fn other_image(&self) -> String {
        IMAGES[1].to_owned()
    }

    fn missing_image(&self) -> Option<String> {
        Some("owner/three:3".to_owned())
    }
}

provider_suite!(Memory);

async fn with_hello() -> (MemoryProvider, FunctionName) {
    let provider = MemoryProvider::new();
    let hello = FunctionDeployment {
        service: "hello".to_owned(),
        image: "any/thing".to_owned(),
        ..FunctionDeployment::default()
    };
    provider.deploy(hello).await.unwrap();
    (provider, "hello".parse().unwrap())
}

#[tokio::test]
async fn the_script_says_how_many_get_ready() {
    let (provider, hello) = with_hello().await;
    let none = Script { at_most: 0, trouble: Some("it crashes".to_owned()), ..Script::default() };
    provider.script(&hello, none);
    let table = provider.replicas();
    let found = table.get(&hello).unwrap();
    assert_eq!((found.ready.len(), found.desired, found.trouble.as_deref()), (0, 1, Some("it crashes")));
    provider.script(&hello, Script::default());
    assert_eq!(table.get(&hello).unwrap().ready.len(), 1);
    provider.script(&hello, Script { refuses_to_scale: Some("no room".to_owned()), ..Script::default() });
    assert!(provider.scale(&hello, 2).await.unwrap_err().to_string().contains("no room"));
    assert_eq!(provider.scalings(&hello), 1);
}

#[tokio::test]
async fn a_followed_log_goes_on_with_new_lines() {
    let (provider, hello) = with_hello().await;
    let line = |second: u32, text: &str| LogLine {
        name: "hello".to_owned(),
        instance: format!("hello-{}", second % 2),
        timestamp: format!("2026-01-02T03:04:0{second}Z"),
        text: text.to_owned(),
        ..LogLine::default()
    };
    for (second, text) in [(1, "one"), (2, "two"), (3, "three")] {
        provider.log(line(second, text)).unwrap();
    }
    let texts = async |query: LogQuery, count: usize| {
        let lines = provider.logs(&hello, query).await.unwrap();
        lines.take(count).map(|line| line.text).collect::<Vec<_>>().await
    };
    assert_eq!(texts(LogQuery { tail: Some(2), ..LogQuery::default() }, 9).await, ["two", "three"]);
    let since = Some("2026-01-02T05:04:02+02:00".to_owned());
    assert_eq!(texts(LogQuery { since, ..LogQuery::default() }, 9).await, ["two", "three"]);
    let instance = Some("hello-1".to_owned());
    assert_eq!(texts(LogQuery { instance, ..LogQuery::default() }, 9).await, ["one", "three"]);
    let follow = LogQuery { follow: true, tail: Some(1), ..LogQuery::default() };
    let mut followed = provider.logs(&hello, follow).await.unwrap();
    assert_eq!(followed.next().await.unwrap().text, "three");
    provider.log(line(4, "four")).unwrap();
    assert_eq!(followed.next().await.unwrap().text, "four");
    drop(provider);
    assert!(followed.next().await.is_none());
}
