//! What changed between two runs: speed, times and readings, side by side. Only what was measured in the same way is compared.
//! Judges nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Clocks, OneByOne, Percentiles, Report, Stages};

/// A table of what differs between `old` and `new`, for people; figures that moved by less than a hundredth are the same. Where
/// one of them ran no pipeline, as quick runs and older versions do not, frames one by one are compared, and nothing that the
/// pipeline moves: frames lost, load, temperature, memory, power and throttling.
pub fn compare(old: &Report, new: &Report) -> String {
    let rows = [one_by_one(old, new), pipeline(old, new), other(old, new), clocks(old, new), load(old, new)];
    let rows = rows.concat();
    let mut text = heading(old, new);
    if let Some(only) = only_pipeline(old, new) {
        let _ = writeln!(text, "  note: {only}");
    }
    for row in rows.iter().filter(|row| row.has_changed()) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {row}");
    }
    if is_alike(old, new) && old.throttled != new.throttled {
        let [before, after] = [old, new].map(|report| yes_or_no(report.throttled));
        let _ = writeln!(text, "  {:<26}{before:>12} → {after:>12}", "throttled");
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

/// Whether both ran a pipeline or neither did: then what is of the whole run was measured in the same way.
fn is_alike(old: &Report, new: &Report) -> bool {
    old.pipeline.is_some() == new.pipeline.is_some()
}

/// What is said where only one of them ran a pipeline.
fn only_pipeline(old: &Report, new: &Report) -> Option<&'static str> {
    match (&old.pipeline, &new.pipeline) {
        (None, Some(_)) => Some("the old run was without a pipeline: frames one by one are compared"),
        (Some(_), None) => Some("the new run was without a pipeline: frames one by one are compared"),
        _ => None,
    }
}

/// Speed and times of frames one by one, which every version measures.
fn one_by_one(old: &Report, new: &Report) -> Vec<Row> {
    let [(old_fps, old_stages), (new_fps, new_stages)] = [old, new].map(|report| {
        // Without a pipeline, these are the report's own.
        match report.one_by_one.as_ref().filter(|_| report.pipeline.is_some()) {
            Some(OneByOne { fps, stages, .. }) => (*fps, stages),
            None => (report.fps, &report.stages),
        }
    });
    let inference = |report: &Report| report.one_by_one.as_ref().map(|it| it.inference_fps);
    let speed = Row::new("1 by 1, frames/s", Some(old_fps), Some(new_fps));
    let mut rows = vec![speed];
    if let (Some(old), Some(new)) = (inference(old), inference(new)) {
        rows.push(Row::new("1 by 1, inferences/s", Some(old), Some(new)));
    }
    rows.extend(times("1 by 1, ", old_stages, new_stages));
    rows
}

/// Speed and times of the pipeline, where both ran one.
fn pipeline(old: &Report, new: &Report) -> Vec<Row> {
    if old.pipeline.is_none() || new.pipeline.is_none() {
        return Vec::new();
    }
    let speed = Row::new("frames/s", Some(old.fps), Some(new.fps));
    std::iter::once(speed).chain(times("", &old.stages, &new.stages)).collect()
}

/// Times of each step that either has.
fn times(prefix: &str, old: &Stages, new: &Stages) -> Vec<Row> {
    let steps: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let rows = |step| {
        let [before, after] = [old.get(step), new.get(step)];
        let row = |name: &str, of: fn(&Percentiles) -> u64| {
            let name = format!("{prefix}{step} {name}, µs");
            Row { name, old: before.map(|it| real(of(it))), new: after.map(|it| real(of(it))) }
        };
        [row("p50", |it| it.p50_us), row("p99", |it| it.p99_us)]
    };
    steps.into_iter().flat_map(rows).collect()
}

