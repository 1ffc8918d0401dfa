//! Judges the temperature a fridge's sensor sends, by MQTT or by HTTP.

pub mod judge;
pub mod reading;

use function_sdk::{Context, Handler, Request, Response, log};
use judge::{Limit, LimitError};
use reading::Fahrenheit;

/// The function.
#[derive(Debug)]
pub struct FridgeTemp {
    limit: Limit,
}

impl FridgeTemp {
    /// Reads the limit from `limit_fahrenheit`.
    pub fn from_context(context: &Context) -> Result<Self, LimitError> {
        Ok(Self { limit: Limit::from_setting(context.env("limit_fahrenheit").as_deref())? })
    }
}

impl Handler for FridgeTemp {
    async fn handle(&self, request: Request) -> Response {
        // Which fridge it was, where the event names it.
        let topic = request.header("x-topic").map(|topic| format!(" topic={topic}")).unwrap_or_default();
        match Fahrenheit::from_body(&request.body) {
            Ok(temperature) => {
                let verdict = self.limit.judge(temperature);
                log(format_args!("{verdict} temperature={temperature} limit={}{topic}", self.limit));
                Response::ok().text(verdict.to_string())
            }
            Err(error) => {
                log(format_args!("No temperature: {error}{topic}"));
                Response::new(400).text(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use function_sdk::Clock;

    async fn answer(limit: &str, body: &str) -> (u16, String) {
        let context = Context::of([("limit_fahrenheit", limit)], Clock::fixed(0));
        let request = Request { body: body.to_owned().into(), ..Request::default() };
        let response = FridgeTemp::from_context(&context).unwrap().handle(request).await;
        (response.status().as_u16(), response.body_text().into_owned())
    }

    #[tokio::test]
    async fn it_answers_what_it_thinks_of_a_temperature() {
        let hot = (200, "Warning: Too hot!".to_owned());
        let fine = (200, "Temperature OK".to_owned());
        assert_eq!(answer("", r#"{"temp":97.4,"unit":"F"}"#).await, hot);
        assert_eq!(answer("", r#"{"temp":36.2,"unit":"C"}"#).await, hot);
        assert_eq!(answer("", "38.2").await, fine);
        assert_eq!(answer("", "95").await, fine);
        assert_eq!(answer("41", "41.1").await, hot);
    }

    #[tokio::test]
    async fn garbage_is_400_with_what_was_expected() {
        let (status, text) = answer("", "warm").await;
        assert_eq!(status, 400);
        assert!(text.contains(reading::EXPECTED), "{text}");
    }
}
