//! Schedules to functions.
//!
//! A function whose `topic` names `cron-function` and that has a `schedule` is called whenever the schedule says so:
//! [`timetable`] reads schedules and knows the next moment, [`ticker`] knows what is due, [`connector`] posts to
//! `/async-function` until the gateway says 202 or the next moment has come.
#![forbid(unsafe_code)]

mod connector;
pub mod program;
mod ticker;
mod timetable;

pub use connector::{Config, CronConnector};
pub use ticker::Problem;
pub use timetable::{ScheduleError, Timetable};
