//! The CPU engine: ONNX run by tract, int8 models in integers, convolutions by our own kernels. tract's and
//! ndarray's types stay in this file and folder.
//! Models are checked before tract sees them, because some of its checks are panics.

use std::cell::Cell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Once};
use std::thread;

use artifact::{DType, Fault, Layout, Tensor, TensorData, TensorSpec};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::Conv;

use super::Session;
use crate::Error;

mod ffi;
mod guard;
mod integer;
mod profile;
mod regions;

use kernels::Taken;
pub use profile::OperatorTime;
use regions::Whole;

/// Version of tract that runs the models.
pub const VERSION: &str = "0.23.9";

/// Who computes what our kernels can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// Our kernels; tract computes the rest.
    #[default]
    Ours,
    /// tract computes everything, on one thread: what ours are measured against.
    Engine,
}

/// How a model runs on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// How many threads our kernels compute on.
    pub threads: NonZero<usize>,
    /// Who computes what our kernels can.
    pub kernels: Kernels,
}

impl Default for CpuOptions {
    /// Our kernels, on as many threads as there are cores for this process.
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self { threads, kernels: Kernels::default() }
    }
}

/// An ONNX model ready to run on the CPU.
///
/// A model that our kernels compute from end to end, as those that `train-host` exports, allocates nothing for a frame once it has
/// run on the same thread; any other allocates what tract does. Threads beside the caller's are started when it first runs, and
/// anew where another thread runs it, on the cores that the caller is bound to then; between frames they sleep, and they end
/// with the session.
pub struct TractSession {
    runner: Runner,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    arithmetic: Arithmetic,
}

/// What runs a model.
enum Runner {
    /// tract, with our kernels as operators.
    Engine(Arc<TypedSimplePlan>),
    /// Our kernels alone.
    Whole(Box<Whole>),
}

/// In which numbers the operators of a model are computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// Names of the convolutions in int8.
    pub int8_convs: Vec<String>,
    /// Names of those in floats.
    pub float_convs: Vec<String>,
    /// Names of the other operators that compute floats from stored values: those that `int8` states no arithmetic for.
    pub float_others: Vec<String>,
}

impl TractSession {
    /// Loads an ONNX model that takes `input` and gives `outputs`, found by name. Input f32 NCHW; outputs f32 NCHW, or
    /// int8 NCHW where the model dequantizes them last and their scale and zero point are those stated.
    ///
    /// A QDQ model is computed in int8 wherever `int8` states how: see [`TractSession::arithmetic`].
    ///
    /// # Errors
    /// [`Error::Backend`] when the bytes are no ONNX model tract can run, or it has other inputs and outputs.
    pub fn from_onnx(bytes: &[u8], input: TensorSpec, outputs: Vec<TensorSpec>) -> Result<Self, Error> {
        Self::from_onnx_with(bytes, input, outputs, CpuOptions::default())
    }

    /// As [`TractSession::from_onnx`], run as `options` say.
    ///
    /// # Errors
    /// As [`TractSession::from_onnx`].
    pub fn from_onnx_with(
        bytes: &[u8],
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
        options: CpuOptions,
    ) -> Result<Self, Error> {
        check_form(&input, &[DType::F32])?;
        outputs.iter().try_for_each(|output| check_form(output, &[DType::F32, DType::I8]))?;
        let mut float_others = Vec::new();
        let model = {
            let mut file = guard::parse(bytes).map_err(|reason| refused(&reason))?;
            let mut names = Vec::new();
            if let Some(graph) = &mut file.graph {
                names = integer::output_names(graph, &outputs).map_err(|reason| refused(&reason))?;
                integer::rewrite(graph, &names);
                float_others = integer::left_in_floats(graph);
            }
            without_panic(|| typed(&file, &input, &outputs, &names))?
        };
        let (runner, arithmetic) = without_panic(|| runner(model, options))?;
        Ok(Self { runner, input, outputs, arithmetic: Arithmetic { float_others, ..arithmetic } })
    }

