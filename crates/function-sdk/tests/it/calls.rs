//! Calls of a handler, with all that stands around one.

use function_sdk::{Call, Clock, Context, Gateway, Request, Response, testing};
use std::time::Duration;

#[test]
fn a_handler_sees_the_request_as_it_was_sent() {
    testing::block_on(async {
        let echo = testing::start(async |request: Request| {
            let query = request.query.clone().unwrap_or_default();
            Response::new(201u16).header("x-seen", &query).text(format!(
                "{} {} {}",
                request.method,
                request.path,
                request.text()
            ))
        });
        let answer = echo.call(Call::post("/a%2Fb?x=1&y=%20").body("body")).await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["x-seen"], "x=1&y=%20");
        assert_eq!(answer.body_text(), "POST /a%2Fb body");
        assert_eq!(answer.headers()["x-call-id"].len(), 36);
        assert!(answer.headers()["x-duration-seconds"].to_str().unwrap().parse::<f64>().unwrap() >= 0.0);
        assert_eq!(answer.headers()["content-length"], "16");
    });
}

#[test]
fn a_function_calls_another_and_passes_the_trace_on() {
    testing::block_on(async {
        let gateway = testing::start(async |request: Request| {
            let trace = request.header("traceparent").unwrap_or("none").to_owned();
            Response::ok().text(format!("{} {trace}", request.path))
        });
        let context =
            Context::of([("gateway_url", gateway.url().as_str()), ("OPENFAAS_NAMESPACE", "shop")], Clock::fixed(0));
        let caller = testing::start(async move |_: Request| {
            context.gateway().call("inventory", Call::get("/stock")).await.unwrap()
        });
        let answer = caller.call(Call::get("/").header("traceparent", "00-a-b-01")).await.unwrap();
        assert_eq!(answer.body_text(), "/function/inventory.shop/stock 00-a-b-01");
    });
}

#[test]
fn a_call_that_cannot_be_made_says_why() {
    testing::block_on(async {
        let context = Context::of([], Clock::fixed(0));
        let error = context.gateway().call("inventory", Call::get("/")).await.unwrap_err();
        assert!(error.to_string().contains("gateway_url is not set"), "{error}");
        // Taken and let go, so that nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Gateway::new(&format!("http://{free}"), "x").call("a", Call::get("/")).await.unwrap_err();
        assert!(error.is_unsent() && error.to_string().contains(&free.to_string()), "{error}");
        let silent = testing::start(async |_: Request| std::future::pending::<Response>().await);
        let error = silent.call(Call::get("/slow").within(Duration::from_millis(20))).await.unwrap_err();
        assert!(!error.is_unsent() && error.to_string().contains("/slow"), "{error}");
    });
}
