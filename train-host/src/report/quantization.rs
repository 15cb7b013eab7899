//! The report of a quantization: every variant on the way with its accuracy, size and error, where the error arises, and
//! what each pass did. Measures nothing: see `quantize::compare`.

use std::path::Path;

use super::article::{Article, Section};
use super::canvas::Surface;
use super::charts::{Bar, bars};
use super::numbers::percent;
use super::table::Table;
use crate::console::counted;
use crate::evaluate::Difference;
use crate::quantize::error::{NodeError, OutputError};
use crate::quantize::passes::Sensitivity;
use crate::quantize::{Candidate, Comparison, PassRecord, Record, Row, Verdict};
use crate::{Error, Result};

/// Layers shown as hurting most.
const WORST: usize = 20;

/// Writes `index.html`, `report.json` and the plots of `measured` into `folder`.
///
/// # Errors
/// [`Error::Artifact`] when a file cannot be written, [`Error::Backend`] when a chart cannot be drawn.
pub fn write(folder: &Path, measured: &Comparison<'_>) -> Result<()> {
    for (name, svg) in plots(measured, Surface::File)? {
        artifact::atomic::write(&folder.join(name), svg.as_bytes())?;
    }
    let article = article(measured)?;
    artifact::atomic::write(&folder.join("index.html"), article.html()?.as_bytes())?;
    let json = serde_json::to_string_pretty(measured)
        .map_err(|e| Error::backend(e.to_string(), "numbers that JSON can hold", "report this as a bug"))?;
    Ok(artifact::atomic::write(&folder.join("report.json"), json.as_bytes())?)
}

/// How many images judged.
fn judges(record: &Record) -> String {
    match record.held_out {
        0 => "the same, too few to hold any out".to_owned(),
        count => counted(count, "other"),
    }
}

fn article(measured: &Comparison<'_>) -> Result<Article> {
    let Comparison { model, imgsz, record, .. } = measured;
    let lead = format!(
        "{model} at {imgsz} px, calibrated on {} by {} and judged on {}; {:.1} % of the multiply-adds in int8.",
        counted(record.images, "image"),
        record.method,
        judges(record),
        100.0 * record.macs.share()
    );
    let plots: Vec<(&str, String)> = plots(measured, Surface::Page)?;
    let plot =
        |name: &str| plots.iter().filter(|(known, _)| *known == name).map(|(_, svg)| svg.clone()).collect();
    let sections = vec![
        Section {
            title: "Variants".into(),
            paragraphs: vec![variants_text(measured)],
            tables: variants(measured),
            plots: plot("map.svg"),
            ..Section::default()
        },
        Section {
            title: "Passes".into(),
            paragraphs: vec![
                "On the images that judge: the error of the outputs by what it costs a detection, and the \
                 agreement, mAP with what the float model finds for labels. A pass is kept when the model then agrees clearly more, or as much \
                 with less error, or when it was asked for."
                    .into(),
            ],
            tables: passes(record),
            ..Section::default()
        },
        Section {
            title: "Outputs".into(),
            paragraphs: vec![
                "By group of output channels, because one figure for a whole output hides dead scores. “Cost” is \
                 the group's part of the error: what is lost of a box's overlap, and errors of scores by the score."
                    .into(),
            ],
            tables: vec![outputs(&record.verdict.outputs)],
            ..Section::default()
        },
        Section {
            title: "Where the error arises".into(),
            paragraphs: vec![
                "The table shows what a tensor costs when it and the kernels that read it are in int8 and all else is not, the \
                 dearest first; the chart, the lowest ratios of signal to noise against the float model, errors of earlier \
                 layers included."
                    .into(),
            ],
            tables: sensitivity(&measured.sensitivities).into_iter().collect(),
            plots: plot("sqnr.svg"),
            ..Section::default()
        },
        Section {
            title: "In floats".into(),
            paragraphs: vec![floats_text(measured)],
            tables: floats(record).into_iter().collect(),
            ..Section::default()
        },
        Section {
            title: "Every layer".into(),
            paragraphs: vec![
                "Signal to noise of each stored tensor on images that judge, in the order of the graph. Convolutions in floats and real outputs are not stored.".into(),
            ],
            tables: vec![layers(&measured.nodes)],
            ..Section::default()
        },
    ];
    Ok(Article { title: format!("Quantization of {model}"), lead, sections })
}

