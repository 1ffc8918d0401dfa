//! Who may connect, publish and subscribe.

use crate::{clients, config, start, text};
use gateway_client::testing::FakeGateway;
use mqtt_broker::Config;

#[tokio::test]
async fn only_known_users_publish_and_only_where_they_may() {
    if !clients("only_known_users_publish_and_only_where_they_may") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let passwords = directory.path().join("passwords");
    let acl = directory.path().join("acl");
    // As mosquitto_passwd -b wrote it for the password "secret".
    std::fs::write(
        &passwords,
        "alice:$7$101$r+HnQI2t2j63gbBK$i/L713VGxluB3zIAqOdBbHSRkMz45yyZqGW+r0gkcTyfx8I6LuBY5fzm3KsqB5t5Q1b281lRJaJp1JbcRkuYkQ==\n",
    )
    .unwrap();
    std::fs::write(&acl, "user alice\ntopic write store104/#\n").unwrap();
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "#")]);
    let config = Config { password_file: Some(passwords), acl_file: Some(acl), ..config() };
    let broker = start(&gateway, config).await;

    let denied = broker.published(&["-q", "1", "-t", "store104/a", "-m", "1"]).await;
    assert!(!denied.status.success(), "no user");
    let denied = broker.published(&["-u", "alice", "-P", "wrong", "-q", "1", "-t", "store104/a", "-m", "2"]).await;
    assert!(!denied.status.success(), "wrong password");
    let denied = broker.published(&["-u", "bob", "-P", "secret", "-q", "1", "-t", "store104/a", "-m", "3"]).await;
    assert!(!denied.status.success(), "unknown user");
    let user = ["-V", "mqttv5", "-u", "alice", "-P", "secret", "-q", "1"];
    let refused = broker.published(&[&user[..], &["-t", "other", "-m", "4"]].concat()).await;
    assert!(text(&refused.stderr).contains("Not authorized"), "{}", text(&refused.stderr));
    let will = ["--will-topic", "other", "--will-payload", "x", "-t", "store104/a", "-m", "5"];
    assert!(!broker.published(&[&user[..], &will].concat()).await.status.success(), "a will elsewhere");
    let allowed = broker.published(&[&user[..], &["-t", "store104/a", "-m", "6"]].concat()).await;
    assert!(allowed.status.success(), "{}", text(&allowed.stderr));
    let posted = gateway.posted();
    assert_eq!(posted.len(), 1, "{posted:?}");
    assert_eq!(&posted[0].body[..], b"6");

    let refused = broker
        .command("mosquitto_sub", &["-u", "alice", "-P", "secret", "-t", "store104/#", "-E"])
        .output()
        .await
        .unwrap();
    assert!(text(&refused.stderr).contains("denied") || !refused.status.success(), "{}", text(&refused.stderr));
    broker.stop().await;
}

#[tokio::test]
async fn nobody_speaks_for_the_broker() {
    if !clients("nobody_speaks_for_the_broker") {
        return;
    }
    let gateway = FakeGateway::start().await;
    let broker = start(&gateway, config()).await;
    let refused = broker.published(&["-V", "mqttv5", "-q", "1", "-t", "$SYS/broker/version", "-m", "1"]).await;
    assert!(text(&refused.stderr).contains("Not authorized"), "{}", text(&refused.stderr));
    let will = ["--will-topic", "$SYS/a", "--will-payload", "x", "-q", "1", "-t", "a", "-m", "1"];
    assert!(!broker.published(&will).await.status.success(), "a will");
    let allowed = broker.published(&["-q", "1", "-t", "a", "-m", "1"]).await;
    assert!(allowed.status.success(), "{}", text(&allowed.stderr));
    broker.stop().await;
}

#[tokio::test]
async fn a_broken_password_file_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwords");
    std::fs::write(&path, "# users\nalice:secret\n").unwrap();
    let client = gateway_client::GatewayClient::new(&gateway_client::ClientConfig::new("http://127.0.0.1:1", None));
    let client = client.unwrap();
    let (_stopper, stop) = daemon::stop::pair();
    let list = gateway_client::FunctionList::follow(client.clone(), std::time::Duration::from_secs(1), stop);
    let config = Config { password_file: Some(path.clone()), ..config() };
    let error = mqtt_broker::Broker::build(config, dispatch::Dispatcher::new(client, list)).err().unwrap();
    assert!(error.to_string().starts_with(&format!("{}:2: ", path.display())), "{error}");
}
