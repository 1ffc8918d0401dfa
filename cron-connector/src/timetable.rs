//! When a schedule fires next: cron expressions with croner, time zones with jiff, and OpenFaaS's dialect around them.
//!
//! Five fields (`minute hour day-of-month month day-of-week`), lists, ranges, steps, `N/S`, `?`, names, `7` for Sunday,
//! `@daily` and its like, `@every DURATION`, `TZ=ZONE ` or `CRON_TZ=ZONE ` in front, several expressions separated by
//! `;`. Besides, croner's `L`, `W` and `#`. Where both days are restricted either is enough, as Unix has it.
//!
//! At a change of clocks a fixed time (no `*` in minute and hour) runs once: right after the gap in spring, at the first
//! of the two moments in autumn; with a `*` there, a schedule goes by the clock. The crate `cron` is no choice: it counts
//! weekdays from 1 = Sunday, wants seconds, and fires twice and out of order in autumn.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The most expressions in one schedule.
const MAX_EXPRESSIONS: usize = 64;
/// The longest schedule, in bytes.
const MAX_BYTES: usize = 4096;
/// Up to how many times of day are followed one by one.
const MAX_TIMES: usize = 288;
/// The shortest `@every`.
const SHORTEST: Duration = Duration::from_secs(1);
/// The fields and their greatest values, which end `N/S`.
const FIELDS: [(&str, u8); 5] = [("minute", 59), ("hour", 23), ("day of month", 31), ("month", 12), ("day of week", 6)];

/// One function's schedule.
#[derive(Clone, Debug)]
pub struct Timetable(Vec<Rule>);

/// What one expression means.
#[derive(Clone, Debug)]
enum Rule {
    /// Moments on a calendar. Several patterns when there are several fixed times of day.
    Calendar { patterns: Vec<Cron>, zone: TimeZone },
    /// Every so often from a base.
    Every(SignedDuration),
}

/// Why text is no schedule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("schedule {expression:?}: {why}")]
pub struct ScheduleError {
    expression: String,
    why: String,
}

impl ScheduleError {
    fn new(expression: &str, why: impl std::fmt::Display) -> Self {
        Self { expression: expression.chars().take(100).collect(), why: why.to_string() }
    }
}

impl Timetable {
    /// Reads a schedule; `local` is the zone of expressions that name none. What is right is in force also when
    /// something else is wrong.
    #[must_use]
    pub fn read(schedule: &str, local: &TimeZone) -> (Self, Vec<ScheduleError>) {
        if schedule.len() > MAX_BYTES {
            return (Self(Vec::new()), vec![ScheduleError::new(schedule, format!("longer than {MAX_BYTES} bytes"))]);
        }
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        let expressions: Vec<&str> = schedule.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
        if expressions.is_empty() {
            errors.push(ScheduleError::new(schedule, "it is empty; give one like */5 * * * *"));
        }
        for (index, expression) in expressions.into_iter().enumerate() {
            match Rule::parse(expression, local) {
                _ if index >= MAX_EXPRESSIONS => {
                    errors.push(ScheduleError::new(expression, format!("more than {MAX_EXPRESSIONS} expressions")));
                    break;
                }
                Ok(rule) => rules.push(rule),
                Err(why) => errors.push(ScheduleError::new(expression, why)),
            }
        }
        (Self(rules), errors)
    }

    /// Reads a schedule of which everything is right.
    pub fn parse(schedule: &str, local: &TimeZone) -> Result<Self, ScheduleError> {
        match Self::read(schedule, local) {
            (timetable, errors) if errors.is_empty() => Ok(timetable),
            (_, mut errors) => Err(errors.remove(0)),
        }
    }

    /// The first moment later than `after`; `@every` counts from `base`.
    #[must_use]
    pub fn next(&self, after: Timestamp, base: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|rule| rule.next(after, base)).min()
    }

    /// Whether part of it counts from a base.
    #[must_use]
    pub fn counts_from_base(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule, Rule::Every(_)))
    }
}

impl Rule {
    fn parse(expression: &str, local: &TimeZone) -> Result<Self, String> {
        if !expression.is_ascii() {
            return Err("only ASCII letters, digits and signs have a meaning".to_owned());
        }
        let (zone, fields) = zone(expression, local)?;
        if let Some(duration) = fields.strip_prefix("@every").map(str::trim) {
            return every(duration);
        }
        let fields = match fields.strip_prefix('@') {
            Some(name) => descriptor(name)?.to_owned(),
            None => fields.to_owned(),
        };
        let fields = normal(&fields)?;
        let patterns = patterns(&fields)?;
        let rule = Self::Calendar { patterns, zone };
        // Any moment will do: leap years come within eight.
        if rule.next(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).is_none() {
            return Err("there is no such day; it would never fire".to_owned());
        }
        Ok(rule)
    }