fn variants_text(measured: &Comparison<'_>) -> String {
    if measured.images_labeled == 0 {
        return "Pass --data with a labeled dataset to measure mAP of each variant.".into();
    }
    let seen = match measured.images_seen {
        0 => String::new(),
        count => {
            format!(
                " {count} of them were also calibrated or trained on, which flatters int8: measure on others."
            )
        }
    };
    format!(
        "mAP on {} labeled images, through the device's own pre-processing, decode and NMS. Changes are against the float \
         model in points, with the 95 % interval of a bootstrap over images.{seen}",
        measured.images_labeled
    )
}

/// Accuracy of the variants, where it was measured, and what they cost.
fn variants(measured: &Comparison<'_>) -> Vec<Table> {
    let accuracy = (measured.images_labeled > 0).then(|| accuracy(&measured.rows));
    accuracy.into_iter().chain([costs(&measured.rows)]).collect()
}

fn name(row: &Row) -> String {
    if row.chosen { format!("{} (chosen)", row.name) } else { row.name.clone() }
}

fn accuracy(rows: &[Row]) -> Table {
    let change = |row: &Row, at: usize| {
        row.change.map_or_else(
            || "–".to_owned(),
            |change| {
                let Difference { value, low, high } = change[at];
                format!("{} ({} to {})", signed(value), signed(low), signed(high))
            },
        )
    };
    let cells =
        |row: &Row| vec![name(row), percent(row.map50), percent(row.map), change(row, 0), change(row, 1)];
    Table::new(
        &["variant", "mAP50", "mAP", "change of mAP50", "change of mAP"],
        rows.iter().map(cells).collect(),
    )
}

fn costs(rows: &[Row]) -> Table {
    let float = rows.first();
    let size = |row: &Row| {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let part = row.onnx_bytes as f64 / float.map_or(1, |float| float.onnx_bytes.max(1)) as f64;
        format!("{:.2} MB, {part:.3}", megabytes(row.onnx_bytes))
    };
    let cells = |row: &Row| {
        vec![
            name(row),
            format!("{:.4}", row.total),
            percent(row.agreement),
            row.macs.map_or_else(|| "0 %".to_owned(), |macs| format!("{:.1} %", 100.0 * macs.share())),
            format!("{} of {}", row.int8_convs, row.convs),
            size(row),
        ]
    };
    Table::new(
        &["variant", "error", "agreement", "int8", "convolutions in int8", "ONNX, of float"],
        rows.iter().map(cells).collect(),
    )
}

