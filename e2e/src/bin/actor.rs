//! A function for tests: it behaves as its environment says.
//!
//! It answers with the version its image names and the one it was deployed with, so that a mixture shows. `behaves`
//! makes it a bad version; with a data directory it holds a lock there, which two processes at once cannot.

use function_sdk::{Context, Request, Response, log, serve_with};
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Memory is taken in such steps.
const STEP_BYTES: usize = 1 << 20;
/// So many of them are enough for any limit a test sets.
const STEPS: usize = 512;

fn main() -> ExitCode {
    serve_with(async |context: Context| {
        let data = context.data_dir().map(|data| Data::open(&data)).transpose()?;
        behave(&context).await?;
        let version = |name| context.env(name).unwrap_or_default();
        let said = format!("{}/{}", version("image_version"), version("version"));
        Ok::<_, String>(async move |_: Request| {
            // Held as long as there are calls.
            let _data = &data;
            Response::ok().text(said.clone())
        })
    })
}

async fn behave(context: &Context) -> Result<(), String> {
    match context.env("behaves").as_deref() {
        None => Ok(()),
        Some("exits at once") => Err("this version does not start".to_owned()),
        Some("never gets ready") => std::future::pending().await,
        Some("crashes after a while") => {
            std::thread::spawn(|| {
                std::thread::park_timeout(Duration::from_millis(700));
                log("this version crashes");
                std::process::abort();
            });
            Ok(())
        }
        Some("takes memory") => {
            let taken: Vec<Vec<u8>> =
                (0..STEPS).map(|step| vec![u8::try_from(step % 251).unwrap_or(1); STEP_BYTES]).collect();
            Err(format!("{} steps of memory could be taken", taken.len()))
        }
        Some(other) => Err(format!("behaves: {other:?} is not known")),
    }
}

/// The data directory, ours alone.
struct Data {
    _lock: File,
}

impl Data {
    fn open(data: &std::path::Path) -> Result<Self, String> {
        let open = |name: &str| File::options().create(true).append(true).open(data.join(name));
        let lock = open("lock").map_err(|error| format!("the lock cannot be opened: {error}"))?;
        lock.try_lock().map_err(|error| format!("two at once: {error}"))?;
        let started = open("starts").and_then(|mut starts| writeln!(starts, "started"));
        started.map_err(|error| format!("the data directory cannot be written: {error}"))?;
        Ok(Self { _lock: lock })
    }
}
