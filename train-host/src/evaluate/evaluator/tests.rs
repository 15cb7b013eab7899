use artifact::{Layout, TensorData};
use repedge::Image;
use repedge::frame::write_png;

use super::*;
use crate::dataset::LabelBox;

/// Side of the model's input in pixels.
const SIDE: usize = 64;
const STRIDE: usize = 8;
const CELLS: usize = SIDE / STRIDE;

fn spec(shape: [usize; 4]) -> TensorSpec {
    TensorSpec { name: "t".into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// Finds, whatever it sees, one 20-pixel object of class 0 in the cell (2, 1) of the input.
struct OneObject {
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    runs: usize,
    fails_at: Option<usize>,
}

impl OneObject {
    fn new() -> Self {
        let outputs = vec![spec([1, 6, CELLS, CELLS])];
        Self { input: spec([1, 3, SIDE, SIDE]), outputs, runs: 0, fails_at: None }
    }
}

impl Session for OneObject {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, _input: &Tensor, outputs: &mut [Tensor]) -> std::result::Result<(), repedge::Error> {
        if self.fails_at == Some(self.runs) {
            return Err(repedge::Error::Backend(artifact::Fault::new("no power", "power", "plug it in")));
        }
        self.runs += 1;
        // Box logits of 0 are the cell's center and the anchor's size.
        let cell = CELLS + 2;
        let plane = |channel: usize| channel * CELLS * CELLS;
        let mut data = vec![0.0; 6 * CELLS * CELLS];
        data[plane(4)..].fill(-20.0);
        data[plane(4) + cell] = 10.0;
        data[plane(5) + cell] = 10.0;
        outputs[0].data = TensorData::F32(data);
        Ok(())
    }
}

fn decode() -> Decode {
    Decode::Yolov5 { strides: vec![STRIDE], anchors_px: vec![vec![[20.0, 20.0]]], spread: Vec::new() }
}

/// `count` images of 128×128 pixels (twice the input) with the object where [`OneObject`] finds it:
/// center (20, 12) and side 20 in the input, so (40, 24) and 40 in the image.
fn dataset(folder: &std::path::Path, count: usize) -> Dataset {
    let sample = |index: usize| {
        let path = folder.join(format!("{index}.png"));
        write_png(&path, &Image::filled(128, 128, [40, 90, 160])).unwrap();
        let at = |pixels: f32| pixels / 128.0;
        let object = LabelBox { class: 0, cx: at(40.0), cy: at(24.0), w: at(40.0), h: at(40.0) };
        Sample { image: path, width_px: 128, height_px: 128, boxes: vec![object] }
    };
    Dataset { classes: vec!["cat".into()], samples: (0..count).map(sample).collect(), ..Dataset::default() }
}

fn quiet() -> Options {
    Options { progress: Progress::Hidden, ..Options::default() }
}

fn evaluator(dataset: &Dataset, options: &Options) -> Result<Evaluator> {
    Evaluator::new(dataset, &Preprocess::yolo(SIDE, SIDE), &decode(), &spec([1, 3, SIDE, SIDE]), options)
}

#[test]
fn detections_are_measured_in_source_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let evaluation =
        evaluator(&dataset(folder.path(), 3), &quiet()).unwrap().run(&mut OneObject::new()).unwrap();
    assert_eq!(evaluation.metrics.map, Some(1.0));
    assert_eq!((evaluation.metrics.images, evaluation.skipped, evaluation.input_px), (3, 0, [SIDE, SIDE]));
}

#[test]
fn kept_inputs_give_what_streamed_ones_give_run_after_run() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 20);
    let streamed = evaluator(&dataset, &quiet()).unwrap();
    let kept =
        evaluator(&dataset, &Options { inputs: Inputs::Keep { limit_bytes: 1 << 20 }, ..quiet() }).unwrap();
    assert!(streamed.kept.is_none() && kept.kept.is_some());
    let mut session = OneObject::new();
    let expected = streamed.run(&mut session).unwrap().metrics;
    std::fs::remove_dir_all(folder.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(kept.run(&mut session).unwrap().metrics, expected);
    }
    assert_eq!(session.runs, 60);
}

#[test]
fn too_many_bytes_are_streamed_instead_of_kept() {
    let folder = tempfile::tempdir().unwrap();
    let limit_bytes = 4 * 3 * SIDE * SIDE;
    let options = Options { inputs: Inputs::Keep { limit_bytes }, ..quiet() };
    assert!(evaluator(&dataset(folder.path(), 1), &options).unwrap().kept.is_some());
    assert!(evaluator(&dataset(folder.path(), 2), &options).unwrap().kept.is_none());
}

#[test]
fn a_broken_image_is_named_or_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 3);
    std::fs::write(folder.path().join("1.png"), b"\x89PNG but not really").unwrap();
    for inputs in [Inputs::Stream, Inputs::Keep { limit_bytes: usize::MAX }] {
        let refuse = Options { inputs, ..quiet() };
        let refused = evaluator(&dataset, &refuse).and_then(|e| e.run(&mut OneObject::new()));
        assert!(refused.unwrap_err().to_string().contains("1.png"));
        let skip = Options { broken: Broken::Skip, ..refuse };
        let evaluation = evaluator(&dataset, &skip).unwrap().run(&mut OneObject::new()).unwrap();
        assert_eq!((evaluation.metrics.images, evaluation.skipped), (2, 1));
        let skipped = evaluator(&dataset, &skip).unwrap().outcome(&mut OneObject::new()).unwrap().skipped;
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].path, folder.path().join("1.png"));
        assert!(!skipped[0].reason.contains("1.png") && !skipped[0].reason.contains('\n'), "{}", skipped[0]);
        assert_eq!(evaluation.metrics.map50, Some(1.0));
    }
}

#[test]
fn an_image_of_another_size_than_its_labels_say_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 1);
    write_png(&folder.path().join("0.png"), &Image::filled(128, 64, [0; 3])).unwrap();
    let error = evaluator(&dataset, &quiet()).unwrap().run(&mut OneObject::new()).unwrap_err().to_string();
    assert!(error.contains("0.png") && error.contains("128x64"), "{error}");
}

#[test]
fn a_failing_session_ends_the_reader_too() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(&dataset(folder.path(), 20), &quiet()).unwrap();
    let mut session = OneObject { fails_at: Some(1), ..OneObject::new() };
    assert!(evaluator.run(&mut session).unwrap_err().to_string().contains("no power"));
}

#[test]
fn nothing_to_evaluate_and_a_foreign_session_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert!(evaluator(&dataset(folder.path(), 0), &quiet()).is_err());
    let mut other = OneObject { input: spec([1, 3, 32, 32]), ..OneObject::new() };
    let error = evaluator(&dataset(folder.path(), 1), &quiet()).unwrap().run(&mut other).unwrap_err();
    assert!(error.to_string().contains("32"), "{error}");
}
