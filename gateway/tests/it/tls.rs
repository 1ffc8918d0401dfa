//! HTTPS, and what the gateway refuses to be open for. The certificate is for 127.0.0.1 and tests only.

use crate::stage::{Function, Stage};
use gateway::{BuildError, Config, Gateway, Parts, Tls};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use provider::memory::MemoryProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

#[tokio::test]
async fn functions_are_called_over_https() {
    let tls = Tls { certificate: fixture("certificate.pem"), key: fixture("key.pem") };
    let stage = Stage::with(Config { tls: Some(tls), ..Config::default() }, None).await;
    let function = Function::ok().await;
    stage.function("f", function.address).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("certificate.pem")).unwrap()).unwrap();
    let trusting = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(trusting).https_only().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    let answer = client.get(format!("https://{}/function/f", stage.address).parse().unwrap()).await.unwrap();
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
