//! Events from a broker that is not ours: Mosquitto, cut off and brought back.

use crate::shop_with;
use e2e::eventually;
use e2e::mosquitto::Mosquitto;
use e2e::platform::{Options, State};
use e2e::skipped;
use e2e::system::program;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_external_broker_survive_its_restart_and_ours() {
    let name = "events_of_an_external_broker_survive_its_restart_and_ours";
    if program("mosquitto").is_none() || program("mosquitto_pub").is_none() {
        return skipped(name, "install mosquitto and mosquitto-clients");
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path(), None);
    let state = State::default();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let options = Options::default().with(&["--broker", &url]);
    let platform = shop_with(&state, options.clone()).await;
    // The subscription is there once a first message comes through.
    eventually("a first event comes through", || async {
        assert!(broker.publish("first/fridge/temp", "99.5"));
        platform.logs("fridge-temp").await.iter().any(|line| line.contains("first/")).then_some(()).ok_or("not yet")
    })
    .await;

    let broker = broker.restart();
    eventually("the broker is back", || async {
        broker.publish("second/fridge/temp", "99.5").then_some(()).ok_or("no")
    })
    .await;
    platform.logged("fridge-temp", "second/fridge/temp").await;

    platform.kill();
    // Nobody is there: the broker's persistent session keeps it.
    assert!(broker.publish("third/fridge/temp", "99.5"));
    let platform = shop_with(&state, options).await;
    platform.logged("fridge-temp", "third/fridge/temp").await;
}
