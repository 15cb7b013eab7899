//! Builds the NPU model of a bundle again from its build record and starts the simulator on it. What is measured so is
//! the rebuilt model: it must have the shipped one's trailer and the scales of its ends, and is said to be rebuilt.

use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::rknn::RknnInfo;
use artifact::{BackendKind, Bundle, Manifest, TensorSpec, Trust};
use serde::Serialize;

use super::compile::{Job, Quantizer, simulate};
use super::record::{Record, Who};
use super::simulator::Simulator;
use super::toolkit::Toolkit;
use crate::digest::sha256;
use crate::evaluate::Progress;
use crate::{Error, Result};

/// What was built again, for the record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuilt {
    /// Chip it is compiled for.
    pub chip: String,
    /// Version of the toolkit.
    pub toolkit: String,
    /// Who decided its numbers.
    pub quantizer: Who,
    /// SHA-256 of the model in the bundle.
    pub shipped_sha256: String,
    /// SHA-256 of the model that was measured; the toolkit does not give the same bytes twice.
    pub rebuilt_sha256: String,
    /// Tensors that an int8 model computes in half floats.
    pub half_tensors: Vec<String>,
}

/// Builds the NPU model of the bundle at `path` again and simulates it.
///
/// # Errors
/// [`Error::Artifact`] for a broken bundle; [`Error::Input`] when it has no NPU model or its record is missing or does
/// not fit; [`Error::Backend`] as [`simulate`], and when the rebuilt model is another than the shipped one.
pub fn rebuild(
    toolkit: &Toolkit,
    path: &Path,
    limit: Duration,
    progress: Progress,
) -> Result<(Simulator, Manifest, Rebuilt)> {
    let mut bundle = Bundle::open(path, &Trust::anyone())?;
    let (shipped, bytes) = npu_payload(&mut bundle, path)?;
    let (record, onnx) = Record::open(path, &shipped.sha256)?;
    let images: Vec<PathBuf> = record.calibration.iter().map(|image| image.path.clone()).collect();
    let quantizer = match record.quantizer {
        Who::Toolkit { algorithm } => Quantizer::Toolkit { algorithm, images: &images },
        Who::Ours | Who::Half => Quantizer::Model,
    };
    // Scales that the toolkit chose are not given to it, but found again.
    let mut outputs = record.outputs.clone();
    if matches!(record.quantizer, Who::Toolkit { .. }) {
        outputs.iter_mut().for_each(|output| output.quant = None);
    }
    let job = Job {
        onnx: &onnx,
        platform: &record.chip,
        quantizer,
        preprocess: record.preprocess,
        outputs: &outputs,
        limit,
    };
    let (compiled, simulator) = simulate(toolkit, &job, progress)?;
    let info = RknnInfo::read(Cursor::new(&bytes))?;
    expect_same(
        (&info, &shipped.input, &shipped.outputs),
        (&compiled.info, &compiled.input, &compiled.outputs),
    )?;
    let rebuilt = Rebuilt {
        chip: record.chip,
        toolkit: compiled.info.toolkit.to_string(),
        quantizer: record.quantizer,
        shipped_sha256: shipped.sha256,
        rebuilt_sha256: sha256(&compiled.rknn),
        half_tensors: compiled.half_tensors,
    };
    Ok((simulator, bundle.manifest().clone(), rebuilt))
}

fn npu_payload(bundle: &mut Bundle<File>, path: &Path) -> Result<(artifact::Payload, Vec<u8>)> {
    let payloads = &bundle.manifest().payloads;
    let Some(at) = payloads.iter().position(|payload| payload.backend == BackendKind::Rknn) else {
        return Err(Error::input(
            format!("{} has no model for an NPU", path.display()),
            "a bundle of `train-host convert --target` and the name of a chip",
            "convert for the board first, or leave --simulate out",
        ));
    };
    let payload = payloads[at].clone();
    Ok((payload, bundle.read_payload(at)?))
}

/// Trailer, input and outputs of a compiled model.
type Ends<'a> = (&'a RknnInfo, &'a TensorSpec, &'a [TensorSpec]);

/// Checks that a model built again is the one shipped, by its trailer and the scales of its ends.
///
/// # Errors
/// [`Error::Backend`] naming the difference.
fn expect_same(shipped: Ends<'_>, rebuilt: Ends<'_>) -> Result<()> {
    let differ = |found: String, expected: String| {
        Error::backend(
            format!("the model built again has {found}"),
            format!("{expected}, as the one in the bundle"),
            "what it was made of or the toolkit has changed: convert again with `train-host convert --target`",
        )
    };
    if rebuilt.0 != shipped.0 {
        return Err(differ(format!("{:?}", rebuilt.0), format!("{:?}", shipped.0)));
    }
    if rebuilt.1 != shipped.1 {
        return Err(differ(format!("the input {:?}", rebuilt.1), format!("{:?}", shipped.1)));
    }
    if rebuilt.2 != shipped.2 {
        return Err(differ(format!("the outputs {:?}", rebuilt.2), format!("{:?}", shipped.2)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use artifact::{DType, Layout, Quant};

    use super::*;

    fn output(scale: f32) -> TensorSpec {
        TensorSpec {
            name: "p3".into(),
            dtype: DType::I8,
            layout: Layout::Nchw,
            shape: [1, 18, 8, 8],
            quant: Some(Quant { scale, zero_point: -3 }),
        }
    }

    fn info(platform: &str) -> RknnInfo {
        RknnInfo {
            format_version: 6,
            platforms: vec![platform.into()],
            toolkit: "2.5.0".parse().unwrap(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    #[test]
    fn another_trailer_or_scale_is_named() {
        let (shipped, input, outputs) = (info("rk3588"), output(1.0), [output(0.5)]);
        let ends = (&shipped, &input, &outputs[..]);
        expect_same(ends, ends).unwrap();
        for (rebuilt, part) in [
            ((&info("rk3576"), &input, &outputs[..]), "rk3576"),
            ((&shipped, &output(2.0), &outputs[..]), "input"),
            ((&shipped, &input, &[output(0.25)][..]), "0.25"),
        ] {
            let error = expect_same(ends, rebuilt).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
