//! The ablation for people: tables, plots and pictures with the sentences that say how they came about. Rounds for
//! reading; the JSON document and the CSV files do not.

use std::path::{Path, PathBuf};

use super::cost::Cost;
use super::document::{Bar, Document, SeedResult, VariantResult, Verdict};
use super::forms::{Role, Sizes, Stage};
use super::timing::{Engine, FormTime, Timing};
use crate::Result;
use crate::report::{self, Article, Curve, Picture, Samples, Section, Surface, Table};
use crate::statistics::{Ratio, Spread, mean, spread};

/// The article and the plots it refers to.
pub struct Written {
    /// Sections with everything but files.
    pub article: Article,
    /// Plots as files: name and SVG document.
    pub plots: Vec<(PathBuf, String)>,
}

/// Writes about `document`, whose pictures lie in `out`.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when a plot cannot be drawn; an I/O error for a missing picture.
pub fn write(document: &Document, out: &Path) -> Result<Written> {
    let mut plots = Vec::new();
    let sections = vec![
        accuracy(document, &mut plots)?,
        sizes(document),
        training(&document.cost),
        inference(document, &mut plots)?,
        pictures(document, out)?,
    ];
    let article = Article {
        title: format!("Ablation: {}", document.plan.name),
        lead: lead(document),
        sections: sections.into_iter().flatten().collect(),
    };
    Ok(Written { article, plots })
}

fn lead(document: &Document) -> String {
    let plan = &document.plan;
    let data = plan.data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    format!(
        "{} variants on {data}: {} epochs at {} px, batch {}, on {} with {}, seeds {}; evaluated on the {} images of the \
         {} split. Compared to {}. {}.",
        document.variants.len(),
        plan.epochs,
        plan.imgsz,
        plan.batch,
        plan.device,
        counted(plan.threads, "thread"),
        seeds.join(", "),
        plan.images,
        plan.split,
        plan.baseline,
        document.machine
    )
}

fn accuracy(document: &Document, plots: &mut Vec<(PathBuf, String)>) -> Result<Option<Section>> {
    let baseline = document.variants.iter().find(|v| v.name == document.plan.baseline).map(|v| v.accuracy);
    let row = |v: &VariantResult| {
        let a = &v.accuracy;
        let mut cells = vec![v.name.clone()];
        cells.extend([a.map50, a.map].map(percent));
        cells.push(difference(a.map50, baseline.and_then(|b| b.map50)));
        cells.push(difference(a.map, baseline.and_then(|b| b.map)));
        cells.extend([a.ap_small, a.ap_medium, a.ap_large].map(percent));
        cells
    };
    let head = ["variant", "mAP50", "mAP50-95", "Δ mAP50", "Δ mAP50-95", "AP small", "AP medium", "AP large"];
    let table = Table::new(&head, document.variants.iter().map(row).collect());
    let samples = |value: fn(&SeedResult) -> Option<f64>| -> Vec<Samples> {
        let of = |v: &VariantResult| Samples {
            name: v.name.clone(),
            values: v.seeds.iter().filter_map(value).map(|v| v * 100.0).collect(),
        };
        document.variants.iter().map(of).collect()
    };
    let (map, map50) = (samples(|s| s.map), samples(|s| s.map50));
    let curves: Vec<Curve> = document.variants.iter().map(curve).collect();
    let split = &document.plan.split;
    let mut section = Section {
        title: "Accuracy".into(),
        paragraphs: vec![format!(
            "Percent; mean ± standard deviation over {}, each with the weights of its best epoch on the validation \
             split, fused, run by tract with the device's pre-processing, decode and NMS. AP by size is mAP50-95 of \
             objects under 32², up to 96² and over 96² px. Δ: points against {}.",
            counted(document.plan.seeds.len(), "seed"),
            document.plan.baseline
        )],
        tables: vec![table],
        ..Section::default()
    };
    let title = format!("mAP50-95 on {split}, percent");
    plot(&mut section, plots, "map.svg", |surface| report::dots(&title, &map, surface))?;
    let title = format!("mAP50 on {split}, percent");
    plot(&mut section, plots, "map50.svg", |surface| report::dots(&title, &map50, surface))?;
    let title = "mAP50-95 on validation, mean over seeds";
    plot(&mut section, plots, "curves.svg", |surface| report::curves(title, "epoch", &curves, surface))?;
    Ok(Some(section))
}

/// Validation mAP over the epochs, as far as every seed has it.
fn curve(variant: &VariantResult) -> Curve {
    let course = |seed: &SeedResult| -> Vec<(f64, f64)> {
        seed.epochs.iter().filter_map(|e| Some((e.epoch, e.map?))).collect()
    };
    let courses: Vec<Vec<(f64, f64)>> = variant.seeds.iter().map(course).collect();
    let common = courses.iter().map(Vec::len).min().unwrap_or(0);
    let at = |index: usize| {
        let values: Vec<f64> = courses.iter().map(|course| course[index].1).collect();
        (courses[0][index].0, mean(&values))
    };
    let name = variant.name.clone();
    let mean = (0..common).map(at).collect();
    Curve { name, mean, courses: if courses.len() > 1 { courses } else { Vec::new() } }
}

