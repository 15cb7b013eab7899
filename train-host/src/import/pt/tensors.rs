//! The weights: checked against the graph and the archive first, so that nothing is read that is not there, then fetched by
//! `pytorch-reader` one at a time, as f32.

use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader, Tensor};

use super::module::Modules;
use super::pickle::{self, Element};
use super::refuse;
use super::zip::Archive;
use crate::model::{Graph, WeightSpec, Weights};
use crate::{Error, Result};

/// Number of elements, `None` beyond 64 bits.
pub(super) fn len(tensor: &pickle::Tensor) -> Option<u64> {
    tensor.shape.iter().try_fold(1u64, |len, &side| len.checked_mul(side))
}

/// Whether the elements lie one after the other in the tensor's order.
pub(super) fn is_dense(tensor: &pickle::Tensor) -> bool {
    let mut step = 1u64;
    for (&side, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        // The stride of an axis of one element is never used.
        if side != 1 && stride != step {
            return false;
        }
        step = step.saturating_mul(side);
    }
    true
}

/// Elements as f32; `None` for integers.
pub(super) fn floats(element: Element, bytes: &[u8]) -> Option<Vec<f32>> {
    match element {
        Element::F16 => Some(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect()),
        Element::Bf16 => Some(bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()),
        Element::F32 => Some(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
        Element::F64 => Some(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect()),
        Element::Other(_) => None,
    }
}

/// A weight to read and what its elements are.
pub(super) struct Wanted {
    spec: WeightSpec,
    element: Element,
}

/// The weights of `graph`, after checking that each is in the checkpoint, with the right shape, whole, and in bytes of its
/// own; and that there is nothing else.
pub(super) fn plan(graph: &Graph, modules: &Modules, archive: &Archive) -> Result<Vec<Wanted>> {
    let specs = graph.weight_specs();
    let mut wanted = Vec::with_capacity(specs.len());
    for spec in &specs {
        let tensor = modules.tensor(&spec.name).ok_or_else(|| {
            refuse(format!("no tensor {:?}", spec.name), format!("one of shape {:?}", spec.shape))
        })?;
        check_tensor(spec, tensor, archive)?;
        wanted.push(Wanted { spec: spec.clone(), element: tensor.storage.element });
    }
    let mut storages: Vec<&str> =
        specs.iter().filter_map(|spec| Some(modules.tensor(&spec.name)?.storage.key)).collect();
    storages.sort_unstable();
    if let Some(pair) = storages.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refuse(
            format!("two tensors in storage {:?}", pair[0]),
            "a storage for each tensor, as training leaves them",
        ));
    }
    let names: std::collections::HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    match modules.tensor_names().find(|name| !names.contains(name) && !is_known_buffer(name)) {
        None => Ok(wanted),
        Some(name) => Err(refuse(
            format!("a tensor {name:?} that the model's description has no place for"),
            "the tensors of the described model only",
        )),
    }
}

/// What torch and YOLOv5 keep beside the weights: a counter nothing depends on, and the anchors, which the head has.
fn is_known_buffer(name: &str) -> bool {
    [".num_batches_tracked", ".anchors", ".anchor_grid"].iter().any(|suffix| name.ends_with(suffix))
}

fn check_tensor(spec: &WeightSpec, tensor: &pickle::Tensor, archive: &Archive) -> Result<()> {
    let (name, storage) = (&spec.name, &tensor.storage);
    if !tensor.shape.iter().copied().eq(spec.shape.iter().map(|&side| side as u64)) {
        return Err(refuse(
            format!("tensor {name:?} of shape {:?}", tensor.shape),
            format!("shape {:?}", spec.shape),
        ));
    }
    if matches!(storage.element, Element::Other(_)) || !is_dense(tensor) {
        return Err(refuse(
            format!("tensor {name:?} of {:?} with strides {:?}", storage.element, tensor.strides),
            "floats, one after the other",
        ));
    }
    let needed = tensor.offset.saturating_add(spec.len() as u64);
    let there = archive.storage_len(storage.key).map(|bytes| bytes / storage.element.bytes());
    if there.is_none_or(|there| needed > there) || needed > storage.len {
        return Err(refuse(
            format!("tensor {name:?} of {needed} elements in a storage of {there:?}"),
            "a whole file, with all the elements",
        ));
    }
    Ok(())
}

/// Reads the weights from `part` of the checkpoint at `path`.
pub(super) fn read(path: &Path, part: &str, wanted: &[Wanted]) -> Result<Weights> {
    let reader = PytorchReader::with_top_level_key(path, part)
        .map_err(|error| refuse(format!("{part:?} cannot be read: {error}"), "a whole checkpoint"))?;
    let mut weights = Weights::default();
    for Wanted { spec, element } in wanted {
        // The second reader has to see what the first one saw.
        let same =
            |tensor: &&Tensor| tensor.shape() == spec.shape && element_of(tensor.dtype()) == Some(*element);
        let tensor = reader.get(&spec.name).filter(same);
        let tensor = tensor.ok_or_else(|| unreadable(&spec.name, "it is described in two ways"))?;
        let bytes = tensor.read().map_err(|error| unreadable(&spec.name, &error.to_string()))?;
        let values = floats(*element, &bytes).filter(|values| values.len() == spec.len());
        let values = values.ok_or_else(|| unreadable(&spec.name, "it is cut off"))?;
        weights.insert(&spec.name, &spec.shape, values);
    }
    Ok(weights)
}

fn element_of(dtype: DType) -> Option<Element> {
    match dtype {
        DType::F16 => Some(Element::F16),
        DType::BF16 => Some(Element::Bf16),
        DType::F32 => Some(Element::F32),
        DType::F64 => Some(Element::F64),
        _ => None,
    }
}

fn unreadable(name: &str, why: &str) -> Error {
    refuse(format!("tensor {name:?} cannot be read: {why}"), "a whole checkpoint")
}
