//! Files of quantized models: safetensors as every checkpoint, int8 kernels as int8, the scheme in the metadata.
//! Written whole or not at all, and checked before it is believed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use artifact::Quant;
use boards::Int8;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::rules;
use super::scheme::{Int8Kernel, Origin, QuantizedModel, Scheme};
use crate::model::tensor_file::{METADATA_KEY, from_json, in_file, read_limited, to_json};
use crate::model::{Architecture, Op, Weights};
use crate::{Error, Result};

const FORMAT: &str = "1";
const STAGE: &str = "\"quantized\"";

/// The scheme without its kernels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredScheme {
    tensors: Vec<Option<Quant>>,
    floats: BTreeMap<String, String>,
    /// Not in files from before rules were recorded.
    rules: Option<Int8>,
    origin: Origin,
}

/// Writes `model` to `path`, atomically.
///
/// # Errors
/// As [`QuantizedModel::validate`]; an I/O error when the file cannot be written, which leaves an older file as it was.
pub fn save(path: &Path, model: &QuantizedModel) -> Result<()> {
    model.validate()?;
    let Architecture { name, description, graph, head } = &model.architecture;
    let Scheme { tensors, floats, rules, origin, .. } = &model.scheme;
    let scheme = StoredScheme {
        tensors: tensors.clone(),
        floats: floats.clone(),
        rules: Some(*rules),
        origin: origin.clone(),
    };
    let metadata: BTreeMap<&str, String> = BTreeMap::from([
        ("format", FORMAT.to_owned()),
        ("stage", STAGE.to_owned()),
        ("name", name.clone()),
        ("description", description.clone()),
        ("imgsz", model.imgsz.to_string()),
        ("graph", to_json(graph)?),
        ("head", to_json(head)?),
        ("scheme", to_json(&scheme)?),
    ]);
    let header = HashMap::from([(METADATA_KEY.to_owned(), to_json(&metadata)?)]);
    let bytes = safetensors::serialize(tensors_of(model), Some(header)).map_err(|error| {
        Error::model(format!("tensors that cannot be serialized: {error}"), "tensors", "report this as a bug")
    })?;
    Ok(artifact::atomic::write(path, &bytes)?)
}

/// Whether the file at `path` is one of [`save`]'s; false for anything that cannot be read.
pub fn is_quantized(path: &Path) -> bool {
    let Ok(bytes) = read_limited(path) else { return false };
    metadata(path, &bytes).is_ok_and(|metadata| metadata.get("stage").is_some_and(|stage| stage == STAGE))
}

/// Reads what [`save`] wrote. Of a file that does not tell the rules it was quantized for, they are those that its scales
/// keep.
///
/// # Errors
/// [`Error::Model`] when the file is truncated, damaged, or holds something else; an I/O error when it cannot be read.
pub fn load(path: &Path) -> Result<QuantizedModel> {
    let bytes = read_limited(path)?;
    let metadata = metadata(path, &bytes)?;
    let field = |key: &str| {
        metadata.get(key).map(String::as_str).ok_or_else(|| {
            in_file(path, &format!("no {key:?} in the metadata"), "a file written by train-host quantize")
        })
    };
    for (key, expected) in [("format", FORMAT), ("stage", STAGE)] {
        if field(key)? != expected {
            let found = format!("{key} {}", field(key)?);
            return Err(in_file(path, &found, "a quantized model of format 1"));
        }
    }
    let architecture = Architecture {
        name: field("name")?.to_owned(),
        description: field("description")?.to_owned(),
        graph: from_json(path, "graph", field("graph")?)?,
        head: from_json(path, "head", field("head")?)?,
    };
    let StoredScheme { tensors, floats, rules, origin } = from_json(path, "scheme", field("scheme")?)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(path, &error))?;
    let mut model = QuantizedModel {
        imgsz: from_json(path, "imgsz", field("imgsz")?)?,
        weights: Weights::default(),
        scheme: Scheme {
            tensors,
            floats,
            origin,
            rules: rules.unwrap_or_default(),
            kernels: BTreeMap::new(),
        },
        architecture,
    };
    model.architecture.validate()?;
    for id in 0..model.architecture.graph.nodes.len() {
        let node = &model.architecture.graph.nodes[id];
        let Op::Conv(conv) = node.op else { continue };
        let name = node.name.clone();
        if model.is_int8(id) {
            model.scheme.kernels.insert(name.clone(), read_kernel(path, &file, &name)?);
        } else {
            let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
            insert_floats(path, &file, &mut model.weights, &format!("{name}.weight"), &shape)?;
            if conv.bias {
                insert_floats(path, &file, &mut model.weights, &format!("{name}.bias"), &[conv.cout])?;
            }
        }
    }
    model.validate().map_err(|error| match error {
        Error::Model(fault) | Error::Input(fault) => in_file(path, &fault.found, &fault.expected),
        other => other,
    })?;
    model.scheme.rules = rules_of(path, &model, rules)?;
    Ok(model)
}

