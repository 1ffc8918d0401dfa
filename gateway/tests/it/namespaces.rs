//! Names without a namespace.

use crate::stage::{Function, Stage, build_over};
use gateway::Config;
use provider::Address;
use provider::memory::{MemoryProvider, Script};
use std::sync::Arc;

#[tokio::test]
async fn a_name_without_a_namespace_is_of_the_provider_s_default_one() {
    let provider = MemoryProvider::in_namespace("shop");
    let dir = tempfile::tempdir().unwrap();
    let queue = queue::sqlite::open(dir.path()).unwrap();
    let (gateway, provider) = build_over(provider, Config::default(), Some(Arc::clone(&queue)));
    let crema = Stage::run(gateway, provider).await;
    let function = Function::ok().await;
    crema.script("f.shop", Script::at(Address::Tcp(function.address)));
    assert_eq!(crema.send("POST", "/system/secrets", "", r#"{"name":"key","value":"v"}"#).await.status, 202);
    let wanted = r#"{"service":"f","image":"owner/a:1","secrets":["key"]}"#;
    assert_eq!(crema.send("POST", "/system/functions", "", wanted).await.status, 202);
    assert!(crema.get("/system/functions").await.body.contains(r#""namespace":"shop""#));
    for path in ["/function/f", "/function/f.shop", "/system/function/f", "/system/logs?name=f&follow=false"] {
        assert_eq!(crema.get(path).await.status, 200, "{path}");
    }
    assert_eq!(crema.get("/function/f.openfaas-fn").await.status, 404);
    assert_eq!(crema.send("POST", "/async-function/f", "X-Call-Id: a\r\n", "").await.status, 202);
    assert_eq!(queue.call("a").await.unwrap().unwrap().function, "f.shop");
    let alert = r#"{"alerts":[{"status":"firing","labels":{"function_name":"f"}}]}"#;
    assert_eq!(crema.send("POST", "/system/alert", "", alert).await.status, 200);
    assert_eq!(crema.send("POST", "/system/scale-function/f", "", r#"{"replicas":2}"#).await.status, 202);
    assert!(crema.get("/system/secrets").await.body.contains("key"));
    assert_eq!(crema.send("DELETE", "/system/functions", "", r#"{"functionName":"f"}"#).await.status, 202);
}
