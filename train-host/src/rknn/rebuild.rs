//! Builds the NPU model of a bundle again from its build record and starts the simulator on it. What is measured so is
//! the rebuilt model, and is said to be rebuilt. It must have the shipped one's trailer, and the scales that the toolkit
//! chooses must be the shipped ones; that it keeps those of our quantizer, which no trailer tells, the simulator shows:
//! every value of every frame must be a step of them.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
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
    expect_recorded(&record.outputs, &shipped.outputs)?;
    let images = record.images();
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

/// Checks that the record tells of the outputs that the bundle has.
///
/// # Errors
/// [`Error::Input`] naming both.
fn expect_recorded(recorded: &[TensorSpec], shipped: &[TensorSpec]) -> Result<()> {
    if recorded == shipped {
        return Ok(());
    }
    Err(Error::input(
        format!("a build record with the outputs {recorded:?}"),
        format!("{shipped:?}, as the bundle says"),
        "one of the two was changed: convert again with `train-host convert --target`",
    ))
}

/// Trailer, input and outputs of a compiled model.
type Ends<'a> = (&'a RknnInfo, &'a TensorSpec, &'a [TensorSpec]);

/// Checks that a model built again is the one shipped, by its trailer and, where the toolkit chose them, its scales.
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
    fn a_record_of_other_outputs_is_refused() {
        expect_recorded(&[output(0.5)], &[output(0.5)]).unwrap();
        let error = expect_recorded(&[output(0.25)], &[output(0.5)]).unwrap_err().to_string();
        assert!(
            error.contains("0.25") && error.contains("0.5") && error.contains("convert again"),
            "{error}"
        );
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
