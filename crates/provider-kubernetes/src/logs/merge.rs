//! Several logs as one, by time.

use super::line::Timed;
use futures_util::stream::{self, BoxStream, StreamExt};

/// Merges logs, each of which is in order.
pub(super) fn merge(logs: Vec<BoxStream<'static, Timed>>) -> BoxStream<'static, Timed> {
    let heads: Vec<Head> = logs.into_iter().map(|rest| Head { next: None, rest, ended: false }).collect();
    let merged = stream::unfold(heads, |mut heads| async move {
        for head in &mut heads {
            head.fill().await;
        }
        heads.retain(|head| !head.ended);
        let first = heads.iter_mut().min_by_key(|head| head.next.as_ref().map(|line| line.at))?;
        let line = first.next.take()?;
        Some((line, heads))
    });
    merged.boxed()
}

/// A log and its first line that is not given out yet.
struct Head {
    next: Option<Timed>,
    rest: BoxStream<'static, Timed>,
    ended: bool,
}

impl Head {
    async fn fill(&mut self) {
        if self.next.is_none() && !self.ended {
            self.next = self.rest.next().await;
            self.ended = self.next.is_none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::log::LogLine;

    fn log(pod: &str, seconds: &[i64]) -> BoxStream<'static, Timed> {
        let line = |second: &i64| {
            let at = jiff::Timestamp::from_second(*second).unwrap();
            let line = LogLine { instance: pod.to_owned(), timestamp: at.to_string(), ..LogLine::default() };
            Timed { at, line }
        };
        stream::iter(seconds.iter().map(line).collect::<Vec<_>>()).boxed()
    }

    #[tokio::test]
    async fn lines_of_several_pods_come_by_time() {
        let merged = merge(vec![log("a", &[1, 4, 5]), log("b", &[2, 3, 9]), log("c", &[])]);
        let order: Vec<String> = merged.map(|line| line.line.instance).collect().await;
        assert_eq!(order, ["a", "b", "b", "a", "a", "b"]);
        assert_eq!(merge(Vec::new()).count().await, 0);
    }
}
