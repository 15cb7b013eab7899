//! What is said to the worker in the toolkit's Python environment, and what it answers: a line of JSON each, `worker.py`
//! documents them. Knows nothing of processes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::Config;

/// Longest line of an answer: the longest there is tells a few scales.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Most elements of an output; yolov5x at 1280 px has 7 million.
const MAX_ELEMENTS: usize = 1 << 28;

/// Asks for a model to be built; the first request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Build<'a> {
    /// Model to read.
    pub onnx: &'a Path,
    /// Chip to compile for, by the toolkit's name: `rk3588`.
    pub target: &'a str,
    /// More of how to compile it.
    pub config: &'a Config,
    /// What the toolkit quantizes by; absent for a model that is quantized already, or stays in floats.
    pub quantize: Option<Quantize<'a>>,
    /// Subtracted from pixels, 0..255, by channel.
    pub mean: [f32; 3],
    /// What pixels are divided by after that.
    pub std: [f32; 3],
    /// Where to write the `.rknn`.
    pub out: &'a Path,
    /// Whether frames follow.
    pub simulate: bool,
}

/// Quantization by the toolkit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantize<'a> {
    /// Text file that names an image a line.
    pub dataset: &'a Path,
}

/// How the toolkit finds ranges of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// All that occurred.
    #[default]
    Normal,
    /// The least squared error of the outputs.
    Mmse,
    /// The least divergence of the distributions.
    KlDivergence,
}

/// Asks for a frame to be run; its pixels follow the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Bytes that follow.
    pub bytes: usize,
    /// Batch, height, width, channels.
    pub shape: [usize; 4],
}

/// What the worker says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
pub enum Answer {
    /// It began a step.
    Stage {
        /// What it does now.
        name: String,
    },
    /// The model is written.
    Built {
        /// Version of the toolkit.
        toolkit: String,
        /// Scale and zero point of tensors, where the toolkit chose them.
        scales: BTreeMap<String, (f32, i32)>,
    },
    /// A frame was run; values follow the line.
    Outputs {
        /// Dimensions of each output.
        shapes: Vec<Vec<usize>>,
    },
    /// It gives up.
    Failed {
        /// Why.
        message: String,
    },
}

/// An answer with the values that follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The line.
    pub answer: Answer,
    /// Values of the outputs, in order.
    pub tensors: Vec<Vec<f32>>,
}

/// Reads the next answer; none at the end.
///
/// # Errors
/// For what is no answer, ends early, or tells of more values than any model has.
pub fn read(source: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut line = Vec::new();
    source.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let answer: Answer = serde_json::from_slice(&line)?;
    let shapes: &[Vec<usize>] = if let Answer::Outputs { shapes } = &answer { shapes } else { &[] };
    let tensors = shapes.iter().map(|shape| read_values(source, shape)).collect::<io::Result<_>>()?;
    Ok(Some(Message { answer, tensors }))
}

fn read_values(source: &mut impl Read, shape: &[usize]) -> io::Result<Vec<f32>> {
    let elements = shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side));
    let elements = elements.filter(|&count| count <= MAX_ELEMENTS);
    let elements = elements.ok_or_else(|| io::Error::other(format!("an output of shape {shape:?}")))?;
    let mut bytes = Vec::new();
    // Grows with what arrives, not with what is announced.
    let read = source.take(4 * elements as u64).read_to_end(&mut bytes)?;
    if read != 4 * elements {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut bytes: &[u8]) -> io::Result<Vec<Message>> {
        std::iter::from_fn(|| read(&mut bytes).transpose()).collect()
    }

    #[test]
    fn answers_and_values_are_read() {
        let mut bytes = b"{\"event\":\"stage\",\"name\":\"compiling\"}\n".to_vec();
        bytes.extend(b"{\"event\":\"outputs\",\"shapes\":[[1,2],[1]]}\n");
        bytes.extend([1.5_f32, -2.0, 3.0].into_iter().flat_map(f32::to_le_bytes));
        bytes.extend(b"{\"event\":\"built\",\"toolkit\":\"2.5.0\",\"scales\":{\"p3\":[0.5,-7]}}\n");
        let found = all(&bytes).unwrap();
        assert_eq!(found[0].answer, Answer::Stage { name: "compiling".into() });
        let built = Answer::Built { toolkit: "2.5.0".into(), scales: [("p3".into(), (0.5, -7))].into() };
        assert_eq!(found[2].answer, built);
        assert_eq!(found[1].tensors, [vec![1.5, -2.0], vec![3.0]]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn what_is_cut_short_or_absurd_is_an_error() {
        for bytes in [
            &b"{\"event\":\"outputs\",\"shapes\":[[2]]}\n\0\0\0\0"[..],
            b"{\"event\":\"outputs\",\"shapes\":[[4294967296,4294967296,4294967296]]}\n",
            b"{\"event\":\"outputs\",\"shapes\":[[1000000000]]}\n",
            b"{\"event\":\"dance\"}\n",
            b"W something the toolkit printed\n",
        ] {
            assert!(all(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn requests_are_what_the_worker_reads() {
        let build = Build {
            onnx: Path::new("m.onnx"),
            target: "rk3588",
            config: &Config::of(Some(Algorithm::KlDivergence)),
            quantize: Some(Quantize { dataset: Path::new("list.txt") }),
            mean: [0.0; 3],
            std: [255.0; 3],
            out: Path::new("m.rknn"),
            simulate: false,
        };
        let json = serde_json::to_value(&build).unwrap();
        assert_eq!(json["config"]["quantized_algorithm"], "kl_divergence");
        assert_eq!(json["quantize"]["dataset"], "list.txt");
        assert_eq!(json["std"], serde_json::json!([255.0, 255.0, 255.0]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = all(&bytes);
        }
    }
}
