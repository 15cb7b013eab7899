//! An outcome as text for people.

use std::fmt;

use super::{
    Accuracy, Judged, Judgement, OneByOne, Outcome, Percentiles, PipelineRun, Report, Stages, Verdict,
};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        heading(f, report)?;
        table(f, &report.stages)?;
        if let Some(it) = &report.one_by_one {
            one_by_one(f, it)?;
        }
        if let Some(it) = &report.accuracy {
            accuracy(f, it)?;
        }
        self.judgements.iter().try_for_each(|it| judgement(f, it))?;
        f.write_str(match report.verdict {
            Verdict::Pass => "verdict: pass",
            Verdict::Fail => "verdict: fail",
        })
    }
}

fn heading(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let Report { board, backend, fps, dropped, .. } = report;
    write!(f, "{board}, {backend}: {fps:.1} frames/s ")?;
    match (&report.pipeline, &report.one_by_one) {
        (Some(PipelineRun { frames, lanes }), _) => {
            write!(f, "through the pipeline, {lanes} at a time in the engine, over {frames} frames")?;
        }
        (None, Some(OneByOne { frames, .. })) => write!(f, "one by one over {frames} frames")?,
        (None, None) => f.write_str("one by one")?,
    }
    writeln!(f, ", {dropped} dropped")
}

fn table(f: &mut fmt::Formatter<'_>, stages: &Stages) -> fmt::Result {
    writeln!(f, "  {:<12}{:>9}{:>9}{:>9}{:>9}{:>9}  µs", "stage", "p50", "p90", "p95", "p99", "max")?;
    for (step, Percentiles { p50_us, p90_us, p95_us, p99_us, max_us }) in stages {
        writeln!(f, "  {step:<12}{p50_us:>9}{p90_us:>9}{p95_us:>9}{p99_us:>9}{max_us:>9}")?;
    }
    Ok(())
}

fn one_by_one(f: &mut fmt::Formatter<'_>, it: &OneByOne) -> fmt::Result {
    let OneByOne { fps, inference_fps, noise_fps, budget_fps, .. } = it;
    write!(f, "  one by one: {fps:.1} frames/s, {inference_fps:.1} ± {noise_fps:.1} inferences/s")?;
    match budget_fps {
        Some(budget) => writeln!(f, ", budget {budget:.1}"),
        None => writeln!(f),
    }
}

fn accuracy(f: &mut fmt::Formatter<'_>, it: &Accuracy) -> fmt::Result {
    let Accuracy { images, expected, found, unexpected, agreement, bar, .. } = it;
    write!(
        f,
        "  accuracy: {found} of {expected} known boxes on {images} images, {unexpected} unknown; agreement {agreement:.2}, \
         bar {bar:.2}"
    )?;
    match it.frames() {
        0 => writeln!(f),
        frames => writeln!(f, "; in the pipeline {} of {frames} frames wrong", it.wrong()),
    }
}

fn judgement(f: &mut fmt::Formatter<'_>, it: &Judgement) -> fmt::Result {
    match &it.result {
        Judged::Passed => Ok(()),
        Judged::NotJudged(why) => writeln!(f, "  note: {why}"),
        Judged::Failed(how) => writeln!(f, "  failed: {how}"),
    }
}
