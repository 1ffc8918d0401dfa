//! Health, readiness, and what happens beyond a limit.

use crate::{settings, tcp};
use function_sdk::settings::{Listen, Settings};
use function_sdk::{Call, Method, Request, Response, testing};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

#[test]
fn health_and_readiness_are_told_on_get_only() {
    testing::block_on(async {
        let function = testing::start(async |_: Request| Response::ok());
        let health = function.call(Call::get("/_/health")).await.unwrap();
        assert_eq!((health.status().as_u16(), health.body_text().as_ref()), (200, "OK"));
        assert_eq!(function.call(Call::get("/_/ready")).await.unwrap().status(), 200);
        for path in ["/_/health", "/_/ready"] {
            assert_eq!(function.call(Call::new(Method::POST, path)).await.unwrap().status(), 405);
        }
    });
}

#[test]
fn one_call_too_many_is_refused_and_readiness_says_so() {
    testing::block_on(async {
        let (release, released) = oneshot::channel::<()>();
        let released = RefCell::new(Some(released));
        let (entered, inside) = oneshot::channel::<()>();
        let entered = RefCell::new(Some(entered));
        let function = testing::start_with(Settings { max_inflight: 1, ..settings() }, async move |_: Request| {
            if let (Some(entered), Some(released)) = (entered.take(), released.take()) {
                entered.send(()).unwrap();
                released.await.unwrap();
            }
            Response::ok()
        });
        let first = function.call(Call::get("/"));
        let beside = async {
            inside.await.unwrap();
            let second = function.call(Call::post("/").body(vec![b'x'; 100_000])).await.unwrap();
            assert_eq!(second.status(), 429);
            assert_eq!(second.headers()["content-type"], "text/plain");
            assert_eq!(second.headers()["x-openfaas-internal"], "faas-middleware");
            assert_eq!(second.body_text(), "Concurrent request limit exceeded. Max concurrent requests: 1\n");
            assert_eq!(function.call(Call::get("/_/ready")).await.unwrap().status(), 429);
            assert_eq!(function.call(Call::get("/_/health")).await.unwrap().status(), 200);
            release.send(()).unwrap();
        };
        let (first, ()) = tokio::join!(first, beside);
        assert_eq!(first.unwrap().status(), 200);
        assert_eq!(function.call(Call::get("/")).await.unwrap().status(), 200);
    });
}

#[test]
fn a_call_beyond_its_time_is_dropped_and_answered() {
    testing::block_on(async {
        let short = Settings { exec_timeout: Some(Duration::from_millis(30)), ..settings() };
        for (settings, call) in [
            (short, Call::get("/")),
            (settings(), Call::get("/").header("x-timeout", "30ms")),
            (Settings { exec_timeout: None, ..settings() }, Call::get("/").header("x-timeout", "30ms")),
        ] {
            let dropped = Rc::new(Cell::new(false));
            let seen = Rc::clone(&dropped);
            let function = testing::start_with(settings, async move |_: Request| {
                let _dropped = OnDrop(Rc::clone(&seen));
                std::future::pending().await
            });
            let answer = function.call(call).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.body().len()), (504, 0));
            assert_eq!(answer.headers()["x-openfaas-internal"], "of-watchdog");
            assert!(answer.headers().contains_key("x-duration-seconds"));
            assert!(dropped.get());
        }
    });
}

