//! Greets whoever is named in the body.

use function_sdk::{Request, Response, log, serve};
use serde::Deserialize;
use std::process::ExitCode;

#[derive(Deserialize)]
struct Guest {
    name: String,
}

fn main() -> ExitCode {
    serve(greet)
}

async fn greet(request: Request) -> Response {
    match request.json::<Guest>() {
        Ok(guest) => {
            log(format_args!("greeting {}", guest.name));
            Response::ok().json(&serde_json::json!({ "greeting": format!("Hello, {}!", guest.name) }))
        }
        Err(error) => Response::new(400).text(format!("give {{\"name\": \"…\"}}: {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use function_sdk::{Call, testing};

    #[test]
    fn a_guest_is_greeted_and_a_nameless_one_is_told_why_not() {
        testing::block_on(async {
            let function = testing::start(greet);
            let guest = serde_json::json!({ "name": "Ada" });
            let answer = function.call(Call::post("/").json(&guest)).await.expect("it answers");
            assert_eq!(answer.body_text(), r#"{"greeting":"Hello, Ada!"}"#);
            let answer = function.call(Call::post("/").body("{}")).await.expect("it answers");
            assert_eq!(answer.status(), 400);
        });
    }
}
