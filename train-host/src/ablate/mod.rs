//! The article's experiment as a command: several models trained with the same data, seeds and budget, then compared in
//! accuracy, cost and speed. Works cell by cell: a cell is a training, an evaluation, or a timing; each is kept in the
//! folder of the results, so that a run that was ended anywhere goes on where it was.

mod article;
mod bar;
mod cell;
pub mod child;

pub mod cost;
mod csv;
mod document;
mod evaluation;
mod forms;
mod machine;
mod outputs;
mod pictures;
pub mod plan;
mod sealed;
mod stale;
mod timing;
mod training;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use cell::Cell;
use cost::Cost;
use document::{Accuracy, SeedResult, Summary, VariantResult};
use evaluation::{Labeled, evaluate_cell};
use outputs::Output;
use plan::Plan;
use serde::Serialize;
use timing::{Engine, Timer, Timing};

use crate::console::say;
use crate::dataset::Source;
use crate::model::{Architecture, Overrides};
use crate::train::bench::{Subject, Workload};
use crate::train::device;
use crate::{Error, Result};

pub use bar::{Bar, FUSED_LIMIT, UNFUSED_LIMIT, Verdict};
pub use document::Document;
pub use machine::Machine;

/// Where and how to run a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Our own program: trainings are its children.
    pub program: PathBuf,
    /// Folder of the results.
    pub out: PathBuf,
    /// Trainings at once.
    pub jobs: usize,
}

/// Runs what is left to do of `plan` and writes all results into the folder of `place`: `table.md`, `table.csv`,
/// `seeds.csv`, `timing.csv`, plots, pictures, `report.html` and `ablation.json`.
///
/// # Errors
/// Settings, data or models that cannot be used; a training that fails; I/O errors. Finished cells are kept.
pub fn run(plan: &Plan, place: &Place) -> Result<Document> {
    let _lock = lock(&place.out)?;
    let cells = Cell::all(plan, &place.out)?;
    check(plan, &cells)?;
    let labeled = Labeled::read(plan)?;
    training::train(&place.program, &cells, place.jobs)?;

    let variants = results(plan, &cells, &labeled)?;
    let firsts: Vec<&Cell> = cells.iter().take(plan.variants.len()).collect();
    let cost = training_cost(plan, place, &firsts)?;
    let timings = time(plan, &firsts, &labeled, &place.out)?;
    let pictures = pictures::draw(plan, &firsts, &labeled, &place.out)?.files;
    let document = Document {
        plan: Summary::new(plan, labeled.dataset.samples.len()),
        machine: Machine::here(),
        variants,
        cost,
        bar: Bar::judge(&timings),
        timings,
        pictures,
    };
    write(&document, &place.out)?;
    if let Some(note) = stale::note(plan, &cells, &document.pictures, &place.out)? {
        say(note);
    }
    Ok(document)
}

/// Holds the folder of the results: two runs in it would train the same cells.
fn lock(out: &Path) -> Result<File> {
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let folder = File::open(out).map_err(|e| Error::io(out, e))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(Error::input(
            format!("another ablation is running in {}", out.display()),
            "one a folder",
            "wait for it, or choose another --out",
        )),
        Err(TryLockError::Error(e)) => Err(Error::io(out, e)),
    }
}

/// Finds what cannot be trained before hours of training the rest.
fn check(plan: &Plan, cells: &[Cell]) -> Result<()> {
    plan.workload().validate()?;
    device(&plan.device)?;
    let classes = Source::open(&plan.data, plan.broken)?.classes().to_vec();
    for cell in cells {
        cell.config.validate()?;
        let overrides = Overrides { act: cell.config.act, block: cell.config.block };
        let architecture = Architecture::load(&cell.config.model, &overrides, &classes)?;
        architecture.check_imgsz(plan.imgsz)?;
        cell.state()?;
    }
    Ok(())
}

fn results(plan: &Plan, cells: &[Cell], labeled: &Labeled) -> Result<Vec<VariantResult>> {
    let of_variant = |(index, variant): (usize, &plan::Variant)| {
        let own: Vec<&Cell> = cells.iter().filter(|cell| cell.variant == index).collect();
        let seeds: Vec<SeedResult> = own
            .iter()
            .map(|cell| SeedResult::new(cell, &evaluate_cell(cell, labeled)?))
            .collect::<Result<_>>()?;
        Ok(VariantResult {
            name: variant.name.clone(),
            model: variant.model.clone(),
            act: variant.act,
            block: variant.block,
            sizes: forms::sizes(own[0])?,
            accuracy: Accuracy::over(&seeds),
            seeds,
        })
    };
    plan.variants.iter().enumerate().map(of_variant).collect()
}

