//! What changed between two runs: speed, times and readings, side by side. Judges nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Clocks, Report};

/// A table of what differs between `old` and `new`, for people; figures that moved by less than a hundredth are the same.
pub fn compare(old: &Report, new: &Report) -> String {
    let rows = [speed(old, new), clocks(old, new), load(old, new)].concat();
    let mut text = heading(old, new);
    for row in rows.iter().filter(|row| row.has_changed()) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {row}");
    }
    if old.throttled != new.throttled {
        let [before, after] = [old, new].map(|report| yes_or_no(report.throttled));
        let _ = writeln!(text, "  {:<18}{before:>12} → {after:>12}", "throttled");
    }
    text
}

fn yes_or_no(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

fn speed(old: &Report, new: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name: String, old: Option<f64>, new: Option<f64>| rows.push(Row { name, old, new });
    row("frames/s".into(), Some(old.fps), Some(new.fps));
    for (name, now) in new.stages.named() {
        let before = old.stages.named().find(|(other, _)| *other == name).map(|(_, times)| times);
        row(format!("{name} p50, µs"), before.map(|times| real(times.p50_us)), Some(real(now.p50_us)));
        row(format!("{name} p99, µs"), before.map(|times| real(times.p99_us)), Some(real(now.p99_us)));
    }
    let agreement = |report: &Report| report.accuracy.map(|accuracy| accuracy.agreement);
    row("agreement".into(), agreement(old), agreement(new));
    row("lost frames".into(), Some(real(old.dropped)), Some(real(new.dropped)));
    row("temperature, °C".into(), old.temperature_c, new.temperature_c);
    row("memory, MiB".into(), old.rss_bytes.map(mebibytes), new.rss_bytes.map(mebibytes));
    row("power, W".into(), old.power_w, new.power_w);
    rows
}

/// Clocks that either run knows: those that were read, and what was asked of those that were fixed.
fn clocks(old: &Report, new: &Report) -> Vec<Row> {
    let (old, new) = (named(old.clocks.as_ref()), named(new.clocks.as_ref()));
    let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
    let of = |clocks: &[(String, f64)], name: &str| {
        clocks.iter().find(|(other, _)| other == name).map(|(_, megahertz)| *megahertz)
    };
    let row = |name: &String| Row { name: name.clone(), old: of(&old, name), new: of(&new, name) };
    names.into_iter().map(row).collect()
}

fn named(clocks: Option<&Clocks>) -> Vec<(String, f64)> {
    let Some(Clocks { cpu_hz, devfreq_hz, fixed }) = clocks else { return Vec::new() };
    let read = cpu_hz.iter().chain(devfreq_hz);
    let read = read.map(|(name, hertz)| (format!("{name}, MHz"), real(*hertz) / 1e6));
    let asked = fixed
        .iter()
        .filter_map(|(name, clock)| Some((format!("{name} asked, MHz"), f64::from(clock.requested_mhz?))));
    let found = fixed
        .iter()
        .filter_map(|(name, clock)| Some((format!("{name} found, MHz"), f64::from(clock.found_mhz?))));
    read.chain(asked).chain(found).collect()
}

/// How busy each core of the NPU was.
fn load(old: &Report, new: &Report) -> Vec<Row> {
    let cores = |report: &Report| report.npu_load.as_ref().map_or(0, Vec::len);
    let of = |report: &Report, core| report.npu_load.as_ref().and_then(|load| load.get(core).copied());
    let row = |core| Row { name: format!("NPU core {core}, %"), old: of(old, core), new: of(new, core) };
    (0..cores(old).max(cores(new))).map(row).collect()
}

fn heading(old: &Report, new: &Report) -> String {
    let name = |report: &Report| format!("{} on {}", report.board, report.backend);
    let (before, after) = (name(old), name(new));
    let of = if before == after { after } else { format!("{before} → {after}") };
    let verdict = if old.verdict == new.verdict {
        String::new()
    } else {
        format!(", verdict {:?} → {:?}", old.verdict, new.verdict).to_lowercase()
    };
    format!("changes, {of}{verdict}:\n")
}

/// One figure before and after.
#[derive(Clone)]
struct Row {
    name: String,
    old: Option<f64>,
    new: Option<f64>,
}

impl Row {
    fn has_changed(&self) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => (new - old).abs() > 0.01 * old.abs(),
            (old, new) => old.is_some() != new.is_some(),
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value =
            |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.2}"));
        write!(f, "{:<18}{:>12} → {:>12}", self.name, value(self.old), value(self.new))?;
        match (self.old, self.new) {
            (Some(old), Some(new)) if old != 0.0 => write!(f, "{:>+9.1} %", (new / old - 1.0) * 100.0),
            _ => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn mebibytes(bytes: u64) -> f64 {
    real(bytes) / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use artifact::BackendKind;

    use super::*;
    use crate::selftest::{FixedClock, Percentiles, Stages, Verdict};

    fn report(fps: f64, p50_us: u64) -> Report {
        let times = Percentiles { p50_us, p90_us: 2, p95_us: 3, p99_us: 4, max_us: 5 };
        Report {
            board: "rk3588".into(),
            backend: BackendKind::Rknn,
            fallback: None,
            verdict: Verdict::Pass,
            accuracy: None,
            stages: Stages { preprocess: times, inference: times, npu: None, decode: times, total: times },
            fps,
            dropped: 0,
            clocks: None,
            temperature_c: None,
            throttled: None,
            npu_load: None,
            rss_bytes: None,
            power_w: None,
        }
    }

    #[test]
    fn only_what_changed_is_listed() {
        let old = report(50.0, 1000);
        let mut new = report(40.0, 1000);
        (new.verdict, new.temperature_c) = (Verdict::Fail, Some(61.0));
        let text = compare(&old, &new);
        assert!(text.starts_with("changes, rk3588 on rknn, verdict pass → fail:\n"), "{text}");
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("frames/s") && lines[0].ends_with("-20.0 %"), "{text}");
        assert!(lines[1].contains("unknown") && lines[1].contains("61.00"), "{text}");
    }

    fn clocks(cpu_hz: u64, requested_mhz: u32) -> Option<Clocks> {
        let fixed = FixedClock { requested_mhz: Some(requested_mhz), found_mhz: Some(1000) };
        Some(Clocks {
            cpu_hz: [("policy0".to_owned(), cpu_hz)].into(),
            devfreq_hz: [("dmc".to_owned(), 2_000_000_000)].into(),
            fixed: [("npu".to_owned(), fixed)].into(),
        })
    }

    #[test]
    fn clocks_load_and_throttling_are_compared_too() {
        let (mut old, mut new) = (report(50.0, 1000), report(50.0, 1000));
        (old.clocks, new.clocks) = (clocks(1_800_000_000, 1000), clocks(900_000_000, 900));
        (old.npu_load, new.npu_load) = (Some(vec![80.0, 0.0]), Some(vec![80.0, 40.0, 7.0]));
        (old.throttled, new.throttled) = (Some(false), Some(true));
        let text = compare(&old, &new);
        let lines: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["npu", "asked,", "MHz", "1000.00", "→", "900.00", "-10.0", "%"],
                vec!["policy0,", "MHz", "1800.00", "→", "900.00", "-50.0", "%"],
                vec!["NPU", "core", "1,", "%", "0.00", "→", "40.00"],
                vec!["NPU", "core", "2,", "%", "unknown", "→", "7.00"],
                vec!["throttled", "no", "→", "yes"],
            ],
            "{text}"
        );
        assert_eq!(compare(&old, &old).lines().count(), 1);
        let unknown = compare(&old, &report(50.0, 1000));
        assert!(
            unknown.contains("dmc, MHz") && unknown.lines().last().unwrap().ends_with("unknown"),
            "{unknown}"
        );
    }

    #[test]
    fn the_same_run_has_no_changes() {
        assert_eq!(compare(&report(50.0, 9), &report(50.0, 9)).lines().count(), 1);
    }
}
