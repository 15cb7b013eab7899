//! The whole way of a quantization: observe, choose a method, quantize, apply the passes asked for and keep those that
//! lower the error. Each stage lives in its own file; this one orders and judges them, on images held out of
//! calibration.

use std::collections::BTreeMap;

use boards::Int8;
use serde::{Deserialize, Serialize};

use super::calibrate::Method;
use super::calibration::Calibration;
use super::choose::{Candidate, candidates};
use super::judge::{Judge, Verdict};
use super::observe::{Observations, expect_judges, observe};
use super::passes::{
    Bias, Equalized, Refinement, Rounding, Sensitivity, bound_by_weights, equalize, refine, sensitivities,
    worth_floats,
};
use super::ptq::{self, Plan, dead_channels};
use super::scheme::{MacCount, QuantizedModel};
use crate::model::FusedModel;
use crate::{Result, export};

/// Images that sensitivities are measured on: one run of the model for each image and tensor.
const SENSITIVITY_IMAGES: usize = 4;

/// Whether a pass is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Switch {
    /// Always.
    On,
    /// Never.
    Off,
    /// When it makes held-out images better: finds more of what the float model finds, or as much with less error.
    Auto,
}

/// What is asked of a quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// How ranges are found; chosen by measuring where absent.
    pub method: Option<Method>,
    /// What the board asks of scales.
    pub rules: Int8,
    /// Cross-layer equalization.
    pub equalize: Switch,
    /// AdaRound.
    pub adaround: Switch,
    /// Bias correction.
    pub bias_correction: Switch,
    /// Part of the multiply-adds, 0..1, that may stay in floats where int8 hurts most.
    pub float_macs: f64,
}

/// A model on the way, and how far it is from the float model.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// What was done.
    pub name: String,
    /// The model.
    pub model: QuantizedModel,
    /// How near it comes to the float model on held-out images.
    pub verdict: Verdict,
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassRecord {
    /// The pass.
    pub pass: String,
    /// Error before it.
    pub before: f64,
    /// Error after it.
    pub after: f64,
    /// Agreement with what the float model finds, before it and after it; none where that finds nothing.
    pub agreement: Option<[f64; 2]>,
    /// Whether its result was kept.
    pub kept: bool,
    /// What else there is to say.
    pub note: Option<String>,
}

impl PassRecord {
    pub(super) fn new(pass: &str, [before, after]: [&Verdict; 2], kept: bool, note: Option<String>) -> Self {
        let agreement = before.agreement.zip(after.agreement).map(|(before, after)| [before, after]);
        let pass = pass.to_owned();
        Self { pass, before: before.total, after: after.total, agreement, kept, note }
    }
}

/// What came of a quantization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Method used.
    pub method: Method,
    /// Images calibrated on.
    pub images: usize,
    /// Images that judged and that nothing else saw; 0 where there were too few for that, and the same did both.
    #[serde(default)]
    pub held_out: usize,
    /// How many of those calibrated on are of one color each.
    #[serde(default)]
    pub one_colored: usize,
    /// What each method gave on held-out images; empty where the method was given.
    pub candidates: Vec<Candidate>,
    /// What each pass did.
    pub passes: Vec<PassRecord>,
    /// How near the model comes to the float model on held-out images.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What each tensor costs; empty where nothing may stay in floats.
    pub sensitivities: Vec<Sensitivity>,
    /// Arithmetic in int8.
    pub macs: MacCount,
    /// Output channels whose weights are all 0.
    pub dead_channels: Vec<String>,
    /// Channels that were 0 for every image calibrated on, by their node.
    #[serde(default)]
    pub silent_channels: BTreeMap<String, Vec<usize>>,
    /// Why nodes stay in floats.
    pub floats: BTreeMap<String, String>,
}

/// Most channels of a node that are named.
const NAMED_CHANNELS: usize = 8;

impl Record {
    /// Nodes with channels that were 0 for every image, as `NODE: channels 3, 7`.
    pub fn silent(&self) -> impl Iterator<Item = String> {
        self.silent_channels.iter().map(|(node, channels)| {
            let named: Vec<String> = channels.iter().take(NAMED_CHANNELS).map(ToString::to_string).collect();
            let more = match channels.len().saturating_sub(NAMED_CHANNELS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let plural = if channels.len() == 1 { "" } else { "s" };
            format!("{node}: channel{plural} {}{more}", named.join(", "))
        })
    }
}

/// A finished quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The model.
    pub model: QuantizedModel,
    /// The float model that it was made of: equalized where that was kept, so that node after node can be compared.
    pub float: FusedModel,
    /// What was measured.
    pub record: Record,
    /// The models on the way, each measured, kept or not.
    pub variants: Vec<Variant>,
    /// Which of them is `model`.
    pub chosen: usize,
}

