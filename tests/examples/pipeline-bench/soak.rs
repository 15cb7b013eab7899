//! Minutes at full speed through all sinks: what the process holds at the beginning, in the middle and at the end must be the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use repedge::pipeline::{Policy, Stop};
use serde_json::{Value, json};

use super::{Options, Play, scene};

/// Part of the time after which everything has its size.
const WARM_UP: f64 = 0.1;
/// What an allocator keeps for threads that come and go is less; a few bytes a frame are more in minutes.
const MOST_BYTES: u64 = 2 << 20;

/// Between two segments of video there is a file less: so often, and so far apart, descriptors are counted.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(50);

/// What this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    resident_bytes: u64,
    descriptors: usize,
}

impl Held {
    fn now() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kib: u64 = line.context("no VmRSS in /proc/self/status")?.parse()?;
        let mut descriptors = 0;
        for _ in 0..LOOKS {
            descriptors = descriptors.max(std::fs::read_dir("/proc/self/fd")?.count());
            std::thread::sleep(LOOK);
        }
        Ok(Self { resident_bytes: kib * 1024, descriptors })
    }

    fn report(self) -> Value {
        json!({ "resident_bytes": self.resident_bytes, "descriptors": self.descriptors })
    }
}

/// Plays for `minutes`, and prints what the process held.
pub fn run(options: &Options, minutes: f64) -> Result<()> {
    let model = scene::model("pipeline soak", options.latency_us)?;
    let (cores, stop) = (options.cores, Stop::new());
    let asked = stop.clone();
    let running = std::thread::spawn(move || {
        let play =
            Play { model: &model, cores, interval: Duration::ZERO, policy: Policy::EveryFrame, frames: None };
        play.run(stop)
    });
    let time = Duration::from_secs_f64(minutes * 60.0);
    let half = time.mul_f64((1.0 - WARM_UP) / 2.0);
    let mut held = Vec::new();
    for pause in [time.mul_f64(WARM_UP), half, half] {
        std::thread::sleep(pause);
        ensure!(!running.is_finished(), "the pipeline ended after {} of 3 parts", held.len());
        held.push(Held::now()?);
    }
    asked.stop();
    let (report, arrived) = running.join().ok().context("the pipeline panicked")??;
    ensure!(report.lost + report.dropped + report.broken == 0, "frames are missing: {report:?}");
    arrived.check(report.shown)?;
    let names = ["begin", "middle", "end"];
    let held_at: serde_json::Map<_, _> =
        names.into_iter().zip(&held).map(|(name, held)| (name.to_owned(), held.report())).collect();
    let document = json!({ "minutes": minutes, "held": held_at, "arrived": arrived.report(), "run": report });
    println!("{}", serde_json::to_string_pretty(&document)?);
    judge(&held)
}

/// Fails when the process has grown.
fn judge(held: &[Held]) -> Result<()> {
    let [begin, _, end] = held else { return Ok(()) };
    let grown = end.resident_bytes.saturating_sub(begin.resident_bytes);
    ensure!(grown < MOST_BYTES, "grown by {grown} bytes, where less than {MOST_BYTES} may be: {held:?}");
    let more = end.descriptors.saturating_sub(begin.descriptors);
    ensure!(more == 0, "{more} descriptors more than at the beginning: {held:?}");
    Ok(())
}
