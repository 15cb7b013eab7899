//! Chooses the calibration method for a model by what it measures on images held out of calibration: mAP where they are
//! labeled and tell the methods apart, else the error of what decoding sees. Never by name.

use std::collections::BTreeMap;

use boards::Int8;
use serde::{Deserialize, Serialize};

use super::calibrate::Method;
use super::error::{OutputError, Reference, total};
use super::images::Images;
use super::observe::Observations;
use super::ptq::{self, Plan};
use crate::Result;
use crate::evaluate::{Evaluator, Metrics, Options, Progress};
use crate::export::{self, bundle};
use crate::model::FusedModel;

/// A method is out when its mAP on the held-out images is this far below the best: single images move mAP by less, and
/// what is nearer is left to the output error, which is far steadier.
const MAP_MARGIN: f64 = 0.01;

/// What a method gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The method.
    pub method: Method,
    /// Error over all groups of output channels.
    pub total: f64,
    /// Error by group of output channels.
    pub outputs: Vec<OutputError>,
    /// mAP50 on the held-out images, where they are labeled.
    pub map50: Option<f64>,
    /// mAP on the held-out images, where they are labeled.
    pub map: Option<f64>,
}

/// Tries every method: calibrated as in `observed`, judged on `held`. The best is first.
///
/// # Errors
/// As [`ptq::quantize`], [`Reference::errors`] and [`Evaluator::run`].
pub fn candidates(
    model: &FusedModel,
    observed: &Observations,
    held: &Images,
    rules: Int8,
) -> Result<Vec<Candidate>> {
    let reference = Reference::of(model, held)?;
    let judge = Judge::new(model, held)?;
    let mut candidates = Vec::new();
    for method in Method::ALL {
        let quantized = ptq::quantize(model, observed, &Plan { method, rules, kept: BTreeMap::new() })?;
        let mut session = export::quantized_session(&quantized)?;
        let outputs = reference.errors(&mut session)?;
        let metrics = judge.as_ref().map(|judge| judge.metrics(&mut session)).transpose()?;
        candidates.push(Candidate {
            method,
            total: total(&outputs),
            outputs,
            map50: metrics.as_ref().and_then(|metrics| metrics.map50),
            map: metrics.as_ref().and_then(|metrics| metrics.map),
        });
    }
    Ok(ranked(candidates))
}

/// The candidates, best first: those out by mAP last, the rest by error.
fn ranked(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let best = candidates.iter().filter_map(|candidate| candidate.map).fold(0.0, f64::max);
    let out = |candidate: &Candidate| candidate.map.is_some_and(|map| map < best - MAP_MARGIN);
    candidates.sort_by(|a, b| out(a).cmp(&out(b)).then(a.total.total_cmp(&b.total)));
    candidates
}

/// Measures mAP on labeled images.
pub struct Judge(Evaluator);

impl Judge {
    /// A judge with the labels of `images`; none where they have none.
    ///
    /// # Errors
    /// As [`Evaluator::new`].
    pub fn new(model: &FusedModel, images: &Images) -> Result<Option<Self>> {
        let Some(labels) = images.labels() else { return Ok(None) };
        if labels.samples.iter().all(|sample| sample.boxes.is_empty()) {
            return Ok(None);
        }
        let options = Options { progress: Progress::Hidden, ..Options::default() };
        let preprocess = bundle::preprocess(model.imgsz);
        let decode = bundle::decode(&model.architecture.head);
        let input = super::images::input_spec(model.imgsz);
        Ok(Some(Self(Evaluator::new(labels, &preprocess, &decode, &input, &options)?)))
    }

    /// What `session` finds.
    ///
    /// # Errors
    /// As [`Evaluator::run`].
    pub fn metrics(&self, session: &mut dyn repedge::backend::Session) -> Result<Metrics> {
        Ok(self.0.run(session)?.metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(method: Method, total: f64, map: Option<f64>) -> Candidate {
        Candidate { method, total, outputs: Vec::new(), map50: map, map }
    }

    #[test]
    fn the_least_error_wins_unless_map_says_it_is_far_behind() {
        let order = |candidates: &[(Method, f64, Option<f64>)]| -> Vec<Method> {
            let list = candidates.iter().map(|&(method, total, map)| candidate(method, total, map));
            ranked(list.collect()).into_iter().map(|candidate| candidate.method).collect()
        };
        use Method::{Kl, MinMax, Mse, Percentile};
        assert_eq!(order(&[(MinMax, 0.3, None), (Mse, 0.1, None), (Kl, 0.2, None)]), [Mse, Kl, MinMax]);
        assert_eq!(
            order(&[
                (MinMax, 0.3, Some(0.4)),
                (Mse, 0.1, Some(0.38)),
                (Kl, 0.2, Some(0.395)),
                (Percentile, 0.5, Some(0.4))
            ]),
            [Kl, MinMax, Percentile, Mse]
        );
    }
}
