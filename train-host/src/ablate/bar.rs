//! The bar of re-parameterization: a fused model is never slower than the plain one, an unfused one is. Judges what
//! `timing` measured.

use serde::{Deserialize, Serialize};

use super::forms::{Role, Stage};
use super::timing::{Engine, Timing};
use crate::statistics::median;

/// A fused model may take this much of the plain model's time, frame by frame, at most: the same graph, and 2 % for what
/// two copies of it differ by on a machine.
pub const FUSED_LIMIT: f64 = 1.02;
/// An unfused model takes more than this.
pub const UNFUSED_LIMIT: f64 = 1.0;

/// The bar of re-parameterization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Largest ratio of a fused model to the plain one.
    pub fused_limit: f64,
    /// Ratio that an unfused model exceeds.
    pub unfused_limit: f64,
    /// One for each re-parameterized form in each engine.
    pub verdicts: Vec<Verdict>,
}

/// Whether one form keeps to its limit in one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What ran the models.
    pub engine: Engine,
    /// The form.
    pub form: String,
    /// Its stage, which decides the limit.
    pub stage: Stage,
    /// The deployed plain model with the same activation.
    pub plain: String,
    /// Median frame-by-frame ratio of each timing.
    pub ratios: Vec<f64>,
    /// Their median: a copy of a model that lies badly in memory is slow in one timing, and no timing alone decides.
    pub ratio: f64,
    /// Whether that keeps to the limit.
    pub holds: bool,
}

impl Bar {
    /// Judges every re-parameterized form of `timings` in each engine.
    pub fn judge(timings: &[Timing]) -> Self {
        let mut verdicts: Vec<Verdict> = Vec::new();
        for timing in timings {
            for form in timing.forms.iter().filter(|form| form.role == Role::Reparameterized) {
                let Some((ratio, plain)) = form.to_plain.zip(form.plain.clone()) else { continue };
                let is_same = |v: &&mut Verdict| v.engine == timing.engine && v.form == form.name;
                match verdicts.iter_mut().find(is_same) {
                    Some(verdict) => verdict.ratios.push(ratio.median),
                    None => verdicts.push(Verdict {
                        engine: timing.engine,
                        form: form.name.clone(),
                        stage: form.stage,
                        plain,
                        ratios: vec![ratio.median],
                        ratio: 0.0,
                        holds: false,
                    }),
                }
            }
        }
        for verdict in &mut verdicts {
            verdict.ratio = median(&verdict.ratios);
            verdict.holds = match verdict.stage {
                Stage::Fused => verdict.ratio <= FUSED_LIMIT,
                Stage::Unfused => verdict.ratio > UNFUSED_LIMIT,
            };
        }
        Self { fused_limit: FUSED_LIMIT, unfused_limit: UNFUSED_LIMIT, verdicts }
    }

    /// What does not hold, a sentence each.
    pub fn failures(&self) -> Vec<String> {
        let sentence = |v: &Verdict| {
            let limit = match v.stage {
                Stage::Fused => format!("at most {}", self.fused_limit),
                Stage::Unfused => format!("more than {}", self.unfused_limit),
            };
            format!(
                "{} takes {:.4} of the time of {} on {}, not {limit}",
                v.form,
                v.ratio,
                v.plain,
                v.engine.name()
            )
        };
        self.verdicts.iter().filter(|verdict| !verdict.holds).map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{form, timing};
    use super::*;

    #[test]
    fn the_bar_is_judged_for_rep_forms_only_and_names_what_fails() {
        let bar_of = |unfused, fused| {
            let forms = vec![
                form("plain fused", Stage::Fused, Role::Compared, 1.0),
                form("lite fused", Stage::Fused, Role::Compared, 1.9),
                form("rep unfused", Stage::Unfused, Role::Reparameterized, unfused),
                form("rep fused", Stage::Fused, Role::Reparameterized, fused),
            ];
            Bar::judge(&[timing(Engine::Tract, forms)])
        };
        let sound = bar_of(1.2, 1.02);
        assert!(sound.failures().is_empty() && sound.verdicts.len() == 2);
        let failures = bar_of(1.0, 1.021).failures();
        assert_eq!(failures.len(), 2);
        assert_eq!(
            failures[0],
            "rep unfused takes 1.0000 of the time of plain fused on tract, not more than 1"
        );
        assert!(failures[1].contains("1.0210") && failures[1].contains("at most 1.02"));
    }

    #[test]
    fn one_disturbed_timing_of_three_does_not_decide() {
        let timing_of = |engine, ratio| {
            timing(engine, vec![form("rep fused", Stage::Fused, Role::Reparameterized, ratio)])
        };
        let [tract, torch] = Engine::ALL;
        let timings = [1.0, 1.1, 1.01].map(|ratio| timing_of(tract, ratio));
        let bar = Bar::judge(&[&timings[..], &[timing_of(torch, 1.05)]].concat());
        let found: Vec<(f64, bool)> = bar.verdicts.iter().map(|v| (v.ratio, v.holds)).collect();
        assert_eq!(found, [(1.01, true), (1.05, false)]);
        assert_eq!(bar.verdicts[0].ratios, [1.0, 1.1, 1.01]);
    }
}
