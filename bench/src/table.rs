//! The table that is printed: what, measured, aim.

use std::fmt;
use std::time::Duration;

/// Rows of text.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds a row: what was measured, by whom, the figure, the aim.
    pub(crate) fn row(&mut self, what: &str, who: &str, figure: impl fmt::Display, aim: &str) {
        self.0.push([what.to_owned(), who.to_owned(), figure.to_string(), aim.to_owned()]);
        eprintln!("{what} | {who} | {figure} | {aim}");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| what | who | measured | aim |\n| --- | --- | --- | --- |")?;
        self.0.iter().try_for_each(|row| writeln!(formatter, "| {} |", row.join(" | ")))
    }
}

/// The middle one of several figures; the mean of the two middle ones of an even number.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The time that `share` of all times are not above; 0 of none.
pub(crate) fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The usual ones, in words.
pub(crate) fn percentiles(times: Vec<Duration>) -> String {
    let millis = |share| percentile(&times, share).as_secs_f64() * 1e3;
    let (middle, high, most) = (millis(0.5), millis(0.99), millis(1.0));
    format!("p50 {middle:.1} ms, p99 {high:.1} ms, most {most:.1} ms of {}", times.len())
}
