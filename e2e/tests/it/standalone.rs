//! The programs on their own, as one would run them on several machines, with Mosquitto as the broker.
#![allow(clippy::print_stderr, reason = "a failed test says what the programs printed")]

use crate::espresso;
use e2e::binaries::{binary, images};
use e2e::http::{Answer, Http};
use e2e::mosquitto::{Mosquitto, publish};
use e2e::platform::{State, free_port};
use e2e::shop::{Shop, plenty};
use e2e::system::program;
use e2e::{eventually, skipped};
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PASSWORD: &str = "correct-horse";
const SHOP_KEY: &str = "a key";

/// A running program. Dropping it kills it as a crash would.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// Several programs' machines in one: where the gateway is, and a folder for everybody's files.
struct Site {
    state: State,
    gateway: u16,
    http: Http,
}

impl Site {
    fn new() -> Self {
        let site = Self { state: State::default(), gateway: free_port(), http: Http::default() };
        site.state.copy_images(images());
        std::fs::create_dir(site.secrets()).unwrap();
        std::fs::write(site.secrets().join("basic-auth-user"), "admin").unwrap();
        std::fs::write(site.secrets().join("basic-auth-password"), PASSWORD).unwrap();
        site
    }

    fn secrets(&self) -> PathBuf {
        self.state.path().with_file_name("credentials")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.gateway)
    }

    /// Starts a program with what every one of them is told, and more.
    fn start(&self, name: &str, environment: &[(&str, String)]) -> Program {
        let log = File::options().create(true).append(true).open(self.state.log()).unwrap();
        let child = Command::new(binary(name))
            .env("basic_auth", "true")
            .env("secret_mount_path", self.secrets())
            .env("gateway_url", self.url(""))
            .env("rebuild_interval", "1s")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Program(child)
    }

    async fn gateway(&self) -> Program {
        let state = self.state.path().display().to_string();
        let listen = format!("127.0.0.1:{}", self.gateway);
        let mut program = self.start(
            "gateway",
            &[
                ("CREMA_STATE", state),
                ("CREMA_LISTEN", listen),
                ("CREMA_METRICS", "127.0.0.1:0".to_owned()),
                // An attempt that a kill has cut short is one, and the waits grow.
                ("initial_retry_wait", "1s".to_owned()),
                ("max_retry_wait", "5s".to_owned()),
            ],
        );
        eventually("the gateway is there", || {
            assert!(program.0.try_wait().unwrap().is_none(), "it ended:\n{}", self.printed());
            async { self.http.get(&self.url("/healthz")).await }
        })
        .await;
        program
    }

    fn mqtt_connector(&self, broker: &Mosquitto) -> Program {
        let state = self.state.path().with_file_name("connector").display().to_string();
        self.start("mqtt-connector", &[("broker", format!("mqtt://127.0.0.1:{}", broker.port())), ("state_dir", state)])
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.state.log()).unwrap_or_default()
    }

    async fn system(&self, method: &str, path: &str, body: &Value) -> Answer {
        use base64::Engine;
        let token = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
        let headers = [("Authorization", format!("Basic {token}")), ("Content-Type", "application/json".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.http.send(method, &self.url(path), &headers, body.to_string()).await.unwrap()
    }

    /// Deploys the shop: orders come from the topics `orders/...`.
    async fn deploy_the_shop(&self) {
        let answer = self.system("POST", "/system/secrets", &json!({"name": "shop-key", "value": SHOP_KEY})).await;
        assert!(answer.status < 300, "{}", answer.text());
        for name in ["inventory", "payment", "order"] {
            let mut annotations = json!({"com.crema.data.path": "/data"});
            if name == "order" {
                annotations["topic"] = json!("orders/#");
            }
            self.deploy(name, name, &annotations, &["shop-key"]).await;
        }
    }

    async fn deploy(&self, name: &str, image: &str, annotations: &Value, secrets: &[&str]) {
        let image = format!("ghcr.io/crema-faas/{image}:0.1.0");
        let labels = json!({"com.openfaas.scale.max": "1"});
        let deployment = json!({
            "service": name, "image": image, "labels": labels, "annotations": annotations, "secrets": secrets
        });
        let answer = self.system("POST", "/system/functions", &deployment).await;
        assert!(answer.status < 300, "{name}: {}", answer.text());
        eventually(&format!("{name} is ready"), || async {
            let status = self.system("GET", &format!("/system/function/{name}"), &Value::Null).await.json();
            (status["availableReplicas"] == 1).then_some(()).ok_or(status)
        })
        .await;
    }

    async fn confirmed(&self, id: &str) {
        eventually(&format!("order {id} is confirmed"), || async {
            let order = self.http.get(&self.url(&format!("/function/order/{id}"))).await?;
            (order.status == 200 && order.json()["status"] == "confirmed").then_some(()).ok_or_else(|| order.text())
        })
        .await;
    }
}

impl Shop for Site {
    fn http(&self) -> &Http {
        &self.http
    }

    fn at(&self, route: &str, path: &str) -> String {
        self.url(&format!("/{route}/{path}"))
    }

    fn key(&self) -> String {
        SHOP_KEY.to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the programs printed ---\n{}", self.printed());
        }
    }
}