/// What is of the whole run, and, whatever ran, what the model finds.
fn other(old: &Report, new: &Report) -> Vec<Row> {
    let agreement = |report: &Report| report.accuracy.as_ref().map(|accuracy| accuracy.agreement);
    let agreement = Row::new("agreement", agreement(old), agreement(new));
    if !is_alike(old, new) {
        return vec![agreement];
    }
    vec![
        agreement,
        Row::new("lost frames", Some(real(old.dropped)), Some(real(new.dropped))),
        Row::new("temperature, °C", old.temperature_c, new.temperature_c),
        Row::new("memory, MiB", old.rss_bytes.map(mebibytes), new.rss_bytes.map(mebibytes)),
        Row::new("power, W", old.power_w, new.power_w),
    ]
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
    if !is_alike(old, new) {
        return Vec::new();
    }
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
    fn new(name: &str, old: Option<f64>, new: Option<f64>) -> Self {
        Self { name: name.to_owned(), old, new }
    }

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
        write!(f, "{:<26}{:>12} → {:>12}", self.name, value(self.old), value(self.new))?;
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
    use crate::selftest::{FixedClock, PipelineRun, Step, Verdict};

    fn report(fps: f64, p50_us: u64) -> Report {
        let times = Percentiles { p50_us, p90_us: 2, p95_us: 3, p99_us: 4, max_us: 5 };
        Report {
            board: "rk3588".into(),
            backend: BackendKind::Rknn,
            fallback: None,
            verdict: Verdict::Pass,
            accuracy: None,
            stages: [(Step::Preprocess, times), (Step::Total, times)].into(),
            fps,
            dropped: 0,
            one_by_one: None,
            pipeline: None,
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
        let fixed = FixedClock { requested_mhz: Some(requested_mhz), found_mhz: Some(1000), not_fixed: None };
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

    /// As versions write it that run a pipeline, at `fps`, beside frames one by one.
    fn live(fps: f64, one_by_one_fps: f64) -> Report {
        let one = report(one_by_one_fps, 1000);
        let times = Percentiles { p50_us: 7, p90_us: 7, p95_us: 7, p99_us: 7, max_us: 7 };
        let one_by_one = OneByOne {
            frames: 30,
            fps: one.fps,
            inference_fps: 1.1 * one.fps,
            noise_fps: 0.0,
            budget_fps: None,
            stages: one.stages.clone(),
        };
        Report {
            stages: [(Step::Preprocess, times), (Step::EndToEnd, times)].into(),
            fps,
            one_by_one: Some(one_by_one),
            pipeline: Some(PipelineRun { frames: 30, lanes: 3 }),
            ..one
        }
    }

    #[test]
    fn a_run_of_a_version_without_pipeline_is_compared_by_what_both_measured() {
        // As that version wrote it: the newer fields are not there.
        let mut json = serde_json::to_value(report(50.0, 1000)).unwrap();
        for field in ["one_by_one", "pipeline"] {
            json.as_object_mut().unwrap().remove(field).unwrap();
        }
        let old: Report = serde_json::from_value(json).unwrap();
        let text = compare(&old, &live(130.0, 40.0));
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert!(lines[0].contains("note: the old run was without a pipeline"), "{text}");
        assert!(lines[1].contains("1 by 1, frames/s") && lines[1].contains("-20.0 %"), "{text}");
        assert_eq!(lines.len(), 2, "nothing is told that only one of them has: {text}");
        assert!(compare(&live(130.0, 40.0), &old).contains("note: the new run was"));
    }

    #[test]
    fn what_a_pipeline_makes_warm_and_large_is_not_held_against_a_run_without() {
        let (without, mut with) = (report(50.0, 1000), live(130.0, 50.0));
        (with.dropped, with.throttled, with.npu_load) = (7, Some(true), Some(vec![90.0]));
        (with.temperature_c, with.rss_bytes, with.power_w) = (Some(70.0), Some(1 << 30), Some(9.0));
        for (old, new) in [(&without, &with), (&with, &without)] {
            let text = compare(old, new);
            assert_eq!(text.lines().count(), 2, "the heading and the note: {text}");
        }
        let text = compare(&live(130.0, 50.0), &with);
        for name in ["lost frames", "temperature", "memory", "power", "throttled", "NPU core 0"] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn pipelines_are_compared_with_pipelines() {
        let text = compare(&live(130.0, 40.0), &live(65.0, 40.0));
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert!(lines.len() == 1 && lines[0].trim_start().starts_with("frames/s"), "{text}");
    }

    #[test]
    fn the_same_run_has_no_changes() {
        assert_eq!(compare(&report(50.0, 9), &report(50.0, 9)).lines().count(), 1);
    }
}
