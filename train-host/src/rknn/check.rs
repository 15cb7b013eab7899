//! Whether a compiled model is what was asked for, by its trailer; and what the device gets from it. Never compiles.

use std::collections::BTreeMap;

use artifact::rknn::{RknnInfo, RknnTensor};
use artifact::{DType, Quant, TensorSpec};

use super::compile::Job;
use super::toolkit::VERSION;
use crate::{Error, Result};

/// How the trailer names tensors that are stored in int8.
const INT8: &str = "int8";

/// Checks chip, toolkit, input and outputs of what was compiled for `job`, and completes the outputs: by the scales they
/// were to have, or those that the toolkit chose.
pub(super) fn check(
    info: &RknnInfo,
    job: &Job<'_>,
    chosen: &BTreeMap<String, (f32, i32)>,
) -> Result<Vec<TensorSpec>> {
    info.check_chip(job.platform)?;
    if info.toolkit.to_string() != VERSION {
        return Err(other(format!("toolkit {}", info.toolkit), format!("toolkit {VERSION}")));
    }
    let image = [1, 3, job.preprocess.height_px, job.preprocess.width_px];
    match info.inputs.as_slice() {
        [input] if input.shape == image => {}
        inputs => return Err(other(format!("inputs {:?}", named(inputs)), format!("one of {image:?}"))),
    }
    let asked: Vec<_> = job.outputs.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice())).collect();
    if named(&info.outputs) != asked {
        return Err(other(format!("outputs {:?}", named(&info.outputs)), format!("{asked:?}")));
    }
    job.outputs.iter().zip(&info.outputs).map(|(spec, told)| complete(spec, told, chosen)).collect()
}

/// `spec` as the device gets it.
fn complete(
    spec: &TensorSpec,
    told: &RknnTensor,
    chosen: &BTreeMap<String, (f32, i32)>,
) -> Result<TensorSpec> {
    let is_int8 = told.dtype.as_deref() == Some(INT8);
    let chosen = chosen.get(&spec.name).map(|&(scale, zero_point)| Quant { scale, zero_point });
    match (is_int8, spec.quant.or(chosen)) {
        (true, quant @ Some(_)) => Ok(TensorSpec { dtype: DType::I8, quant, ..spec.clone() }),
        (false, None) => Ok(TensorSpec { dtype: DType::F32, quant: None, ..spec.clone() }),
        (_, quant) => Err(other(
            format!("output {:?} as {}", spec.name, told.dtype.as_deref().unwrap_or("floats")),
            quant.map_or_else(|| "floats".to_owned(), |quant| format!("int8 of scale {}", quant.scale)),
        )),
    }
}

fn named(tensors: &[RknnTensor]) -> Vec<(&str, &[usize])> {
    tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect()
}

fn other(found: String, expected: String) -> Error {
    Error::backend(
        format!("a compiled model with {found}"),
        expected,
        "this rknn-toolkit2 is another than ours, or changes the model's ends: `cargo xtask setup rknn`, or report the model",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifact::{Layout, Preprocess};

    use super::*;
    use crate::rknn::Quantizer;

    fn spec(quant: Option<Quant>) -> TensorSpec {
        let dtype = if quant.is_some() { DType::I8 } else { DType::F32 };
        TensorSpec { name: "p3".into(), dtype, layout: Layout::Nchw, shape: [1, 21, 8, 8], quant }
    }

    fn info() -> RknnInfo {
        let tensor = |name: &str, shape: &[usize]| RknnTensor {
            name: name.into(),
            shape: shape.into(),
            dtype: Some("int8".into()),
        };
        RknnInfo {
            format_version: 6,
            platforms: vec!["rk3588".into()],
            toolkit: VERSION.parse().unwrap(),
            inputs: vec![tensor("images", &[1, 3, 64, 64])],
            outputs: vec![tensor("p3", &[1, 21, 8, 8])],
        }
    }

    fn checked(
        info: &RknnInfo,
        outputs: &[TensorSpec],
        chosen: &[(&str, (f32, i32))],
    ) -> std::result::Result<Vec<TensorSpec>, String> {
        let job = Job {
            onnx: &[],
            platform: "rk3588",
            quantizer: Quantizer::Model,
            preprocess: Preprocess::yolo(64, 64),
            outputs,
            limit: Duration::ZERO,
        };
        let chosen = chosen.iter().map(|&(name, quant)| (name.to_owned(), quant)).collect();
        check(info, &job, &chosen).map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_have_the_models_scales_or_those_of_the_toolkit() {
        let ours = [spec(Some(Quant { scale: 0.25, zero_point: 3 }))];
        assert_eq!(checked(&info(), &ours, &[]).unwrap(), ours);
        assert_eq!(checked(&info(), &[spec(None)], &[("p3", (0.25, 3))]).unwrap(), ours);
        let mut floats = info();
        floats.outputs[0].dtype = None;
        assert_eq!(checked(&floats, &[spec(None)], &[]).unwrap(), [spec(None)]);
    }

    #[test]
    fn each_difference_is_named() {
        let ours = [spec(Some(Quant { scale: 0.25, zero_point: 3 }))];
        let broken = |change: fn(&mut RknnInfo)| {
            let mut info = info();
            change(&mut info);
            checked(&info, &ours, &[]).unwrap_err()
        };
        for (error, part) in [
            (broken(|info| info.platforms = vec!["rk3566".into()]), "rk3566"),
            (broken(|info| info.toolkit = "2.3.2".parse().unwrap()), "toolkit 2.3.2"),
            (broken(|info| info.inputs[0].shape[3] = 32), "[1, 3, 64, 64]"),
            (broken(|info| info.outputs[0].name = "p4".into()), "p4"),
            (broken(|info| info.outputs[0].shape[1] = 24), "24"),
            (broken(|info| info.outputs[0].dtype = Some("float16".into())), "int8 of scale 0.25"),
            (checked(&info(), &[spec(None)], &[]).unwrap_err(), "as int8"),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
