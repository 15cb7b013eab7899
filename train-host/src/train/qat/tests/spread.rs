//! A model whose boxes are spread, trained on: it stays so, and the int8 graph that is exported tells the boxes that the
//! training saw.

use artifact::{DType, Preprocess, TensorSpec};
use repedge::backend::Session;
use repedge::decode::{Decoder, Detection, Limits};
use repedge::preprocess::LetterboxMap;

use super::*;
use crate::export;
use crate::model::Head;
use crate::quantize::spread;

/// What a score is set to in floats and in int8: there is nothing, or surely something.
const LOW: (f32, i8) = (-20.0, i8::MIN);
const HIGH: (f32, i8) = (20.0, i8::MAX);

#[test]
fn spread_boxes_stay_so_and_are_exported_as_they_were_trained() {
    let Case { float, int8, images, folder } =
        case_of(Activation::Silu, SHARED, |float, images| spread(&float, images, SHARED).unwrap());
    let qat = Qat::new(settings(1, 0), &images, Progress::Hidden).unwrap();
    let trained = qat.train(&float, &int8).unwrap().model;
    drop(folder);
    assert_ne!(trained.scheme, int8.scheme);
    let head = &trained.architecture.head;
    assert!(!head.spread.is_empty());
    assert_eq!(head.spread, float.architecture.head.spread);
    let (file, told) = (export::qdq::write(&trained).unwrap(), serde_json::to_vec(&head.spread).unwrap());
    assert!(file.windows(told.len()).any(|bytes| bytes == told), "the file says so");

    let (image, torch) = picture();
    let (specs, stored) = run_exported(&trained, &image);
    let net = FakeNet::new(&trained, &trained.architecture.graph.outputs, Device::Cpu).unwrap();
    let seen = net.forward(&torch).unwrap();
    assert_eq!(seen.len(), stored.len());
    let (mut wrong, mut all) = (0, 0);
    for (seen, stored) in seen.iter().zip(&stored) {
        let (TensorData::I8(codes), Some(quant)) = (&stored.data, stored.quant) else { panic!("{stored:?}") };
        wrong += wrong_codes("a raw output", seen, codes, quant);
        all += codes.len();
    }
    assert!(wrong * 50 <= all, "{wrong} of {all} codes");

    let (float_specs, floats) = in_floats(&specs, &seen);
    let (seen, exported) = (boxes(head, &float_specs, floats), boxes(head, &specs, stored));
    assert_eq!((seen.len(), exported.len()), (2 * 36 + 2 * 4, 2 * 36 + 2 * 4));
    let corners = |found: &Detection| [found.x0, found.y0, found.x1, found.y1];
    let is_far = |(a, b): &(&Detection, &Detection)| {
        corners(a).iter().zip(corners(b)).any(|(a, b)| (a - b).abs() > 1e-3)
    };
    let far = seen.iter().zip(&exported).filter(is_far).count();
    // A code belongs to one box.
    assert!(far <= wrong, "{far} boxes differ because of {wrong} codes");
}

/// What the exported model gives for `image`.
fn run_exported(
    model: &QuantizedModel,
    image: &artifact::Tensor,
) -> (Vec<TensorSpec>, Vec<artifact::Tensor>) {
    let mut session = export::quantized_session(model).unwrap();
    let specs = session.outputs().to_vec();
    let mut outputs: Vec<artifact::Tensor> = specs.iter().map(artifact::Tensor::zeroed).collect();
    session.run(image, &mut outputs).unwrap();
    (specs, outputs)
}

/// What the net in libtorch gives in place of outputs of `specs`.
fn in_floats(specs: &[TensorSpec], values: &[Tensor]) -> (Vec<TensorSpec>, Vec<artifact::Tensor>) {
    let of_output = |(spec, values): (&TensorSpec, &Tensor)| {
        let spec = TensorSpec { dtype: DType::F32, quant: None, ..spec.clone() };
        let data = TensorData::F32(crate::train::net::to_vec(values).unwrap());
        (spec.clone(), artifact::Tensor { data, ..artifact::Tensor::zeroed(&spec) })
    };
    specs.iter().zip(values).map(of_output).unzip()
}

/// The boxes that raw outputs tell, by output, anchor and cell; without those at the edges, which may be cut off.
fn boxes(head: &Head, specs: &[TensorSpec], mut outputs: Vec<artifact::Tensor>) -> Vec<Detection> {
    let limits = Limits::device(0.5, 1.0);
    let mut decoder = Decoder::new(&head.decode(), head.classes.len(), specs, limits).unwrap();
    let whole = LetterboxMap::fit(SIDE, SIDE, &Preprocess::yolo(SIDE, SIDE));
    let of_anchor = 5 + head.classes.len();
    for (spec, output) in specs.iter().zip(&mut outputs) {
        let plane = spec.len() / spec.channels();
        (0..spec.len())
            .filter(|at| at / plane % of_anchor >= 4)
            .for_each(|at| set(&mut output.data, at, LOW));
    }
    let mut boxes = Vec::new();
    for (level, spec) in specs.iter().enumerate() {
        for first in (0..spec.channels()).step_by(of_anchor) {
            for cell in inner_cells(spec.height_width()) {
                // Objectness and the first class.
                let scores = [4, 5].map(|part| (first + part) * spec.len() / spec.channels() + cell);
                scores.iter().for_each(|&at| set(&mut outputs[level].data, at, HIGH));
                let [found] = decoder.detect(&outputs, &whole).unwrap() else { panic!("no box, or many") };
                boxes.push(*found);
                scores.iter().for_each(|&at| set(&mut outputs[level].data, at, LOW));
            }
        }
    }
    boxes
}

fn inner_cells((height, width): (usize, usize)) -> impl Iterator<Item = usize> {
    (1..height - 1).flat_map(move |row| (1..width - 1).map(move |column| row * width + column))
}

fn set(data: &mut TensorData, at: usize, (real, stored): (f32, i8)) {
    match data {
        TensorData::F32(values) => values[at] = real,
        TensorData::I8(values) => values[at] = stored,
        TensorData::U8(_) => panic!("no output is u8"),
    }
}