fn signed(value: f64) -> String {
    format!("{:+.2}", value * 100.0).replace('-', "−")
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn passes(record: &Record) -> Vec<Table> {
    let candidate = |c: &Candidate| {
        let Verdict { total, agreement, .. } = c.verdict;
        vec![
            c.method.to_string(),
            format!("{total:.4}"),
            percent(agreement),
            percent(c.map50),
            percent(c.map),
        ]
    };
    let pass = |p: &PassRecord| {
        let kept = if p.kept { "kept" } else { "not kept" };
        let [found_before, found_after] = p.agreement.map_or([None; 2], |found| found.map(Some));
        vec![
            p.pass.clone(),
            format!("{:.4}", p.before),
            format!("{:.4}", p.after),
            percent(found_before),
            percent(found_after),
            kept.to_owned(),
        ]
    };
    let methods = Table::new(
        &["calibration method", "error", "agreement", "mAP50 there", "mAP there"],
        record.candidates.iter().map(candidate).collect(),
    );
    let done = Table::new(
        &["pass", "error before", "after", "agreement before", "after", ""],
        record.passes.iter().map(pass).collect(),
    );
    let note = |p: &PassRecord| p.note.as_ref().map(|note| vec![p.pass.clone(), note.clone()]);
    let notes = Table::new(&["pass", "what it did"], record.passes.iter().filter_map(note).collect());
    [methods, done, notes].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn outputs(outputs: &[OutputError]) -> Table {
    let row = |error: &OutputError| {
        vec![
            format!("{} {}", error.output, format!("{:?}", error.group).to_lowercase()),
            format!("{:.1} dB", error.sqnr_db),
            format!("{:.3}", error.max_abs),
            format!("{:+.4}", error.mean_shift).replace('-', "−"),
            format!("{:.4}", error.cost.sqrt()),
        ]
    };
    let head = ["output", "signal to noise", "largest error", "mean shift", "cost"];
    Table::new(&head, outputs.iter().map(row).collect())
}

fn layers(nodes: &[NodeError]) -> Table {
    let row = |error: &NodeError| vec![error.node.clone(), format!("{:.1} dB", error.sqnr_db)];
    Table::new(&["layer", "signal to noise"], nodes.iter().map(row).collect())
}

/// The tensors that cost most, the dearest first, whatever the order they were measured in.
fn sensitivity(sensitivities: &[Sensitivity]) -> Option<Table> {
    let mut dearest: Vec<&Sensitivity> = sensitivities.iter().collect();
    dearest.sort_by(|a, b| b.total.total_cmp(&a.total));
    let row = |s: &Sensitivity| {
        vec![
            s.tensor.clone(),
            format!("{:.4}", s.total),
            format!("{:.2} %", 100.0 * s.macs),
            s.readers.join(", "),
        ]
    };
    let rows: Vec<_> = dearest.into_iter().take(WORST).map(row).collect();
    let head = ["tensor", "error alone", "multiply-adds of its readers", "readers"];
    (!rows.is_empty()).then(|| Table::new(&head, rows))
}

fn floats_text(measured: &Comparison<'_>) -> String {
    let Comparison { record, float_convs, float_others, .. } = measured;
    let dead = match record.dead_channels.as_slice() {
        [] => String::new(),
        some => format!(" Channels without weights, which give their bias: {}.", some.join(", ")),
    };
    let silent: Vec<String> = record.silent().collect();
    let silent = match silent.as_slice() {
        [] => String::new(),
        some => format!(" Channels that were 0 for every image: {}.", some.join("; ")),
    };
    let engine = match float_convs.as_slice() {
        [] => "tract computes every convolution in int8.".to_owned(),
        some => format!("tract computes these convolutions in floats: {}.", some.join(", ")),
    };
    let others = match float_others.as_slice() {
        [] => "Of what else reads stored values, it computes nothing in floats.".to_owned(),
        some => format!("Of what else reads stored values, it computes in floats: {}.", some.join(", ")),
    };
    let asked = if record.floats.is_empty() { "No node was left" } else { "The table names the nodes left" };
    format!("{engine} {others} {asked} in floats by the quantizer.{dead}{silent}")
}

fn floats(record: &Record) -> Option<Table> {
    let rows: Vec<_> = record.floats.iter().map(|(node, why)| vec![node.clone(), why.clone()]).collect();
    (!rows.is_empty()).then(|| Table::new(&["node", "why"], rows))
}

/// Plots by file name; those without a value are left out.
fn plots(measured: &Comparison<'_>, surface: Surface) -> Result<Vec<(&'static str, String)>> {
    let map = |(at, row): (usize, &Row)| {
        let value = row.map?;
        Some(Bar { name: row.name.clone(), value, text: percent(row.map), group: usize::from(at > 0) })
    };
    let maps: Vec<Bar> = measured.rows.iter().enumerate().filter_map(map).collect();
    let charts = [
        ("map.svg", bars("mAP of each variant", &maps, surface)?),
        ("sqnr.svg", bars("Layers that hurt most: signal to noise", &noisiest(&measured.nodes), surface)?),
    ];
    Ok(charts.into_iter().filter_map(|(name, svg)| svg.map(|svg| (name, svg))).collect())
}

/// A bar for each of the layers with the lowest signal to noise, the lowest first.
fn noisiest(nodes: &[NodeError]) -> Vec<Bar> {
    let mut worst: Vec<&NodeError> = nodes.iter().collect();
    worst.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let bar = |error: &NodeError| Bar {
        name: error.node.clone(),
        value: error.sqnr_db.max(0.0),
        text: format!("{:.1} dB", error.sqnr_db),
        group: 0,
    };
    worst.into_iter().take(WORST).map(bar).collect()
}

#[cfg(test)]
mod tests;