/// Quantizes `model` with `calibration`.
///
/// # Errors
/// As [`observe`], [`candidates`], [`ptq::quantize`] and the passes.
pub fn run(model: &FusedModel, calibration: &Calibration, recipe: &Recipe) -> Result<Outcome> {
    let judges = calibration.judges();
    let observed = observe(model, calibration.calibrated())?;
    if calibration.held_out() > 0 {
        expect_judges(model, judges)?;
    }
    let judge = Judge::new(model, judges)?;
    let tried = match recipe.method {
        Some(_) => Vec::new(),
        None => candidates(&judge, model, &observed, judges, recipe.rules)?,
    };
    let method = recipe.method.or(tried.first().map(|best| best.method)).unwrap_or(Method::Mse);
    let mut work = Work {
        float: model.clone(),
        original: model,
        observed,
        calibration,
        judge,
        plan: Plan { method, rules: recipe.rules, kept: BTreeMap::new() },
        passes: Vec::new(),
        variants: Vec::new(),
        sensitivities: Vec::new(),
    };
    let first = work.quantized()?;
    let mut best = work.measure(method.to_string(), first)?;
    work.variants.push(best.clone());
    work.equalize(&mut best, recipe.equalize)?;
    work.keep_floats(&mut best, recipe.float_macs)?;
    work.refine(&mut best, recipe)?;
    work.finish(best, tried)
}

/// The refinements to try, with the passes that each is: none without a pass that is always applied, none with one that
/// never is.
fn refinements(recipe: &Recipe) -> Vec<(Refinement, Vec<&'static str>)> {
    let all = [
        (Rounding::Nearest, Bias::Corrected, vec!["bias correction"]),
        (Rounding::Adaptive, Bias::Plain, vec!["adaround"]),
        (Rounding::Adaptive, Bias::Corrected, vec!["bias correction", "adaround"]),
    ];
    let is_asked = |switch: Switch, is_in: bool| switch == Switch::Auto || (switch == Switch::On) == is_in;
    all.into_iter()
        .filter(|(rounding, bias, _)| {
            is_asked(recipe.adaround, *rounding == Rounding::Adaptive)
                && is_asked(recipe.bias_correction, *bias == Bias::Corrected)
        })
        .map(|(rounding, bias, passes)| (Refinement { rounding, bias }, passes))
        .collect()
}

/// What the passes work on.
struct Work<'a> {
    /// The float model that is quantized: equalized, perhaps.
    float: FusedModel,
    original: &'a FusedModel,
    observed: Observations,
    calibration: &'a Calibration,
    judge: Judge<'a>,
    plan: Plan,
    passes: Vec<PassRecord>,
    variants: Vec<Variant>,
    sensitivities: Vec<Sensitivity>,
}

