//! Chooses the calibration method for a model by what it measures on images held out of calibration: whether the int8
//! model finds what the float model finds, and the error of what decoding sees. Never by name.

use std::collections::BTreeMap;

use boards::Int8;
use serde::{Deserialize, Serialize};

use super::calibrate::Method;
use super::images::Images;
use super::judge::{Judge, Verdict};
use super::observe::Observations;
use super::ptq::{self, Plan};
use crate::Result;
use crate::evaluate::{Evaluator, Metrics, Options};
use crate::export::{self, bundle};
use crate::model::FusedModel;

/// What a method gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The method.
    pub method: Method,
    /// How near it comes to the float model on the held-out images.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// mAP50 on the held-out images, where they are labeled.
    pub map50: Option<f64>,
    /// mAP on the held-out images, where they are labeled.
    pub map: Option<f64>,
}

/// Tries every method: calibrated as in `observed`, judged by `judge`, which is of `model` on `held`. The best is first.
///
/// # Errors
/// As [`ptq::quantize`], [`Judge::measure`] and [`Evaluator::run`].
pub(super) fn candidates(
    judge: &Judge<'_>,
    model: &FusedModel,
    observed: &Observations,
    held: &Images,
    rules: Int8,
) -> Result<Vec<Candidate>> {
    let labels = Labels::new(model, held)?;
    let mut candidates = Vec::new();
    for method in Method::ALL {
        let quantized = ptq::quantize(model, observed, &Plan { method, rules, kept: BTreeMap::new() })?;
        let mut session = export::quantized_session(&quantized)?;
        let verdict = judge.measure(&mut session)?;
        let metrics = labels.as_ref().map(|labels| labels.metrics(&mut session)).transpose()?;
        candidates.push(Candidate {
            method,
            verdict,
            map50: metrics.as_ref().and_then(|metrics| metrics.map50),
            map: metrics.as_ref().and_then(|metrics| metrics.map),
        });
    }
    Ok(ranked(candidates, judge.margin()))
}

/// The candidates, best first: those that find less than the most by more than `margin` last, the rest by error.
fn ranked(mut candidates: Vec<Candidate>, margin: f64) -> Vec<Candidate> {
    let most = candidates.iter().filter_map(|candidate| candidate.verdict.agreement).fold(0.0, f64::max);
    let key =
        |candidate: &Candidate| (candidate.verdict.finds_less_than(most, margin), candidate.verdict.total);
    candidates.sort_by(|a, b| {
        let ((out_a, total_a), (out_b, total_b)) = (key(a), key(b));
        out_a.cmp(&out_b).then(total_a.total_cmp(&total_b))
    });
    candidates
}

/// Measures mAP on labeled images.
struct Labels(Evaluator);

impl Labels {
    /// With the labels of `images`; none where they have none.
    fn new(model: &FusedModel, images: &Images) -> Result<Option<Self>> {
        let Some(labels) = images.labels() else { return Ok(None) };
        if labels.samples.iter().all(|sample| sample.boxes.is_empty()) {
            return Ok(None);
        }
        let options = Options { progress: images.progress(), ..Options::default() };
        let preprocess = bundle::preprocess(model.imgsz);
        let decode = bundle::decode(&model.architecture.head);
        let input = super::images::input_spec(model.imgsz);
        Ok(Some(Self(Evaluator::new(labels, &preprocess, &decode, &input, &options)?)))
    }

    /// What `session` finds.
    fn metrics(&self, session: &mut dyn repedge::backend::Session) -> Result<Metrics> {
        Ok(self.0.run(session)?.metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_error_wins_among_those_that_find_as_much() {
        let order = |candidates: &[(Method, f64, Option<f64>)]| -> Vec<Method> {
            let list = candidates.iter().map(|&(method, total, agreement)| {
                let verdict = Verdict { total, agreement, outputs: Vec::new() };
                Candidate { method, verdict, map50: None, map: None }
            });
            ranked(list.collect(), 0.01).into_iter().map(|candidate| candidate.method).collect()
        };
        use Method::{Kl, MinMax, Mse, Percentile};
        assert_eq!(order(&[(MinMax, 0.3, None), (Mse, 0.1, None), (Kl, 0.2, None)]), [Mse, Kl, MinMax]);
        assert_eq!(
            order(&[
                (MinMax, 0.3, Some(0.94)),
                (Mse, 0.1, Some(0.91)),
                (Kl, 0.2, Some(0.935)),
                (Percentile, 0.5, Some(0.94))
            ]),
            [Kl, MinMax, Percentile, Mse]
        );
    }
}
