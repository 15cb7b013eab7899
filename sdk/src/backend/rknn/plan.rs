//! How the tensors of a model lie in the NPU's memory, and how they relate to what the bundle says of them: worked out
//! once from the runtime's answers, followed for every frame. Never calls the runtime.

mod convert;
mod input;
mod output;
mod wanted;

use artifact::{Fault, TensorSpec};
use rknn_sys::{rknn_tensor_attr, rknn_tensor_format, rknn_tensor_qnt_type, rknn_tensor_type};

use super::context::InputForm;
use crate::Error;
use input::{copied_input, native_input};
use output::{copied_output, native_output};
pub(super) use wanted::Wanted;

/// What the runtime says about a model's tensors.
pub(super) struct Attributes {
    /// The input as the model was written.
    pub(super) input: rknn_tensor_attr,
    /// The input as the NPU takes it, where the runtime tells.
    pub(super) native_input: Option<rknn_tensor_attr>,
    /// The outputs as the model was written.
    pub(super) outputs: Vec<rknn_tensor_attr>,
    /// The outputs as the NPU gives them, where the runtime tells.
    pub(super) native_outputs: Option<Vec<rknn_tensor_attr>>,
}

/// How a frame's tensors move.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) path: Path,
    pub(super) input: InputPlan,
    pub(super) outputs: Vec<OutputPlan>,
}

/// Who moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Nobody: the NPU reads and writes our buffers.
    ZeroCopy,
    /// The runtime, from and to our buffers.
    Copied,
}

/// The model's input.
#[derive(Clone)]
pub(super) struct InputPlan {
    /// What the caller gives.
    pub(super) spec: TensorSpec,
    /// As bound to the context.
    pub(super) attr: rknn_tensor_attr,
    /// Size of the buffer.
    pub(super) bytes: usize,
    /// Elements from one row of the buffer to the next, padding included.
    pub(super) row_elements: usize,
    pub(super) form: InputForm,
}

/// One of the model's outputs.
#[derive(Clone)]
pub(super) struct OutputPlan {
    /// What the caller gets.
    pub(super) spec: TensorSpec,
    /// As bound to the context.
    pub(super) attr: rknn_tensor_attr,
    /// Size of the buffer.
    pub(super) bytes: usize,
    /// What has to be done before the caller can read it.
    pub(super) reading: Reading,
}

/// How an output's bytes become the caller's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are.
    InPlace,
    /// From 16-bit floats, in the same order, in rows as those of [`Reading::Rows`].
    Halves {
        /// Bytes of a row that mean something.
        length: usize,
        /// Bytes from one row to the next.
        distance: usize,
    },
    /// Rows are further apart than they are long: row length and distance, in bytes.
    Rows {
        /// Bytes of a row that mean something.
        length: usize,
        /// Bytes from one row to the next.
        distance: usize,
    },
}

/// Which paths the runtime library has functions for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths {
    pub(super) zero_copy: bool,
    pub(super) copied: bool,
}

impl Plan {
    /// The plan for a model whose bundle says it takes `input` and gives `outputs`, as it is wanted and as library and model
    /// allow it.
    pub(super) fn new(
        attributes: &Attributes,
        input: &TensorSpec,
        outputs: &[TensorSpec],
        wanted: &Wanted,
        paths: Paths,
    ) -> Result<Self, Error> {
        let plan = Self::over_first(attributes, input, outputs, wanted.paths(), paths)?;
        wanted.check(&plan)?;
        Ok(plan)
    }