fn mosquitto_is_missing(test: &str) -> bool {
    let missing = program("mosquitto").is_none() || program("mosquitto_pub").is_none();
    if missing {
        skipped(test, "install mosquitto and mosquitto-clients");
    }
    missing
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mosquitto_acknowledged_is_delivered_though_gateway_and_connector_are_killed() {
    if mosquitto_is_missing("what_mosquitto_acknowledged_is_delivered_though_gateway_and_connector_are_killed") {
        return;
    }
    let site = Site::new();
    let mut gateway = site.gateway().await;
    site.deploy_the_shop().await;
    plenty(&site).await;
    let folder = tempfile::tempdir().unwrap();
    let broker = Arc::new(Mosquitto::start(folder.path(), None));
    let mut connector = site.mqtt_connector(&broker);
    // The subscription is there once a first message comes through; what came before it, nobody was promised.
    eventually("a first order comes through", || async {
        if !broker.publish("orders/first", &espresso("first").to_string()) {
            return Err("mosquitto does not answer".to_owned());
        }
        let order = site.http.get(&site.url("/function/order/first")).await?;
        (order.status == 200).then_some(()).ok_or_else(|| order.text())
    })
    .await;

    let stop = Arc::new(AtomicBool::new(false));
    let tills: Vec<_> = (0..2)
        .map(|till| {
            let (broker, stop) = (Arc::clone(&broker), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || {
                let ids = (0..).map(|number| format!("m-{till}-{number}"));
                let open = ids.take_while(|_| !stop.load(Ordering::Relaxed));
                open.filter(|id| broker.publish("orders/till", &espresso(id).to_string())).collect::<Vec<_>>()
            })
        })
        .collect();
    for round in 0..3 {
        let sold = |least: usize| {
            let site = &site;
            eventually("orders come in", move || async move {
                let list = site.http.get(&site.url("/function/order?status=confirmed&limit=1000")).await?;
                let count = if list.status == 200 { e2e::shop::orders(&list.json()).len() } else { 0 };
                (count >= least).then_some(count).ok_or_else(|| list.text())
            })
        };
        let before = sold(1).await;
        sold(before + 5).await;
        drop(gateway);
        gateway = site.gateway().await;
        if round == 1 {
            drop(connector);
            connector = site.mqtt_connector(&broker);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for till in tills {
        acknowledged.extend(till.await.unwrap());
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    for id in &acknowledged {
        site.confirmed(id).await;
    }
    drop((connector, gateway));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_broker_on_its_own_acknowledges_only_what_the_gateway_took() {
    if mosquitto_is_missing("our_broker_on_its_own_acknowledges_only_what_the_gateway_took") {
        return;
    }
    let site = Site::new();
    let gateway = site.gateway().await;
    site.deploy_the_shop().await;
    let port = free_port();
    let broker = site.start("mqtt-broker", &[("CREMA_MQTT", format!("127.0.0.1:{port}"))]);
    eventually("the broker takes an order", || async {
        publish(port, "orders/first", &espresso("first").to_string()).then_some(()).ok_or_else(|| site.printed())
    })
    .await;
    site.confirmed("first").await;
    drop(gateway);
    assert!(!publish(port, "orders/second", &espresso("second").to_string()), "acknowledged, and nobody has it");
    let gateway = site.gateway().await;
    eventually("the broker takes an order again", || async {
        publish(port, "orders/third", &espresso("third").to_string()).then_some(()).ok_or_else(|| site.printed())
    })
    .await;
    site.confirmed("third").await;
    drop((broker, gateway));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_go_on_when_the_gateway_is_back() {
    let site = Site::new();
    let gateway = site.gateway().await;
    let annotations = json!({"topic": "cron-function", "schedule": "@every 1s"});
    site.deploy("ticked", "fridge-temp", &annotations, &[]).await;
    let connector = site.start("cron-connector", &[]);
    let count = || async {
        let list = site.system("GET", "/system/functions", &Value::Null).await.json();
        list[0]["invocationCount"].as_f64().unwrap_or_default()
    };
    eventually("the schedule fires", || async { Some(count().await).filter(|count| *count >= 2.0).ok_or("not yet") })
        .await;
    drop(gateway);
    let gateway = site.gateway().await;
    let before = count().await;
    eventually("the schedule fires again", || async {
        Some(count().await).filter(|count| *count > before + 1.0).ok_or(before)
    })
    .await;
    drop((connector, gateway));
}