/// What a measurement of the cost depends on.
#[derive(Serialize)]
struct CostInputs<'a> {
    machine: Machine,
    workload: &'a Workload,
    subjects: &'a [Subject],
    /// Digests of the descriptions that are files, in the plan's order. Without any, the whole is what it was before this was
    /// looked at, and so what was measured then stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<&'a str>,
}

impl<'a> CostInputs<'a> {
    fn new(workload: &'a Workload, subjects: &'a [Subject], cells: &[&'a Cell]) -> Self {
        let models = cells.iter().filter_map(|cell| cell.config.model_digest.as_deref()).collect();
        Self { machine: Machine::here(), workload, subjects, models }
    }
}

fn training_cost(plan: &Plan, place: &Place, firsts: &[&Cell]) -> Result<Cost> {
    let (workload, subjects) = (plan.workload(), plan.subjects());
    let inputs = CostInputs::new(&workload, &subjects, firsts);
    sealed::keep(&Output::COST.in_folder(&place.out), &inputs, || {
        say(format_args!("measuring what training costs"));
        cost::measure(&place.program, &subjects, &workload)
    })
}

fn time(plan: &Plan, firsts: &[&Cell], labeled: &Labeled, out: &Path) -> Result<Vec<Timing>> {
    let forms = forms::forms(plan, firsts)?;
    let folder = Output::TIMING.in_folder(out);
    let timer = Timer::new(&folder, &forms, labeled, plan.imgsz)?;
    let of_engine = |engine: Engine| {
        plan.timings().into_iter().map(move |(frames, repeat)| (engine, frames, repeat)).collect::<Vec<_>>()
    };
    Engine::ALL
        .into_iter()
        .flat_map(of_engine)
        .map(|(e, frames, repeat)| timer.time(e, frames, repeat))
        .collect()
}

fn write(document: &Document, out: &Path) -> Result<()> {
    let written = article::write(document, out)?;
    let json = serde_json::to_vec_pretty(document).map_err(|e| Error::io(out, e.into()))?;
    let mut files = vec![
        (Output::TABLE, written.article.markdown().into_bytes()),
        (Output::TABLE_CSV, csv::variants(document).into_bytes()),
        (Output::SEEDS_CSV, csv::seeds(document).into_bytes()),
        (Output::TIMING_CSV, csv::timings(document).into_bytes()),
        (Output::REPORT, written.article.html()?.into_bytes()),
        (Output::DOCUMENT, json),
    ];
    files.extend(written.plots.into_iter().map(|(name, svg)| (name, svg.into_bytes())));
    for (name, bytes) in files {
        artifact::atomic::write(&name.in_folder(out), &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use plan::Changes;

    use super::*;

    #[test]
    fn the_cost_depends_on_model_files_and_is_else_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, model) = (dir.path().join("plan.yaml"), dir.path().join("mine.yaml"));
        let inputs = |name: &str| {
            let variants = format!("{{name: a, model: yolov5n, baseline: true}}, {{name: b, model: {name}}}");
            std::fs::write(&path, format!("epochs: 2\nimgsz: 64\nseeds: [4]\nvariants: [{variants}]\n"))
                .unwrap();
            let plan = Plan::read(&path, Changes { data: Some("d".into()), frames: None }).unwrap();
            let cells = Cell::all(&plan, dir.path()).unwrap();
            let (workload, subjects) = (plan.workload(), plan.subjects());
            let firsts: Vec<&Cell> = cells.iter().collect();
            serde_json::to_value(CostInputs::new(&workload, &subjects, &firsts)).unwrap()
        };
        let built_in = inputs("repyolov5n");
        assert_eq!(built_in.as_object().unwrap().len(), 3);
        assert!(["machine", "workload", "subjects"].iter().all(|key| built_in.get(key).is_some()));
        std::fs::write(&model, "before").unwrap();
        let before = inputs("mine.yaml");
        assert_eq!(before["models"].as_array().map(Vec::len), Some(1));
        std::fs::write(&model, "after").unwrap();
        assert_ne!(inputs("mine.yaml"), before);
    }

    #[test]
    fn one_folder_holds_one_ablation_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let held = lock(&out).unwrap();
        assert!(lock(&out).unwrap_err().to_string().contains("another ablation"));
        drop(held);
        lock(&out).unwrap();
    }
}