fn sizes(document: &Document) -> Option<Section> {
    let row = |v: &VariantResult| {
        let Sizes { unfused, fused } = v.sizes;
        vec![
            v.name.clone(),
            millions(unfused.parameters as u64),
            millions(fused.parameters as u64),
            billions(unfused.flops),
            billions(fused.flops),
            unfused.layers.to_string(),
            fused.layers.to_string(),
        ]
    };
    let head = [
        "variant",
        "parameters, trained",
        "fused",
        "GFLOPs, trained",
        "fused",
        "operations, trained",
        "fused",
    ];
    Some(Section {
        title: "Size".into(),
        paragraphs: vec![format!(
            "At {} px; a multiply-add of a convolution counts as two.",
            document.plan.imgsz
        )],
        tables: vec![Table::new(&head, document.variants.iter().map(row).collect())],
        ..Section::default()
    })
}

fn training(cost: &Cost) -> Option<Section> {
    let first = cost.alone.first()?;
    let row = |one: &crate::train::bench::Alone| {
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

fn inference(document: &Document, plots: &mut Vec<(PathBuf, String)>) -> Result<Option<Section>> {
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
        let file = format!("timing-{}.svg", engine.name());
        plot(&mut section, plots, &file, |surface| report::bars(&title, &bars, surface))?;
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

fn pictures(document: &Document, out: &Path) -> Result<Option<Section>> {
    if document.pictures.is_empty() {
        return Ok(None);
    }
    let seed = document.plan.seeds.first().map(u64::to_string).unwrap_or_default();
    Ok(Some(Section {
        title: "Detections".into(),
        paragraphs: vec![format!(
            "Left the labels, in the middle {}, right the variant, both of seed {seed}, as a device shows them: confidence \
             from {}, NMS at IoU {}.",
            document.plan.baseline,
            crate::export::bundle::CONFIDENCE,
            crate::export::bundle::IOU
        )],
        pictures: document
            .pictures
            .iter()
            .map(|file| Picture::read(&out.join(file)))
            .collect::<Result<_>>()?,
        files: document.pictures.clone(),
        ..Section::default()
    }))
}

/// Draws a plot for the page and as a file.
fn plot(
    section: &mut Section,
    plots: &mut Vec<(PathBuf, String)>,
    file: &str,
    draw: impl Fn(Surface) -> Result<Option<String>>,
) -> Result<()> {
    if let (Some(page), Some(svg)) = (draw(Surface::Page)?, draw(Surface::File)?) {
        section.plots.push(page);
        section.files.push(file.into());
        plots.push((file.into(), svg));
    }
    Ok(())
}

/// A fraction as percent with its deviation.
fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(dash, |s| match s.deviation {
        Some(deviation) => format!("{:.2} ± {:.2}", s.mean * 100.0, deviation * 100.0),
        None => format!("{:.2}", s.mean * 100.0),
    })
}

/// Difference of two fractions in points, with its sign.
fn difference(own: Option<Spread>, other: Option<Spread>) -> String {
    own.zip(other).map_or_else(dash, |(a, b)| format!("{:+.2}", (a.mean - b.mean) * 100.0).replace('-', "−"))
}

fn interval(ratio: &Ratio) -> String {
    format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.low, ratio.high)
}

fn dash() -> String {
    "–".into()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn millions(count: u64) -> String {
    format!("{:.3} M", float(count) / 1e6)
}

fn billions(count: u64) -> String {
    format!("{:.2}", float(count) / 1e9)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", float(bytes) / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::document;
    use super::*;

    #[test]
    fn markdown_tells_accuracy_cost_times_and_the_bar() {
        let dir = tempfile::tempdir().unwrap();
        let written = write(&document(1.2, 1.0), dir.path()).unwrap();
        let text = written.article.markdown();
        for part in [
            "| rep     | 61.00 ± 1.41 |",
            "+1.00",
            "12.00 (1.200)",
            "engine: it holds.",
            "| rep unfused |  tract | plain fused | 1.200 |       1.200–1.200 |    > 1 |   yes |",
            "![map](<map.svg>)",
            "![timing-tract](<timing-tract.svg>)",
            "seeds 0, 1",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let names: Vec<&Path> = written.plots.iter().map(|(name, _)| name.as_path()).collect();
        assert_eq!(names, ["map.svg", "map50.svg", "curves.svg", "timing-tract.svg"].map(Path::new));
        assert!(written.article.html().unwrap().contains("61.00 ± 1.41"));
    }

    #[test]
    fn a_failed_bar_is_told_with_its_figures() {
        let dir = tempfile::tempdir().unwrap();
        let text = write(&document(1.2, 1.05), dir.path()).unwrap().article.markdown();
        assert!(text.contains("it FAILS for 1 of 2.") && text.contains("≤ 1.02 |    NO |"), "{text}");
    }

    #[test]
    fn a_single_seed_has_no_deviation_and_no_pale_courses() {
        let spread = Spread { mean: 0.5, deviation: None, least: 0.5, greatest: 0.5 };
        assert_eq!(percent(Some(spread)), "50.00");
        assert_eq!(percent(None), "–");
        assert_eq!(difference(Some(spread), Some(Spread { mean: 0.512, ..spread })), "−1.20");
        let mut one = document(1.2, 1.0).variants.remove(0);
        one.seeds.truncate(1);
        assert!(curve(&one).courses.is_empty() && curve(&one).mean.len() == 2);
    }
}