struct OnDrop(Rc<Cell<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn a_body_over_the_limit_is_413_and_one_at_the_limit_is_not() {
    testing::block_on(async {
        let function = testing::start_with(settings(), async |request: Request| {
            Response::ok().text(request.body.len().to_string())
        });
        let fits = function.call(Call::post("/").body(vec![0; 1024])).await.unwrap();
        assert_eq!(fits.body_text(), "1024");
        let over = function.call(Call::post("/").body(vec![0; 1025])).await.unwrap();
        assert_eq!(over.status(), 413);
        assert!(over.body_text().contains("body_limit"), "{}", over.body_text());
    });
}

#[test]
fn a_call_goes_on_when_its_caller_leaves() {
    testing::block_on(async {
        let (enter, entered) = oneshot::channel::<()>();
        let (leave, left) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let parts = RefCell::new(Some((enter, left, end)));
        let function = testing::start(async move |_: Request| {
            let (enter, left, end) = parts.take().unwrap();
            enter.send(()).unwrap();
            left.await.unwrap();
            tokio::task::yield_now().await;
            end.send(()).unwrap();
            Response::ok()
        });
        tokio::select! {
            answer = function.call(Call::get("/")) => panic!("{answer:?}"),
            _ = entered => {}
        }
        leave.send(()).unwrap();
        ended.await.unwrap();
    });
}

#[test]
fn a_panic_ends_one_call() {
    testing::block_on(async {
        let function = testing::start(async |request: Request| {
            assert_ne!(request.path, "/panic");
            Response::ok()
        });
        assert_eq!(function.call(Call::get("/panic")).await.unwrap().status(), 500);
        assert_eq!(function.call(Call::get("/")).await.unwrap().status(), 200);
    });
}

#[test]
fn a_function_serves_on_a_unix_socket_and_takes_over_one_that_was_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("function.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    testing::block_on(async {
        let on_socket = Settings { listen: Listen::Unix(path.clone()), ..settings() };
        let function = testing::start_with(on_socket.clone(), async |_: Request| Response::ok().text("here"));
        assert_eq!(function.call(Call::get("/")).await.unwrap().body_text(), "here");
        let error = function_sdk::server::Server::bind(on_socket).map(drop).unwrap_err();
        assert!(error.to_string().contains("function.sock"), "{error}");
    });
    assert!(!path.exists());
}

#[test]
fn a_socket_that_can_be_seen_takes_connections() {
    use function_sdk::server::Server;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let metrics = directory.path().join("m");
    let both =
        Settings { listen: Listen::Unix(path.clone()), metrics: Some(Listen::Unix(metrics.clone())), ..settings() };
    for _ in 0..200 {
        let (path, metrics) = (path.clone(), metrics.clone());
        // Looks without a pause, as one who is woken by the folder's change.
        let watcher = std::thread::spawn(move || {
            [path, metrics].map(|path| {
                while !path.exists() {
                    std::hint::spin_loop();
                }
                std::os::unix::net::UnixStream::connect(path).map(drop)
            })
        });
        testing::block_on(async {
            let server = Server::bind(both.clone()).unwrap();
            for connected in watcher.join().unwrap() {
                connected.unwrap();
            }
            drop(server);
        });
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_socket_may_have_the_longest_path_there_is_and_takes_no_other_files_place() {
    use function_sdk::server::Server;
    let directory = tempfile::tempdir().unwrap();
    let short = directory.path().as_os_str().len();
    let folder = directory.path().join("x".repeat(107 - short - 3));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("s");
    assert_eq!(path.as_os_str().len(), 107);
    let on_socket = Settings { listen: Listen::Unix(path.clone()), ..settings() };
    testing::block_on(async {
        let server = Server::bind(on_socket.clone()).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(server);
        std::fs::write(&path, "kept").unwrap();
        assert!(Server::bind(on_socket).is_err());
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
}

#[test]
fn metrics_count_calls_and_no_caller_makes_up_labels() {
    use function_sdk::server::{Leave, Server};
    testing::block_on(async {
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(Settings { metrics: Some(listen), ..settings() }).unwrap();
        let (address, metrics) = (tcp(&server.address()), tcp(&server.metrics_address().unwrap()));
        let run = tokio::task::spawn_local(server.run(Rc::new(crate::drain::Echo), std::future::pending::<Leave>()));
        let function = function_sdk::Gateway::new(&format!("http://{address}"), "x");
        for method in ["GET", "GET", "BREW"] {
            let call = Call::new(Method::from_bytes(method.as_bytes()).unwrap(), "/");
            assert_eq!(function.call("f", call).await.unwrap().status(), 200);
        }
        let text = crate::peers::exchange(metrics, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        for line in [
            "http_requests_total{code=\"200\",method=\"get\"} 2",
            "http_requests_total{code=\"200\",method=\"other\"} 1",
            "http_request_duration_seconds_count{code=\"200\",method=\"get\"} 2",
            "http_requests_in_flight 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        run.abort();
    });
}

#[test]
fn a_metrics_port_that_is_taken_is_no_reason_not_to_serve() {
    testing::block_on(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = Some(Listen::Tcp(taken.local_addr().unwrap()));
        let server = function_sdk::server::Server::bind(Settings { metrics, ..settings() }).unwrap();
        assert_eq!(server.metrics_address(), None);
    });
}
