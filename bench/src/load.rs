//! Load by `wrk`, in rounds in which the candidates take turns.

use crate::process::cpu_seconds;
use crate::table::median;
use anyhow::{Context, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How long and how often.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) seconds: u32,
    pub(crate) count: usize,
    /// Calls at a time, each on a connection of its own.
    pub(crate) connections: u32,
}

/// One candidate: where to send, and whose CPU time to count.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pids: Vec<u32>,
}

/// What one round gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Answered requests a second.
    pub(crate) rate: f64,
    /// Half of the calls were answered in as many microseconds.
    pub(crate) p50: f64,
    /// And 99 of 100 in as many.
    pub(crate) p99: f64,
    /// CPU microseconds of the candidate's processes for each request.
    pub(crate) cpu: f64,
    /// Answers that were not 2xx, and socket errors.
    pub(crate) failed: u64,
}

/// The rounds of all candidates, in order; one unmeasured round each goes before.
pub(crate) fn take_turns(candidates: &[Candidate], rounds: &Rounds, body: &str) -> anyhow::Result<Vec<Vec<Round>>> {
    let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    fs::write(script.path(), post(body))?;
    for candidate in candidates {
        run(candidate, &Rounds { seconds: 1, ..*rounds }, script.path())?;
    }
    let mut results = vec![Vec::new(); candidates.len()];
    for _ in 0..rounds.count {
        for (candidate, results) in candidates.iter().zip(&mut results) {
            results.push(run(candidate, rounds, script.path())?);
        }
    }
    Ok(results)
}

/// The median over rounds of `candidate` ÷ `base`, each within its own round.
pub(crate) fn ratio(candidate: &[Round], base: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(candidate.iter().zip(base).map(|(candidate, base)| figure(candidate) / figure(base)))
}

fn post(body: &str) -> String {
    format!(
        "wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n\
         local threads = {{}}\nfunction setup(t) table.insert(threads, t) end\n\
         function init() failed = 0 end\n\
         function response(status) if status < 200 or status > 299 then failed = failed + 1 end end\n\
         function done(s, l, r)\n\
           local f = 0\n  for _, t in ipairs(threads) do f = f + t:get('failed') end\n\
           io.write(string.format('RESULT %d %d %d %d %d %d\\n', s.requests, s.duration, f,\n\
             s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout,\n\
             l:percentile(50), l:percentile(99)))\nend\n"
    )
}

fn run(candidate: &Candidate, rounds: &Rounds, script: &Path) -> anyhow::Result<Round> {
    let used = || candidate.pids.iter().map(|pid| cpu_seconds(*pid)).sum::<anyhow::Result<f64>>();
    let before = used()?;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{}", rounds.connections), &format!("-d{}s", rounds.seconds), "-s"])
        .arg(script)
        .arg(&candidate.url)
        .output()
        .context("wrk (Debian: apt-get install wrk)")?;
    let cpu = used()? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        bail!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    let numbers: Vec<f64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [requests, microseconds, failed, errors, p50, p99] = numbers[..] else { bail!("wrk said: {line}") };
    let (rate, cpu, failed) = (requests / microseconds * 1e6, cpu / requests * 1e6, (failed + errors) as u64);
    Ok(Round { rate, p50, p99, cpu, failed })
}