    fn next(&self, after: Timestamp, base: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Calendar { patterns, zone } => {
                let start = after.to_zoned(zone.clone());
                let next = |pattern: &Cron| pattern.find_next_occurrence(&start, false).ok();
                patterns.iter().filter_map(next).map(|moment| moment.timestamp()).filter(|next| *next > after).min()
            }
            Self::Every(period) => {
                let since = after.duration_since(base);
                let times = since.as_secs().div_euclid(period.as_secs()).checked_add(1)?.max(1);
                let offset = SignedDuration::from_secs(times.checked_mul(period.as_secs())?);
                base.checked_add(offset).ok()
            }
        }
    }
}

/// Splits a leading `TZ=ZONE ` or `CRON_TZ=ZONE ` off.
fn zone<'a>(expression: &'a str, local: &TimeZone) -> Result<(TimeZone, &'a str), String> {
    let Some(rest) = expression.strip_prefix("CRON_TZ=").or_else(|| expression.strip_prefix("TZ=")) else {
        return Ok((local.clone(), expression));
    };
    let Some((name, fields)) = rest.split_once(char::is_whitespace) else {
        return Err("after the time zone there is no expression; give one like TZ=Europe/London 0 6 * * *".to_owned());
    };
    let zone =
        TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}; give one like Europe/London"))?;
    Ok((zone, fields.trim()))
}

fn every(duration: &str) -> Result<Rule, String> {
    let period = wire::duration::parse(duration).map_err(|error| error.to_string())?.max(SHORTEST);
    // Fractions of a second are dropped, as upstream does.
    let seconds = i64::try_from(period.as_secs()).map_err(|error| error.to_string())?;
    Ok(Rule::Every(SignedDuration::from_secs(seconds)))
}

fn descriptor(name: &str) -> Result<&'static str, String> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return Err("of these there are @yearly, @monthly, @weekly, @daily, @hourly and @every 5m".to_owned()),
    })
}

/// The five fields in croner's dialect.
fn normal(expression: &str) -> Result<[String; 5], String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let count = fields.len();
        return Err(format!("it has {count} fields, not 5: minute, hour, day of month, month, day of week"));
    }
    let mut normal: [String; 5] = Default::default();
    for (index, field) in fields.into_iter().enumerate() {
        let (name, max) = FIELDS[index];
        normal[index] =
            normal_field(&field.to_ascii_uppercase(), index, max).map_err(|why| format!("{name} {field:?}: {why}"))?;
    }
    Ok(normal)
}

fn normal_field(field: &str, index: usize, max: u8) -> Result<String, String> {
    let letters = match index {
        2 => "LW",
        3 => "JANFEBMRPYULGSOCTVD",
        4 => "SUNMOTEWDHFRIAL#",
        _ => "",
    };
    if let Some(bad) = field.chars().find(|c| !c.is_ascii_digit() && !"*?/,-".contains(*c) && !letters.contains(*c)) {
        return Err(format!("{bad:?} has no meaning here"));
    }
    let field = field.replace('?', "*");
    let items: Vec<&str> = field.split(',').collect();
    if items.iter().any(|item| item.is_empty()) {
        return Err("an item of the list is missing".to_owned());
    }
    // A star among others is a star: then the other day field alone counts.
    if items.iter().any(|item| matches!(*item, "*" | "*/1")) {
        return Ok("*".to_owned());
    }
    let item = |item: &&str| match item.split_once('/') {
        Some((start, step)) if start != "*" && !start.contains('-') => format!("{start}-{max}/{step}"),
        _ => (*item).to_owned(),
    };
    Ok(items.iter().map(item).collect::<Vec<_>>().join(","))
}

/// One pattern; or, for several fixed times of day, one for each: croner gives only a single fixed time its due at a
/// change of clocks.
fn patterns(fields: &[String; 5]) -> Result<Vec<Cron>, String> {
    let whole = pattern(&fields.join(" "))?;
    let [minute, hour, day, month, weekday] = fields;
    if minute.contains('*') || hour.contains('*') {
        return Ok(vec![whole]);
    }
    let (minutes, hours) = (whole.pattern.minutes.values(), whole.pattern.hours.values());
    if minutes.len() * hours.len() > MAX_TIMES {
        return Ok(vec![whole]);
    }
    let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (minute, hour)));
    times.map(|(minute, hour)| pattern(&format!("{minute} {hour} {day} {month} {weekday}"))).collect()
}

fn pattern(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
