//! Training a finished quantization on, by whoever can train: what trains is given, and judged like every other pass, on
//! images that it did not see. Never trains itself, so that everything here works without libtorch.

use super::calibration::Calibration;
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

/// Trains the model of `outcome`, which is of `model` and quantized with `calibration`, on, and keeps the result where held-out
/// images judge it better. Where that fails, `outcome` stays what it was.
///
/// # Errors
/// As [`Trainer::train`] and [`Judge::measure`].
pub fn tune(
    model: &FusedModel,
    calibration: &Calibration,
    outcome: &mut Outcome,
    trainer: &dyn Trainer,
) -> Result<()> {
    let Trained { model: mut trained, note } = trainer.train(&outcome.float, &outcome.model)?;
    trained.scheme.origin.passes.push(trainer.name().to_owned());
    let judge = Judge::new(model, calibration.judges())?;
    let verdict = judge.measure(&mut export::quantized_session(&trained)?)?;
    let seen = outcome.variants.iter().map(|variant| &variant.verdict);
    let kept = verdict.replaces(&outcome.record.verdict, seen, judge.margin());
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
