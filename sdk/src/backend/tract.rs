//! The CPU engine: ONNX run by tract. tract's and ndarray's types stay in this file. Models are checked before tract
//! sees them, because some of its checks are panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Once};

use artifact::{DType, Fault, Layout, Tensor, TensorData, TensorSpec};
use tract_onnx::prelude::*;

use super::Session;
use crate::Error;

mod guard;

/// Version of tract that runs the models.
pub const VERSION: &str = "0.23.9";

/// An ONNX model ready to run on the CPU.
pub struct TractSession {
    plan: Arc<TypedSimplePlan>,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
}

impl TractSession {
    /// Loads an ONNX model that takes `input` and gives `outputs`, found by name. Only f32 NCHW tensors.
    ///
    /// # Errors
    /// [`Error::Backend`] when the bytes are no ONNX model tract can run, or it has other inputs and outputs.
    pub fn from_onnx(bytes: &[u8], input: TensorSpec, outputs: Vec<TensorSpec>) -> Result<Self, Error> {
        for spec in std::iter::once(&input).chain(&outputs) {
            check_plain(spec)?;
        }
        let model = guard::parse(bytes).map_err(|reason| refused(&reason))?;
        let plan = without_panic(|| build_plan(&model, &input, &outputs))?;
        Ok(Self { plan, input, outputs })
    }
}

impl Session for TractSession {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error> {
        let fits = input.matches(&self.input)
            && outputs.len() == self.outputs.len()
            && outputs.iter().zip(&self.outputs).all(|(tensor, spec)| tensor.matches(spec));
        let TensorData::F32(data) = &input.data else { return Err(wrong_tensors()) };
        if !fits {
            return Err(wrong_tensors());
        }
        let results = without_panic(|| {
            let tensor = tract_onnx::prelude::Tensor::from_shape(&input.shape, data)?;
            self.plan.run(tvec!(tensor.into()))
        })?;
        for (result, output) in results.iter().zip(outputs) {
            copy_out(result, output)?;
        }
        Ok(())
    }
}

fn check_plain(spec: &TensorSpec) -> Result<(), Error> {
    if (spec.dtype, spec.layout) == (DType::F32, Layout::Nchw) {
        return Ok(());
    }
    Err(Error::Backend(Fault::new(
        format!("tensor {:?} is {:?} {:?}", spec.name, spec.dtype, spec.layout),
        "f32 NCHW, the only form of the tract backend",
        "convert the model with `--target host`",
    )))
}

fn build_plan(
    model: &tract_onnx::pb::ModelProto,
    input: &TensorSpec,
    outputs: &[TensorSpec],
) -> TractResult<Arc<TypedSimplePlan>> {
    let input_fact = InferenceFact::dt_shape(f32::datum_type(), input.shape);
    let model = onnx()
        .model_for_proto_model(model)?
        .with_input_names([&input.name])?
        .with_outputs_by_name(outputs.iter().map(|spec| &spec.name))?
        .with_input_fact(0, input_fact)?
        .into_typed()?;
    for (index, spec) in outputs.iter().enumerate() {
        let fact = model.output_fact(index)?;
        let shape = fact.shape.as_concrete();
        if shape != Some(&spec.shape[..]) || fact.datum_type != f32::datum_type() {
            let stated = format!("{:?} f32 was stated", spec.shape);
            return Err(TractError::msg(format!("output {:?} is {fact:?} where {stated}", spec.name)));
        }
    }
    model.into_optimized()?.into_runnable()
}

thread_local! {
    /// Whether this thread is in [`without_panic`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs tract code; what it reports and what it panics with become errors alike.
fn without_panic<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, Error> {
    quiet_guarded_panics();
    GUARDED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(refused(&format!("{error:#}"))),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref().copied()).unwrap_or("no reason given");
            Err(refused(&format!("tract gave up: {text}")))
        }
    }
}

/// Keeps the panics that become errors off stderr; all others go to the hook that was there before.
fn quiet_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
}

fn copy_out(result: &TValue, output: &mut Tensor) -> Result<(), Error> {
    let TensorData::F32(target) = &mut output.data else { return Err(wrong_tensors()) };
    let view = result.to_plain_array_view::<f32>().map_err(|e| refused(&format!("{e:#}")))?;
    match view.as_slice() {
        Some(source) if source.len() == target.len() => target.copy_from_slice(source),
        _ => return Err(refused(&format!("an output of shape {:?}", result.shape()))),
    }
    Ok(())
}

fn refused(reason: &str) -> Error {
    Error::Backend(Fault::new(
        format!("tract cannot run the model: {reason}"),
        "an ONNX model as `train-host convert` writes it",
        "convert the model again; if it still fails, report it with the model",
    ))
}

fn wrong_tensors() -> Error {
    Error::Backend(Fault::new(
        "tensors of another type or shape than the session's",
        "the session's input and outputs",
        "make them with Tensor::zeroed from Session::input and Session::outputs",
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stated_version_is_the_locked_one() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"tract-onnx\"\nversion = \"{}\"", super::VERSION)));
    }
}