/// The rules that `model` was quantized for: those `recorded` in its file, which its scales have to keep.
fn rules_of(path: &Path, model: &QuantizedModel, recorded: Option<Int8>) -> Result<Int8> {
    let kept = rules::kept_by(model);
    let Some(recorded) = recorded else { return Ok(kept) };
    match rules::broken(recorded, kept).first() {
        None => Ok(recorded),
        Some([rule, found, expected]) => {
            let found = format!("scales that keep {rule} = {found:?}");
            Err(in_file(path, &found, &format!("{rule} = {expected:?}, as the file itself says")))
        }
    }
}

fn metadata(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(path, &error))?;
    let metadata = header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY));
    let metadata = metadata.ok_or_else(|| {
        in_file(path, "a safetensors file of another program", "a .safetensors file written by train-host")
    })?;
    from_json(path, "metadata", metadata)
}

fn damaged(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    in_file(path, &format!("no whole safetensors file ({error})"), "a file written by train-host to its end")
}

/// Bytes of a tensor in a file.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn tensors_of(model: &QuantizedModel) -> Vec<(String, Bytes)> {
    let mut tensors = Vec::new();
    for node in &model.architecture.graph.nodes {
        let (Op::Conv(conv), Some(kernel)) = (&node.op, model.scheme.kernels.get(&node.name)) else {
            continue;
        };
        let mut push = |field: &str, dtype, shape: &[usize], bytes| {
            tensors.push((format!("{}.{field}", node.name), Bytes { dtype, shape: shape.to_vec(), bytes }));
        };
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        push("weight", Dtype::I8, &shape, kernel.values.iter().map(|value| value.cast_unsigned()).collect());
        push("weight_scale", Dtype::F32, &[conv.cout], little_endian(&kernel.scales));
        let bias = kernel.bias.iter().flat_map(|value| value.to_le_bytes()).collect();
        push("bias", Dtype::I32, &[conv.cout], bias);
    }
    let floats = model.weights.iter().map(|(name, tensor)| {
        let bytes = little_endian(&tensor.data);
        (name.clone(), Bytes { dtype: Dtype::F32, shape: tensor.shape.clone(), bytes })
    });
    tensors.extend(floats);
    tensors
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_kernel(path: &Path, file: &SafeTensors<'_>, node: &str) -> Result<Int8Kernel> {
    let bytes = |field: &str, dtype| tensor(path, file, &format!("{node}.{field}"), dtype);
    let values = bytes("weight", Dtype::I8)?.iter().map(|byte| byte.cast_signed()).collect();
    let words = |bytes: &[u8]| bytes.as_chunks::<4>().0.to_vec();
    let scales = words(bytes("weight_scale", Dtype::F32)?).into_iter().map(f32::from_le_bytes).collect();
    let bias = words(bytes("bias", Dtype::I32)?).into_iter().map(i32::from_le_bytes).collect();
    Ok(Int8Kernel { values, scales, bias })
}

fn insert_floats(
    path: &Path,
    file: &SafeTensors<'_>,
    weights: &mut Weights,
    name: &str,
    shape: &[usize],
) -> Result<()> {
    let bytes = tensor(path, file, name, Dtype::F32)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    if values.len() != shape.iter().product::<usize>() || values.iter().any(|value| !value.is_finite()) {
        let found = format!("weight {name:?} of {} values, or not finite", values.len());
        return Err(in_file(path, &found, &format!("finite values of shape {shape:?}")));
    }
    weights.insert(name, shape, values);
    Ok(())
}

fn tensor<'a>(path: &Path, file: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<&'a [u8]> {
    let view =
        file.tensor(name).map_err(|_| in_file(path, &format!("no tensor {name:?}"), "every weight"))?;
    if view.dtype() != dtype {
        let found = format!("tensor {name:?} of type {:?}", view.dtype());
        return Err(in_file(path, &found, &format!("{dtype:?}")));
    }
    Ok(view.data())
}
