//! The `.rknn` container with a stand-in model inside: the real header and trailer, and as payload the scenario, the ONNX
//! and the recordings.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::scenario::{Element, Scenario};

const HEADER_LEN: usize = 64;

/// A whole stand-in model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What it is and how it behaves.
    pub scenario: Scenario,
    /// What [`crate::Mode::Compute`] runs: f32 input `[1, C, H, W]`, f32 outputs, named as in the scenario.
    pub onnx: Vec<u8>,
    /// What [`crate::Mode::Replay`] gives.
    pub recordings: Vec<Recording>,
}

/// The outputs that belong to an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// [`digest`] of the input's pixels, channels innermost, without padding.
    pub input: u64,
    /// Each output's stored elements, channels outermost, little endian.
    pub outputs: Vec<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    scenario: Scenario,
    onnx_bytes: usize,
    /// Digest of each recording; their outputs follow in this order.
    recordings: Vec<u64>,
}

impl Model {
    /// The bytes of a `.rknn` file.
    ///
    /// # Panics
    /// Never: a scenario can always be written as JSON.
    pub fn pack(&self) -> Vec<u8> {
        let recordings = self.recordings.iter().map(|recording| recording.input).collect();
        let head = Head { scenario: self.scenario.clone(), onnx_bytes: self.onnx.len(), recordings };
        let head = serde_json::to_vec(&head).expect("plain data");
        let mut payload = (head.len() as u64).to_le_bytes().to_vec();
        payload.extend(head);
        payload.extend(&self.onnx);
        self.recordings
            .iter()
            .flat_map(|recording| &recording.outputs)
            .for_each(|bytes| payload.extend(bytes));
        container(&self.scenario, &payload)
    }

    /// Version of the format of a `.rknn` file.
    pub(crate) fn format(file: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(file.get(8..16)?.try_into().ok()?))
    }

    /// Reads what [`Model::pack`] wrote; none for anything else.
    pub(crate) fn unpack(file: &[u8]) -> Option<Self> {
        let payload_len = number(file, 16)?;
        let payload =
            file.strip_prefix(b"RKNN").and(file.get(HEADER_LEN..HEADER_LEN.checked_add(payload_len)?))?;
        let head_len = number(payload, 0)?;
        let (head, mut rest) = payload.get(8..)?.split_at_checked(head_len)?;
        let head: Head = serde_json::from_slice(head).ok()?;
        let onnx = take(&mut rest, head.onnx_bytes)?;
        let sizes: Vec<usize> = head.scenario.outputs.iter().map(stored_bytes).collect();
        let mut recordings = Vec::with_capacity(head.recordings.len());
        for input in head.recordings {
            let outputs = sizes.iter().map(|&bytes| take(&mut rest, bytes)).collect::<Option<_>>()?;
            recordings.push(Recording { input, outputs });
        }
        Some(Self { scenario: head.scenario, onnx, recordings })
    }

    /// The recordings by their input.
    pub(crate) fn by_input(&self) -> HashMap<u64, &Recording> {
        self.recordings.iter().map(|recording| (recording.input, recording)).collect()
    }
}

/// Which input this is: a quick hash of its bytes, eight at a time. Not made against an adversary.
pub fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, u64::from_le_bytes(last))
}

/// Bytes of an output as it is recorded.
fn stored_bytes(output: &crate::Output) -> usize {
    output.shape.iter().product::<usize>() * output.element.bytes()
}

fn container(scenario: &Scenario, payload: &[u8]) -> Vec<u8> {
    let is_rv = scenario.platforms.iter().any(|platform| platform.starts_with("rv"));
    let version: u64 = if is_rv { 0x1004 } else { 6 };
    let trailer = trailer(scenario).to_string();
    let mut file = b"RKNN\0\0\0\0".to_vec();
    file.extend(version.to_le_bytes());
    file.extend((payload.len() as u64).to_le_bytes());
    file.resize(HEADER_LEN, 0);
    file.extend(payload);
    file.extend((trailer.len() as u64).to_le_bytes());
    file.extend(trailer.as_bytes());
    file
}

/// The fields of a real trailer that anybody reads.
fn trailer(scenario: &Scenario) -> Value {
    let tensor = |id: usize, name: &str, shape: &[usize; 4], element: Element| {
        let kind = match element {
            Element::I8(_) => "int8",
            Element::U8(_) => "uint8",
            Element::I16 => "int16",
            Element::F16 | Element::F32 => "",
        };
        json!({"tensor_id": id, "url": name, "dim_num": 4, "size": shape,
               "dtype": {"qnt_method": "layer", "qnt_type": kind, "vx_type": kind}})
    };
    let edge = |side: &str, index: usize, id: usize| json!({"left": side, "left_tensor_id": index, "right": "norm_tensor", "right_tensor_id": id});
    let input = &scenario.input;
    let mut tensors = vec![tensor(0, &input.name, &input.shape, input.element)];
    let mut graph = vec![edge("input", 0, 0)];
    for (index, output) in scenario.outputs.iter().enumerate() {
        tensors.push(tensor(index + 1, &output.name, &output.shape, output.element));
        graph.push(edge("output", index, index + 1));
    }
    json!({"graph": graph, "norm_tensor": tensors, "target_platform": scenario.platforms,
           "version": scenario.toolkit, "name": "rknn model"})
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

fn take(rest: &mut &[u8], count: usize) -> Option<Vec<u8>> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken.to_vec())
}