    /// In which numbers each convolution is computed, and what else is in floats between stored values.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.arithmetic
    }

    /// The values of `input`, which has to be as the session's.
    fn input_values<'a>(&self, input: &'a Tensor) -> Result<&'a [f32], Error> {
        match &input.data {
            TensorData::F32(values) if input.matches(&self.input) => Ok(values),
            _ => Err(wrong_tensors()),
        }
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
        let data = self.input_values(input)?;
        let fits = outputs.len() == self.outputs.len()
            && outputs.iter().zip(&self.outputs).all(|(tensor, spec)| tensor.matches(spec));
        if !fits {
            return Err(wrong_tensors());
        }
        match &mut self.runner {
            Runner::Whole(whole) => without_panic(|| {
                whole.run(data, taken(outputs));
                Ok(())
            }),
            Runner::Engine(plan) => {
                let results = without_panic(|| {
                    let tensor = tract_onnx::prelude::Tensor::from_shape(&input.shape, data)?;
                    plan.run(tvec!(tensor.into()))
                })?;
                results.iter().zip(outputs).try_for_each(|(result, output)| copy_out(result, output))
            }
        }
    }
}

/// Outputs for our kernels to write: a session's, none of which is u8, or loading would have refused it.
fn taken(outputs: &mut [Tensor]) -> impl Iterator<Item = Taken<'_>> {
    outputs.iter_mut().filter_map(|output| match &mut output.data {
        TensorData::F32(values) => Some(Taken::Real(values)),
        TensorData::I8(values) => Some(Taken::Stored(values)),
        TensorData::U8(_) => None,
    })
}

fn check_form(spec: &TensorSpec, dtypes: &[DType]) -> Result<(), Error> {
    let quantized = spec.dtype == DType::I8;
    if dtypes.contains(&spec.dtype) && spec.layout == Layout::Nchw && spec.quant.is_some() == quantized {
        return Ok(());
    }
    Err(Error::Backend(Fault::new(
        format!("tensor {:?} is {:?} {:?}, {:?}", spec.name, spec.dtype, spec.layout, spec.quant),
        "f32 NCHW, or for outputs int8 NCHW with a scale and zero point",
        "convert the model with `--target host`",
    )))
}

fn typed(
    model: &tract_onnx::pb::ModelProto,
    input: &TensorSpec,
    outputs: &[TensorSpec],
    output_names: &[String],
) -> TractResult<TypedModel> {
    let input_fact = InferenceFact::dt_shape(f32::datum_type(), input.shape);
    let mut onnx = onnx();
    integer::register(&mut onnx);
    let model = onnx
        .model_for_proto_model(model)?
        .with_input_names([&input.name])?
        .with_outputs_by_name(output_names)?
        .with_input_fact(0, input_fact)?
        .into_typed()?;
    for (index, spec) in outputs.iter().enumerate() {
        let fact = model.output_fact(index)?;
        let shape = fact.shape.as_concrete();
        if shape != Some(&spec.shape[..]) || fact.datum_type != datum_type(spec.dtype) {
            let stated = format!("{:?} {:?} was stated", spec.shape, spec.dtype);
            return Err(TractError::msg(format!("output {:?} is {fact:?} where {stated}", spec.name)));
        }
    }
    Ok(model)
}

fn runner(mut model: TypedModel, options: CpuOptions) -> TractResult<(Runner, Arithmetic)> {
    let arithmetic = arithmetic(&model);
    if options.kernels == Kernels::Ours {
        if let Some(plan) = regions::plan(&model, options.threads)? {
            // What reading the model took is not to add to what running it takes.
            drop(model);
            ffi::give_back_freed_memory();
            return Ok((Runner::Whole(Box::new(Whole::new(plan))), arithmetic));
        }
        regions::replace(&mut model, options.threads)?;
    }
    Ok((Runner::Engine(model.into_optimized()?.into_runnable()?), arithmetic))
}

fn datum_type(dtype: DType) -> DatumType {
    match dtype {
        DType::F32 => f32::datum_type(),
        DType::I8 => i8::datum_type(),
        DType::U8 => u8::datum_type(),
    }
}

fn arithmetic(model: &TypedModel) -> Arithmetic {
    let mut arithmetic = Arithmetic::default();
    for node in model.nodes() {
        match node.op_as::<Conv>().map(|conv| conv.q_params) {
            Some(Some(_)) => arithmetic.int8_convs.push(node.name.clone()),
            Some(None) => arithmetic.float_convs.push(node.name.clone()),
            None => {}
        }
    }
    arithmetic
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
    match &mut output.data {
        TensorData::F32(target) => copy_values(result, target),
        TensorData::I8(target) => copy_values(result, target),
        TensorData::U8(_) => Err(wrong_tensors()),
    }
}

fn copy_values<T: Datum + Copy>(result: &TValue, target: &mut [T]) -> Result<(), Error> {
    let view = result.to_plain_array_view::<T>().map_err(|e| refused(&format!("{e:#}")))?;
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
