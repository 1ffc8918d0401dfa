//! HTTPS, and what the gateway refuses to be open for. The certificate is for 127.0.0.1 and tests only.

use crate::stage::{Function, Stage, read_request};
use gateway::{BuildError, Config, Gateway, Parts, Tls};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use provider::memory::MemoryProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

/// One that trusts the gateway's certificate.
fn client() -> Client<HttpsConnector<HttpConnector>, Empty<bytes::Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("certificate.pem")).unwrap()).unwrap();
    let trusting = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(trusting).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn stage() -> Stage {
    let tls = Tls { certificate: fixture("certificate.pem"), key: fixture("key.pem") };
    Stage::with(Config { tls: Some(tls), ..Config::default() }, None).await
}

#[tokio::test]
async fn a_connection_is_upgraded_over_https() {
    let stage = stage().await;
    let function = Function::scripted(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        assert_eq!(asked.header("x-forwarded-proto"), ["https"]);
        let agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello ";
        stream.write_all(agreed).await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
    })
    .await;
    stage.function("f", function.address).await;
    let request = hyper::Request::get(format!("https://{}/function/f", stage.address))
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let answer = client().request(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut upgraded = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    upgraded.write_all(b"echo").await.unwrap();
    let mut heard = [0; 10];
    upgraded.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello echo");
    assert_eq!(upgraded.read(&mut heard).await.unwrap(), 0);
}

#[tokio::test]
async fn functions_are_called_over_https() {
    let stage = stage().await;
    let function = Function::ok().await;
    stage.function("f", function.address).await;
    let answer = client().get(format!("https://{}/function/f", stage.address).parse().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "fine");
    assert_eq!(function.only().header("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn what_would_be_open_or_cannot_work_is_not_built() {
    let parts =
        || Parts { provider: Arc::new(MemoryProvider::new()), queue: None, clock: Arc::new(daemon::SystemClock) };
    let port = |address: &str| address.parse().unwrap();
    let open = Config { listen: port("0.0.0.0:0"), metrics: port("127.0.0.1:0"), ..Config::default() };
    for (config, says) in [
        (open.clone(), "--tls-cert"),
        (Config { plain_http: true, ..open.clone() }, "without a password"),
        (Config { listen: port("127.0.0.1:0"), functions: Some(port("0.0.0.0:0")), ..open.clone() }, "127.0.0.1"),
        (
            Config {
                listen: port("127.0.0.1:0"),
                tls: Some(Tls { certificate: fixture("key.pem"), key: fixture("key.pem") }),
                ..open.clone()
            },
            "no certificate",
        ),
    ] {
        let error = Gateway::build(config, parts()).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { listen: taken.local_addr().unwrap(), ..open };
    let error = Gateway::build(config, parts()).err().unwrap();
    assert!(matches!(error, BuildError::Listen { .. }) && error.to_string().contains("CREMA_LISTEN"), "{error}");
}