impl Work<'_> {
    fn quantized(&self) -> Result<QuantizedModel> {
        ptq::quantize(&self.float, &self.observed, &self.plan)
    }

    fn measure(&self, name: String, model: QuantizedModel) -> Result<Variant> {
        let verdict = self.judge.measure(&mut export::quantized_session(&model)?)?;
        Ok(Variant { name, model, verdict })
    }

    /// Replaces `best` by what `pass` made of it, if it is to be kept.
    fn judge(
        &mut self,
        best: &mut Variant,
        pass: &str,
        switch: Switch,
        model: QuantizedModel,
        note: Option<String>,
    ) -> Result<bool> {
        self.judge_from(&best.clone(), best, &[pass], switch, model, note)
    }

    /// Replaces `best` by what `passes` made of `start`, if it is to be kept.
    fn judge_from(
        &mut self,
        start: &Variant,
        best: &mut Variant,
        passes: &[&str],
        switch: Switch,
        mut model: QuantizedModel,
        note: Option<String>,
    ) -> Result<bool> {
        model.scheme.origin.passes.extend(passes.iter().map(|pass| (*pass).to_owned()));
        let pass = passes.join(" + ");
        let variant = self.measure(format!("{} + {pass}", start.name), model)?;
        let seen = self.variants.iter().map(|variant| &variant.verdict);
        let kept = switch == Switch::On || variant.verdict.replaces(&best.verdict, seen, self.judge.margin());
        self.passes.push(PassRecord::new(&pass, [&start.verdict, &variant.verdict], kept, note));
        self.variants.push(variant.clone());
        if kept {
            *best = variant;
        }
        Ok(kept)
    }

    fn equalize(&mut self, best: &mut Variant, switch: Switch) -> Result<()> {
        if switch == Switch::Off {
            return Ok(());
        }
        let pass = "equalization";
        let (equalized, Equalized { scaled, not_homogeneous, not_undone }) =
            equalize(&self.float, &self.observed)?;
        let note = format!(
            "{} layers scaled, {not_homogeneous} behind SiLU or Mish cannot be, {not_undone} reach a sum or an output",
            scaled.len()
        );
        if scaled.is_empty() {
            self.passes.push(PassRecord::new(pass, [&best.verdict; 2], false, Some(note)));
            return Ok(());
        }
        let observed = observe(&equalized, self.calibration.calibrated())?;
        let model = ptq::quantize(&equalized, &observed, &self.plan)?;
        if self.judge(best, pass, switch, model, Some(note))? {
            (self.float, self.observed) = (equalized, observed);
        }
        Ok(())
    }

    /// Mixed precision.
    fn keep_floats(&mut self, best: &mut Variant, budget: f64) -> Result<()> {
        // What cannot be int8 at all has its part of it already.
        let budget = budget - (1.0 - best.model.macs()?.share());
        if budget <= 0.0 {
            return Ok(());
        }
        let pass = "mixed precision";
        if let Some(node) = ptq::beyond_half(&self.float) {
            let note = format!("weights of {node} are beyond 16-bit floats, which is how floats are stored");
            self.passes.push(PassRecord::new(pass, [&best.verdict; 2], false, Some(note)));
            return Ok(());
        }
        let images = self.calibration.calibrated().spread(SENSITIVITY_IMAGES);
        self.sensitivities = sensitivities(&self.float, &best.model, &images)?;
        let fitting = self.half_floats();
        let kept = worth_floats(&fitting, budget);
        let bound = bound_by_weights(&fitting, budget);
        if kept.is_empty() {
            let record =
                |note| PassRecord::new(pass, [&best.verdict; 2], false, Some(format!("none: {note}")));
            self.passes.extend(bound.map(record));
            return Ok(());
        }
        let bound = bound.map(|why| format!(", {why}")).unwrap_or_default();
        let note = format!("{} convolutions in floats{bound}", kept.len());
        let plan = Plan { kept, ..self.plan.clone() };
        let mut model = ptq::quantize(&self.float, &self.observed, &plan)?;
        model.scheme.origin.passes.clone_from(&best.model.scheme.origin.passes);
        if self.judge(best, pass, Switch::Auto, model, Some(note))? {
            self.plan = plan;
        }
        Ok(())
    }

    /// The tensors whose readers an NPU can compute in floats, which are 16 bits wide there: what is infinite in those was
    /// judged here in 32.
    fn half_floats(&self) -> Vec<Sensitivity> {
        let fits = |name: &String| ptq::fits_half(&self.float.architecture.graph, &self.observed, name);
        let all = self.sensitivities.iter();
        all.filter(|tensor| fits(&tensor.tensor) && tensor.readers.iter().all(fits)).cloned().collect()
    }

    /// Bias correction and AdaRound, alone and together: they mend the same error, so that one may spoil what the other
    /// does. Where both are applied, biases are corrected anew, layer by layer: they depend on the rounding.
    fn refine(&mut self, best: &mut Variant, recipe: &Recipe) -> Result<()> {
        let start = best.clone();
        let (passes_before, variants_before) = (self.passes.len(), self.variants.len());
        let is_asked = [recipe.bias_correction, recipe.adaround].contains(&Switch::On);
        let mut switch = if is_asked { Switch::On } else { Switch::Auto };
        for (what, passes) in refinements(recipe) {
            let (model, note) = self.refined(&start.model, what)?;
            self.judge_from(&start, best, &passes, switch, model, note)?;
            // What has to be done is done; the others may do better.
            switch = Switch::Auto;
        }
        // Of all of them at most one was kept in the end.
        let records = self.passes[passes_before..].iter_mut().zip(&self.variants[variants_before..]);
        records.for_each(|(record, variant)| record.kept = variant.name == best.name);
        Ok(())
    }

    /// `model`, refined on other images than those that judge: rounding fits what it sees. With it what was left as it was.
    fn refined(&self, model: &QuantizedModel, what: Refinement) -> Result<(QuantizedModel, Option<String>)> {
        let mut model = model.clone();
        let left = refine(&self.float, &mut model, self.calibration.calibrated(), what)?;
        let note =
            || format!("rounded to nearest, because a kernel reads too much at once: {}", left.join(", "));
        let note = (!left.is_empty()).then(note);
        Ok((model, note))
    }

    fn finish(self, best: Variant, candidates: Vec<Candidate>) -> Result<Outcome> {
        let chosen = self.variants.iter().position(|variant| variant.name == best.name).unwrap_or(0);
        let record = Record {
            method: self.plan.method,
            images: self.calibration.calibrated().paths().len(),
            held_out: self.calibration.held_out(),
            one_colored: self.observed.one_colored,
            candidates,
            passes: self.passes,
            verdict: best.verdict,
            sensitivities: self.sensitivities,
            macs: best.model.macs()?,
            dead_channels: dead_channels(self.original)?,
            silent_channels: self.observed.silent_channels(&self.float.architecture.graph),
            floats: best.model.scheme.floats.clone(),
        };
        Ok(Outcome { model: best.model, float: self.float, record, variants: self.variants, chosen })
    }
}