    /// The plan over the first of the `wanted` paths that library and model allow.
    fn over_first(
        attributes: &Attributes,
        input: &TensorSpec,
        outputs: &[TensorSpec],
        wanted: &[Path],
        paths: Paths,
    ) -> Result<Self, Error> {
        // Of the paths that are refused, the first one's reason counts: it is the one that was wanted most.
        let mut reason = None;
        for &path in wanted {
            let planned = match path {
                Path::ZeroCopy if paths.zero_copy => Self::zero_copy(attributes, input, outputs),
                Path::Copied if paths.copied => Self::copied(attributes, input, outputs),
                Path::ZeroCopy | Path::Copied => continue,
            };
            match planned {
                Ok(plan) => return Ok(plan),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(reason.unwrap_or_else(|| no_way(wanted)))
    }

    fn zero_copy(attributes: &Attributes, input: &TensorSpec, outputs: &[TensorSpec]) -> Result<Self, Error> {
        let native = attributes.native_input.ok_or_else(|| untold("input"))?;
        let input = native_input(&attributes.input, native, input)?;
        let native = attributes.native_outputs.as_ref().ok_or_else(|| untold("outputs"))?;
        let order = match_outputs(&attributes.outputs, outputs)?;
        let planned = order.iter().zip(outputs).map(|(&at, spec)| native_output(&native[at], spec));
        Ok(Self { path: Path::ZeroCopy, input, outputs: planned.collect::<Result<_, _>>()? })
    }

    fn copied(attributes: &Attributes, input: &TensorSpec, outputs: &[TensorSpec]) -> Result<Self, Error> {
        let input = copied_input(&attributes.input, input)?;
        let order = match_outputs(&attributes.outputs, outputs)?;
        let planned =
            order.iter().zip(outputs).map(|(&at, spec)| copied_output(&attributes.outputs[at], spec));
        Ok(Self { path: Path::Copied, input, outputs: planned.collect::<Result<_, _>>()? })
    }

    /// The specifications of the outputs, in the bundle's order.
    pub(super) fn output_specs(&self) -> Vec<TensorSpec> {
        self.outputs.iter().map(|output| output.spec.clone()).collect()
    }
}

/// Scale and zero point must be the bundle's, where it states them: thresholds and calibration rest on them.
fn check_quant(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<(), Error> {
    let is_affine = attr.qnt_type == rknn_tensor_qnt_type::RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC;
    let usable = is_affine && attr.scale.is_finite() && attr.scale > 0.0;
    let same = spec.quant.is_none_or(|quant| {
        quant.zero_point == attr.zp && (quant.scale - attr.scale).abs() <= 1e-5 * quant.scale.abs()
    });
    if usable && same {
        return Ok(());
    }
    let found =
        format!("tensor {:?} has scale {} and zero point {} in the model", spec.name, attr.scale, attr.zp);
    Err(misfit(found, &format!("{:?}, as the bundle says", spec.quant)))
}

/// Which of the model's outputs is which of the bundle's: by name where the names are the same, else in order.
fn match_outputs(attrs: &[rknn_tensor_attr], specs: &[TensorSpec]) -> Result<Vec<usize>, Error> {
    if attrs.len() != specs.len() {
        let found = format!("a model with {} outputs", attrs.len());
        return Err(misfit(found, &format!("{}, as the bundle says", specs.len())));
    }
    let names: Vec<String> = attrs.iter().map(rknn_tensor_attr::name_text).collect();
    let by_name: Option<Vec<usize>> =
        specs.iter().map(|spec| names.iter().position(|name| *name == spec.name)).collect();
    let order = by_name.unwrap_or_else(|| (0..specs.len()).collect());
    for (&at, spec) in order.iter().zip(specs) {
        check_shape(&attrs[at], spec)?;
    }
    Ok(order)
}

/// Batch, channels, height and width must be the bundle's.
fn check_shape(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<(), Error> {
    let dims: Vec<usize> = attr.dims.iter().take(size(attr.n_dims)).map(|&dim| size(dim)).collect();
    let (channels, (height, width)) = (spec.channels(), spec.height_width());
    let expected = match attr.fmt {
        rknn_tensor_format::RKNN_TENSOR_NHWC => [1, height, width, channels],
        _ => [1, channels, height, width],
    };
    if dims == expected && spec.shape[0] == 1 {
        return Ok(());
    }
    let found = format!("tensor {:?} of dimensions {dims:?} in the model", attr.name_text());
    Err(misfit(found, &format!("{expected:?}, as the bundle says of {:?}", spec.name)))
}

/// Bytes of an element.
fn element_bytes(kind: rknn_tensor_type) -> usize {
    match kind {
        rknn_tensor_type::RKNN_TENSOR_FLOAT32 => 4,
        rknn_tensor_type::RKNN_TENSOR_FLOAT16 => 2,
        _ => 1,
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// That the library has no functions for any of the paths.
fn no_way(wanted: &[Path]) -> Error {
    let (found, hint) = match wanted {
        [Path::Copied] => ("that copy inputs and outputs", "open the model with `IoPath::Auto`"),
        [Path::ZeroCopy] => ("for memory that the NPU reaches", "open the model with `IoPath::Auto`"),
        _ => ("for inputs and outputs", "install a whole runtime of the board's vendor"),
    };
    Error::Backend(Fault::new(
        format!("the NPU runtime has no functions {found}, or refuses them"),
        "a runtime with such functions",
        hint,
    ))
}

/// That the model has another number of tensors than detectors have.
pub(super) fn too_many_tensors(inputs: u32, outputs: u32) -> Error {
    misfit(format!("a model with {inputs} inputs and {outputs} outputs"), "1 input and 1 to 64 outputs")
}

fn untold(what: &str) -> Error {
    misfit(format!("a runtime that does not tell how {what} lie in memory"), "runtime 1.5 or newer")
}

fn misfit(found: String, expected: &str) -> Error {
    Error::Backend(Fault::new(
        format!("the NPU model and its bundle do not fit together: {found}"),
        expected,
        "convert the model again with this version of RepEdge",
    ))
}

#[cfg(test)]
mod tests;
