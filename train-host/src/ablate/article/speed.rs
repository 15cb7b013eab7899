//! The sections on what training costs and how long inference takes.

use super::numbers::{dash, float, interval, mebibytes};
use super::{Plots, plot};
use crate::Result;
use crate::ablate::bar::{Bar, Verdict};
use crate::ablate::cost::Cost;
use crate::ablate::document::Document;
use crate::ablate::forms::{Role, Stage};
use crate::ablate::outputs::Output;
use crate::ablate::timing::{Engine, FormTime, Timing};
use crate::console::counted;
use crate::report::{self, Section, Table};
use crate::statistics::{mean, spread};
use crate::train::bench::Alone;

pub(super) fn training(cost: &Cost) -> Option<Section> {
    let first = cost.alone.first()?;
    let row = |one: &Alone| {
        let paired = cost.paired.iter().find(|p| p.name == one.subject.name);
        let memory = one.peak_memory_bytes.zip(first.peak_memory_bytes);
        vec![
            one.subject.name.clone(),
            format!("{:.1}", one.images_per_second),
            format!("{:.0}", one.step.median_ms),
            paired.map_or_else(dash, |p| interval(&p.ratio)),
            one.peak_memory_bytes.map_or_else(dash, mebibytes),
            memory.map_or_else(dash, |(own, other)| format!("{:.3}", float(own) / float(other))),
            format!("{:.1} %", one.waiting_share * 100.0),
        ]
    };
    let head = [
        "variant",
        "images/s",
        "step, ms",
        "step time, ratio (95 %)",
        "peak memory, MiB",
        "memory, ratio",
        "waiting for data",
    ];
    let workload = &cost.workload;
    Some(Section {
        title: "Training".into(),
        paragraphs: vec![format!(
            "{} steps at {} px, batch {}, {}, each model alone in a process of its own; peak memory is that of the whole \
             process. The ratio of step times is from one process that trains all models in turn on the same batches; \
             ratios are to {}. {}.",
            workload.steps,
            workload.imgsz,
            workload.batch,
            counted(workload.threads, "thread"),
            first.subject.name,
            cost.machine
        )],
        tables: vec![Table::new(&head, cost.alone.iter().map(row).collect())],
        ..Section::default()
    })
}

pub(super) fn inference(document: &Document, plots: &mut Plots) -> Result<Option<Section>> {
    let Some(first) = document.timings.first() else { return Ok(None) };
    let mut section = Section {
        title: "Inference".into(),
        paragraphs: vec![
            format!(
                "Single images of {} px, {}: the median time in ms, and in brackets the median of the frame-by-frame \
                 ratios to the fused plain model with the same activation. Every frame goes through every form in turn, \
                 in an order drawn anew, in one process. Only the engine is timed. The last column is the ratio to fused \
                 {} in the last of the longest timings. {}.",
                first.imgsz,
                counted(first.threads, "thread"),
                document.plan.baseline,
                first.machine
            ),
            summary(&document.bar),
        ],
        tables: vec![verdicts(&document.bar)],
        ..Section::default()
    };
    section.tables.retain(|table| !table.rows.is_empty());
    for engine in Engine::ALL {
        let timings: Vec<&Timing> = document.timings.iter().filter(|t| t.engine == engine).collect();
        let Some(longest) = timings.iter().max_by_key(|t| t.frames) else { continue };
        section.tables.push(times(&timings, longest, &document.plan.baseline));
        let title = format!("{} on {} frames, median ms", engine.name(), longest.frames);
        let bars: Vec<report::Bar> = longest.forms.iter().map(|form| bar(&timings, longest, form)).collect();
        let file = Output::timing_plot(engine);
        plot(&mut section, plots, file, |surface| report::bars(&title, &bars, surface))?;
    }
    Ok(Some(section))
}

fn summary(bar: &Bar) -> String {
    let rule = format!(
        "Bar: a fused model takes at most {} of the plain model's time, an unfused one more than {}, by the median over \
         all timings in an engine",
        bar.fused_limit, bar.unfused_limit
    );
    match bar.failures().len() {
        _ if bar.verdicts.is_empty() => format!("{rule}: no variant folds to the plain model's graph."),
        0 => format!("{rule}: it holds."),
        failures => format!("{rule}: it FAILS for {failures} of {}.", bar.verdicts.len()),
    }
}

fn verdicts(bar: &Bar) -> Table {
    let row = |v: &Verdict| {
        let limit = match v.stage {
            Stage::Fused => format!("≤ {}", bar.fused_limit),
            Stage::Unfused => format!("> {}", bar.unfused_limit),
        };
        let (least, greatest) = spread(&v.ratios).map_or((v.ratio, v.ratio), |s| (s.least, s.greatest));
        vec![
            v.form.clone(),
            v.engine.name().to_owned(),
            v.plain.clone(),
            format!("{:.3}", v.ratio),
            format!("{least:.3}–{greatest:.3}"),
            limit,
            if v.holds { "yes".into() } else { "NO".into() },
        ]
    };
    let head = ["form", "engine", "beside", "ratio", "of single timings", "bar", "holds"];
    Table::new(&head, bar.verdicts.iter().map(row).collect())
}

/// A row a form, a column a timing of one engine, and the ratio to the baseline in the longest.
fn times(timings: &[&Timing], longest: &Timing, baseline: &str) -> Table {
    let mut head = vec![longest.engine.name().to_owned()];
    for timing in timings {
        let again = timings.iter().filter(|other| other.frames == timing.frames).count() > 1;
        let number = if again { format!(" ({})", timing.repeat) } else { String::new() };
        head.push(format!("{} frames{number}", timing.frames));
    }
    head.push(format!("to {baseline} (95 %)"));
    let row = |form: &FormTime| {
        let mut cells = vec![form.name.clone()];
        cells.extend(timings.iter().map(|timing| {
            let same = timing.forms.iter().find(|other| other.name == form.name);
            same.map_or_else(dash, |f| match f.to_plain {
                Some(ratio) => format!("{:.2} ({:.3})", f.median_ms, ratio.median),
                None => format!("{:.2}", f.median_ms),
            })
        }));
        cells.push(interval(&form.to_baseline));
        cells
    };
    Table { head, rows: longest.forms.iter().map(row).collect() }
}

/// A form's time over all timings as long as the longest; fused forms in one color, unfused in another.
fn bar(timings: &[&Timing], longest: &Timing, form: &FormTime) -> report::Bar {
    let same = |timing: &&&Timing| timing.frames == longest.frames;
    let of_form =
        |timing: &&Timing| timing.forms.iter().find(|other| other.name == form.name).map(|f| f.median_ms);
    let medians: Vec<f64> = timings.iter().filter(same).filter_map(of_form).collect();
    let value = mean(&medians);
    let group = match (form.stage, form.role) {
        (Stage::Unfused, _) => 1,
        (Stage::Fused, Role::Reparameterized) => 2,
        (Stage::Fused, Role::Compared) => 0,
    };
    report::Bar { name: form.name.clone(), value, text: format!("{value:.2} ms"), group }
}
