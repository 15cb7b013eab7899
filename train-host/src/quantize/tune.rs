//! Training a finished quantization on, by whoever can train: what trains is given, and judged like every other pass, on
//! images that it did not see. Never trains itself, so that everything here works without libtorch.

use std::path::PathBuf;

use super::images::Images;
use super::judge::Judge;
use super::pipeline::{Outcome, PassRecord, Variant};
use super::scheme::QuantizedModel;
use crate::model::FusedModel;
use crate::{Result, export};

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The model.
    pub model: QuantizedModel,
    /// How the training went, in a few words.
    pub note: String,
}

/// Trains quantized models.
pub trait Trainer {
    /// What it is called in records and reports.
    fn name(&self) -> &'static str;

    /// Trains `start` to answer as `float` does.
    ///
    /// # Errors
    /// Whatever keeps it from training.
    fn train(&self, float: &FusedModel, start: &QuantizedModel) -> Result<Trained>;
}

/// Those of `paths` that do not judge what is calibrated on `images`.
pub fn without_judges(paths: &[PathBuf], images: &Images) -> Vec<PathBuf> {
    let (held, rest) = images.hold_out();
    let judges: &[PathBuf] = if held.paths() == rest.paths() { &[] } else { held.paths() };
    paths.iter().filter(|path| !judges.contains(path)).cloned().collect()
}

/// Trains the model of `outcome`, which is of `model` and calibrated on `images`, on, and keeps the result where held-out
/// images judge it better. Where that fails, `outcome` stays what it was.
///
/// # Errors
/// As [`Trainer::train`] and [`Judge::measure`].
pub fn tune(model: &FusedModel, images: &Images, outcome: &mut Outcome, trainer: &dyn Trainer) -> Result<()> {
    let Trained { model: mut trained, note } = trainer.train(&outcome.float, &outcome.model)?;
    trained.scheme.origin.passes.push(trainer.name().to_owned());
    let verdict =
        Judge::new(model, &images.hold_out().0)?.measure(&mut export::quantized_session(&trained)?)?;
    let kept = verdict.is_better_than(&outcome.record.verdict);
    outcome.record.passes.push(PassRecord::new(
        trainer.name(),
        [&outcome.record.verdict, &verdict],
        kept,
        Some(note),
    ));
    let name = format!("{} + {}", outcome.variants[outcome.chosen].name, trainer.name());
    if kept {
        outcome.chosen = outcome.variants.len();
        outcome.model = trained.clone();
        outcome.record.verdict = verdict.clone();
    }
    outcome.variants.push(Variant { name, model: trained, verdict });
    Ok(())
}
